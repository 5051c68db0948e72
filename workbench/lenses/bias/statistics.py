"""Values of every group, pair and triple of factor levels with intervals, tests and null bands."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.core import ConfigError, Run, WorkbenchError
from workbench.lenses.bias.calibration import calibrations, of_answers, of_labels
from workbench.lenses.bias.class_metrics import class_blocks, class_table
from workbench.lenses.bias.cube import Cube, Factor, Selection, count_cells, quoted, select
from workbench.lenses.bias.factors import Binning, available_factors, build_factors
from workbench.lenses.bias.groups import corrected, group_table, history_table, interaction_table, spread_table
from workbench.lenses.bias.margins import Margins, margins
from workbench.lenses.bias.metrics import MAX_ROWS, confusions, counted, difference_table, loss_columns, metric_table
from workbench.lenses.bias.opening import opening_table
from workbench.lenses.bias.pockets import Pockets, find_pockets
from workbench.lenses.bias.sample_metrics import (
    ACCURACY,
    Metric,
    MetricName,
    choices,
    class_names,
    kind_of,
    metric_of,
    value_sql,
)
from workbench.lenses.bias.shapley import Attribution, attribute, attribution_history, share_openings
from workbench.lenses.bias.slices import Slices, find_slices
from workbench.lenses.bias.uncertainty import mean_interval
from workbench.lenses.bias.verified import Verified, verified

#: A group of fewer samples is shown hollow and not tested.
MIN_SUPPORT = 20
#: Splits to study first when the run predicted several: what was not trained on.
HELD_OUT = ("test", "val", "valid", "validation", "dev", "eval", "held_out")


#: What there is to say by class where there are no classes.
_NOTHING = (
    pd.DataFrame(columns=["factor", "level", "n"]),
    pd.DataFrame(columns=["factor", "measure", "value"]),
    class_table([], clustered=False),
)


@dataclass(frozen=True)
class Bias:
    """What is known about one task at one step; tables are sorted from the most harmed group to the most favoured.

    Attributes:
        metric: Name of what samples are judged by; ``measured`` says what that is, ``choices`` what else there is.
        label: The class studied alone; None for all. classes: Names of the classes where predictions hold several.
        split: The split studied; None when all samples were.
        tasks, steps, splits, available: The choices there are, for widgets.
        overall, low, high, n: Value over all samples, its 95 % limits, number of samples.
        groups: One row a group of up to three factors: order, factors, group, factor_1, level_1, …, n, value, low,
            high, rest (value of all other samples), gap = value − rest with gap_low and gap_high, p, q, tested.
        spread: One row a factor: worst and best tested level, gap between them, ratio, and the gap that chance alone
            exceeds in 5 % of cases (null_95), p from the same simulation, q over the factors.
        openings: One row a factor whose gap surely opened between two recorded steps; see
            :func:`workbench.lenses.bias.opening.opening_table`.
        interactions: One row a pair of levels: value with both, expected = the sum of what each costs alone,
            extra = value − expected with limits, p, q, and ``lowest``: worse than one of the two alone and neither.
        history: value and limits of the groups of one factor at every recorded step.
        n_tests: Tests that share the correction behind ``q`` of groups of one or two factors and of interactions.
        slices: The worst describable subgroups, searched on one half of the samples and confirmed on the other.
        attribution: The gap between the worst and the best case, shared out among the factors; None without factors.
        shares: The same at every recorded step, see :func:`workbench.lenses.bias.shapley.attribution_history`.
        share_openings: One row a factor whose share surely opened between two recorded steps.
        metrics: One row a level: balanced accuracy, precision, false positive rate, calibration error, Brier score.
        differences: One row a factor and measure: equalised odds, demographic parity, equity-scaled accuracy and more.
        by_class: One row a level, class and rate: see :func:`workbench.lenses.bias.class_metrics.class_table`.
            These three are empty for tasks without classes and, unless asked for, beyond 2 million predictions.
        bins, binning, edges: How continuous attributes were cut.
        cube: The counts everything but metrics, differences and rates by class comes from.
        pockets: Neighbourhoods of the embedding in which the model fails; None without an embedding of these samples.
        verified: Scores of pairs that are accepted or rejected; None where the task has none.
        margins: Learned margins and the balance of the splits; None where the run recorded neither.
        held_out: Names of the domains that took no part in training.
    """

    task: str
    step: int
    split: str | None
    metric: MetricName
    label: str | None
    measured: Metric
    choices: tuple[MetricName, ...]
    classes: tuple[str, ...]
    bins: int
    binning: str
    edges: Mapping[str, tuple[float, ...]]
    tasks: tuple[str, ...]
    steps: tuple[int, ...]
    splits: tuple[str, ...]
    available: tuple[str, ...]
    factors: tuple[Factor, ...]
    n: int
    overall: float
    low: float
    high: float
    groups: pd.DataFrame
    spread: pd.DataFrame
    openings: pd.DataFrame
    interactions: pd.DataFrame
    history: pd.DataFrame
    n_tests: int
    min_support: int
    notes: tuple[str, ...]
    slices: Slices
    attribution: Attribution | None
    shares: pd.DataFrame
    share_openings: pd.DataFrame
    metrics: pd.DataFrame
    differences: pd.DataFrame
    by_class: pd.DataFrame
    cube: Cube
    pockets: Pockets | None
    verified: Verified | None
    margins: Margins | None
    held_out: tuple[str, ...]

    @property
    def share(self) -> bool:
        """Whether values are shares of what is right, where more is better."""
        return self.measured.share

    @property
    def harm_sign(self) -> int:
        """-1 where less is worse (accuracy), +1 where more is worse (loss)."""
        return -1 if self.share else 1


def statistics(
    run: Run,
    task: str | None = None,
    step: int | None = None,
    split: str | None = None,
    factors: Sequence[str] | None = None,
    metric: str | None = None,
    label: str | None = None,
    bins: int = 4,
    binning: str = "counts",
    edges: Mapping[str, Sequence[float]] | None = None,
    min_support: int = MIN_SUPPORT,
    details: bool | None = None,
    seed: int = 0,
) -> Bias:
    """Compute the bias statistics of one task at one step.

    Args:
        task: The first task with predictions by default.
        step: The last recorded one by default.
        split: ``"all"`` for every sample; by default a held-out split when the predictions cover several splits.
        factors: Names of attributes, ``domain``, ``dataset`` or ``class``; all attributes by default, and the last
            three when the run has no attributes.
        metric: A name in :data:`workbench.lenses.bias.sample_metrics.METRICS`; by default ``accuracy`` where the task
            has class predictions and targets, ``iou`` where its predictions hold several classes, else ``loss``.
        label: One class to study alone, where predictions hold several; all by default.
        bins: Number of bins of a continuous attribute.
        binning: The bins hold equally many samples (``counts``) or are equally wide (``widths``).
        edges: Inner edges of the bins of single attributes, by name, in place of both.
        min_support: Groups of fewer samples are not tested.
        details: Whether to count classes and confidences per level; by default up to 2 million predictions.
        seed: Of simulations and bootstraps.

    Raises:
        MissingTable: the run has no predictions or samples.
        ConfigError: an option names something that the run does not have.
        WorkbenchError: no prediction has both a sample description and a usable value.
    """
    run.require("predictions", "samples")
    if min_support < 1:
        raise ConfigError(f"min_support must be at least 1; got {min_support}.")
    cut = Binning(bins, binning, {name: tuple(values) for name, values in (edges or {}).items()})
    tasks = _predicted_tasks(run)
    task = tasks[0] if task is None else task
    if task not in tasks:
        raise ConfigError(f"Run '{run.name}' has no predictions of a task '{task}'. It has: {', '.join(tasks)}.")
    selection = select(run, task, None)
    splits = _predicted_splits(selection)
    selection = dataclasses.replace(selection, split=_split(run, split, splits))
    chosen_factors, notes = build_factors(selection, factors, cut)
    classes = class_names(selection)
    offered = choices(selection, classes)
    measured = metric_of(selection, metric, label, classes, offered)
    cubes = count_cells(selection, chosen_factors, value_sql(selection, measured))
    if not cubes:
        raise WorkbenchError(
            f"Run '{run.name}' has no usable {measured.title} for task '{task}': no prediction belongs to a described "
            "sample, or its values are missing. Record samples with the same ids and their targets, or losses."
        )
    steps = tuple(sorted(cubes))
    step = steps[-1] if step is None else step
    if step not in cubes:
        raise ConfigError(f"Task '{task}' has no predictions at step {step}. Steps: {', '.join(map(str, steps))}.")
    cube = cubes[step]
    whole = cube.margin(())
    overall, low, high = (float(values[0]) for values in mean_interval(whole.n, whole.total, whole.squares, measured))
    groups, interactions, n_tests = corrected(
        group_table(cube, measured, min_support), interaction_table(cube, measured, min_support)
    )
    rng = np.random.default_rng(seed)
    spread = spread_table(cube, measured, min_support, rng)
    history = history_table(cubes, measured)
    if details is None:
        details = whole.n[0] <= MAX_ROWS
    attribution = attribute(cube, spread, measured, rng)
    shares = attribution_history(cubes, attribution, measured, rng)
    metrics, differences, by_class = _details(selection, chosen_factors, step, classes, rng) if details else _NOTHING
    return Bias(
        task=task,
        step=step,
        split=selection.split,
        metric=measured.name,
        label=label,
        measured=measured,
        choices=offered,
        classes=classes,
        bins=bins,
        binning=binning,
        edges=cut.edges,
        tasks=tasks,
        steps=steps,
        splits=splits,
        available=tuple(available_factors(selection)),
        factors=chosen_factors,
        n=int(whole.n[0]),
        overall=overall,
        low=low,
        high=high,
        groups=groups.sort_values("gap", ascending=measured.share, ignore_index=True),
        spread=spread,
        openings=opening_table(history, spread, step, measured),
        interactions=interactions.sort_values("extra", ascending=measured.share, ignore_index=True),
        history=history,
        n_tests=n_tests,
        min_support=min_support,
        notes=notes,
        slices=find_slices(cube.part(0), cube.part(1), measured),
        attribution=attribution,
        shares=shares,
        share_openings=share_openings(shares, step),
        metrics=metrics,
        differences=differences,
        by_class=by_class,
        cube=cube,
        pockets=_pockets(selection, chosen_factors, measured, step, seed) if details else None,
        verified=verified(run, task, step, chosen_factors, tasks),
        margins=margins(run, chosen_factors),
        held_out=tuple(domain.name for domain in run.info.domains if domain.held_out),
    )


def _details(
    selection: Selection, factors: Sequence[Factor], step: int, classes: Sequence[str], rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Metrics of each level, differences between the levels of each factor, and rates of each class in each level."""
    pixels = kind_of(selection) == "segmentation"
    if classes:
        counts = class_blocks(selection, factors, step, classes, pixels)
        known = not pixels and "logits" in selection.prediction_types
        columns = of_labels() if known else "CAST(NULL AS DOUBLE) AS c, CAST(NULL AS DOUBLE) AS v"
    elif "accuracy" in choices(selection, classes):
        tables = confusions(selection, factors, step)
        counts = [counted(factor, *table, rng) for factor, table in zip(factors, tables, strict=True)]
        columns = of_answers(value_sql(selection, ACCURACY))
    else:
        return _NOTHING
    calibration = calibrations(selection, factors, step, columns)
    metrics = metric_table(counts, calibration, loss_columns(selection, factors, step), rng)
    return metrics, difference_table(counts), class_table(counts, clustered=pixels)


def _pockets(selection: Selection, factors: Sequence[Factor], metric: Metric, step: int, seed: int) -> Pockets | None:
    """Search the embedding; continuous factors describe nothing."""
    if not selection.run.has("embeddings"):
        return None
    named = [factor for factor in factors if not factor.edges]
    levels = {factor.name: f"level_{i}" for i, factor in enumerate(named)}
    columns = "".join(f", s.{quoted(factor.column)} AS level_{i}" for i, factor in enumerate(named))
    value = value_sql(selection, metric)
    values = selection.query(
        f"{selection.joined(f'p.sample AS sample, {value} AS value{columns}')} AND p.step = {step:d}"
    )
    return find_pockets(selection.run, values, levels, metric, step, seed)


def _predicted_tasks(run: Run) -> tuple[str, ...]:
    """Tasks with predictions, in the order of run.json."""
    found = list(run.query("SELECT DISTINCT task FROM predictions ORDER BY task")["task"])
    declared = [name for name in run.task_names if name in found]
    return (*declared, *(name for name in found if name not in declared))


def _predicted_splits(selection: Selection) -> tuple[str, ...]:
    """Splits of the predicted samples; the join is saved where all samples lie in one split."""
    found = selection.of_samples("DISTINCT s.split AS split")
    if len(found) > 1:
        found = selection.query(f"SELECT DISTINCT split FROM ({selection.joined('s.split')})")
    return tuple(sorted(found["split"].dropna()))


def _split(run: Run, split: str | None, splits: Sequence[str]) -> str | None:
    if split == "all" and "all" not in splits:
        return None
    if split is not None:
        if split not in splits:
            known = ", ".join(f"'{name}'" for name in splits) or "none"
            raise ConfigError(f"Run '{run.name}' has no predictions in split '{split}'. Splits: {known}, or 'all'.")
        return split
    if len(splits) < 2:
        return None
    return next((name for name in HELD_OUT if name in splits), None)
