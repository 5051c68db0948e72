"""Values of every group, pair and triple of factor levels with intervals, tests and null bands."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.core import ConfigError, Run, WorkbenchError
from workbench.lenses.bias.cube import (
    Cube,
    Factor,
    Metric,
    Selection,
    available_factors,
    build_factors,
    count_cells,
    is_float,
    is_numeric,
    quoted,
    select,
)
from workbench.lenses.bias.groups import corrected, group_table, history_table, interaction_table, spread_table
from workbench.lenses.bias.margins import Margins, margins
from workbench.lenses.bias.metrics import MAX_ROWS, confusions, difference_table, metric_table
from workbench.lenses.bias.opening import opening_table
from workbench.lenses.bias.pockets import Pockets, find_pockets
from workbench.lenses.bias.shapley import Attribution, attribute
from workbench.lenses.bias.slices import Slices, find_slices
from workbench.lenses.bias.uncertainty import mean_interval
from workbench.lenses.bias.verified import Verified, verified

#: A group of fewer samples is shown hollow and not tested.
MIN_SUPPORT = 20
#: Splits to study first when the run predicted several: what was not trained on.
HELD_OUT = ("test", "val", "valid", "validation", "dev", "eval", "held_out")


@dataclass(frozen=True)
class Bias:
    """What is known about one task at one step; tables are sorted from the most harmed group to the most favoured.

    Attributes:
        metric: ``accuracy`` (share of right predictions) or ``loss`` (mean of the recorded loss).
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
        metrics: One row a level: balanced accuracy, precision, false positive rate, calibration error, Brier score.
        differences: One row a factor and measure: equalised odds, demographic parity, equity-scaled accuracy and more.
            Both are empty for tasks without classes and, unless asked for, beyond 2 million predictions.
        cube: The counts everything but ``metrics`` and ``differences`` comes from.
        pockets: Neighbourhoods of the embedding in which the model fails; None without an embedding of these samples.
        verified: Scores of pairs that are accepted or rejected; None where the task has none.
        margins: Learned margins and the balance of the splits; None where the run recorded neither.
        held_out: Names of the domains that took no part in training.
    """

    task: str
    step: int
    split: str | None
    metric: Metric
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
    metrics: pd.DataFrame
    differences: pd.DataFrame
    cube: Cube
    pockets: Pockets | None
    verified: Verified | None
    margins: Margins | None
    held_out: tuple[str, ...]

    @property
    def proportion(self) -> bool:
        return self.metric == "accuracy"

    @property
    def harm_sign(self) -> int:
        """-1 where less is worse (accuracy), +1 where more is worse (loss)."""
        return -1 if self.proportion else 1


def statistics(
    run: Run,
    task: str | None = None,
    step: int | None = None,
    split: str | None = None,
    factors: Sequence[str] | None = None,
    metric: Metric | None = None,
    bins: int = 4,
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
        metric: ``accuracy`` where the task has class predictions and targets by default, else ``loss``.
        bins: Number of equally filled bins for a continuous attribute.
        min_support: Groups of fewer samples are not tested.
        details: Whether to count classes and confidences per level; by default up to 2 million predictions.
        seed: Of simulations and bootstraps.

    Raises:
        MissingTable: the run has no predictions or samples.
        ConfigError: an option names something that the run does not have.
        WorkbenchError: no prediction has both a sample description and a usable value.
    """
    run.require("predictions", "samples")
    if bins < 2 or min_support < 1:
        raise ConfigError(f"bins must be at least 2 and min_support at least 1; got {bins} and {min_support}.")
    tasks = _predicted_tasks(run)
    task = tasks[0] if task is None else task
    if task not in tasks:
        raise ConfigError(f"Run '{run.name}' has no predictions of a task '{task}'. It has: {', '.join(tasks)}.")
    selection = select(run, task, None)
    splits = _predicted_splits(selection)
    selection = dataclasses.replace(selection, split=_split(run, split, splits))
    chosen_factors, notes = build_factors(selection, factors, bins)
    metric = _metric(selection, metric)
    cubes = count_cells(selection, chosen_factors, value_sql(selection, metric))
    if not cubes:
        raise WorkbenchError(
            f"Run '{run.name}' has no usable {metric} for task '{task}': no prediction belongs to a described sample, "
            "or its values are missing. Record samples with the same ids and their targets, or losses."
        )
    steps = tuple(sorted(cubes))
    step = steps[-1] if step is None else step
    if step not in cubes:
        raise ConfigError(f"Task '{task}' has no predictions at step {step}. Steps: {', '.join(map(str, steps))}.")
    cube, proportion = cubes[step], metric == "accuracy"
    whole = cube.margin(())
    overall, low, high = (float(values[0]) for values in mean_interval(whole.n, whole.total, whole.squares, proportion))
    groups, interactions, n_tests = corrected(
        group_table(cube, proportion, min_support), interaction_table(cube, proportion, min_support)
    )
    harm = -1 if proportion else 1
    rng = np.random.default_rng(seed)
    spread = spread_table(cube, proportion, min_support, rng)
    history = history_table(cubes, proportion)
    if details is None:
        details = whole.n[0] <= MAX_ROWS
    metrics, differences = _details(selection, chosen_factors, step, rng) if proportion and details else _no_details()
    return Bias(
        task=task,
        step=step,
        split=selection.split,
        metric=metric,
        tasks=tasks,
        steps=steps,
        splits=splits,
        available=tuple(available_factors(selection)),
        factors=chosen_factors,
        n=int(whole.n[0]),
        overall=overall,
        low=low,
        high=high,
        groups=groups.sort_values("gap", ascending=harm < 0, ignore_index=True),
        spread=spread,
        openings=opening_table(history, spread, step, proportion),
        interactions=interactions.sort_values("extra", ascending=harm < 0, ignore_index=True),
        history=history,
        n_tests=n_tests,
        min_support=min_support,
        notes=notes,
        slices=find_slices(cube.part(0), cube.part(1), proportion),
        attribution=attribute(cube, spread, proportion, rng),
        metrics=metrics,
        differences=differences,
        cube=cube,
        pockets=_pockets(selection, chosen_factors, metric, step, seed) if details else None,
        verified=verified(run, task, step, chosen_factors, tasks),
        margins=margins(run, chosen_factors),
        held_out=tuple(domain.name for domain in run.info.domains if domain.held_out),
    )


def _details(
    selection: Selection, factors: Sequence[Factor], step: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metrics of each level and differences between the levels of each factor."""
    counts = confusions(selection, factors, step)
    value = value_sql(selection, "accuracy")
    return metric_table(selection, factors, counts, step, value, rng), difference_table(factors, counts, rng)


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
    return find_pockets(selection.run, values, levels, metric == "accuracy", step, seed)


def _no_details() -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.DataFrame(columns=["factor", "level", "n"]), pd.DataFrame(columns=["factor", "measure", "value"])


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


def _metric(selection: Selection, metric: Metric | None) -> Metric:
    """The metric to use.

    Raises:
        ConfigError: accuracy was asked for without targets.
    """
    kinds = {task.name: task.kind for task in selection.run.info.tasks}
    target = selection.sample_types.get(selection.target)
    countable = target is not None and (
        kinds[selection.task] == "classification" if selection.task in kinds else not is_float(target)
    )
    if metric == "accuracy" and target is None:
        raise ConfigError(
            f"Accuracy of '{selection.task}' needs the column '{selection.target}' in the samples table. "
            "Record it, or use the metric 'loss'."
        )
    return metric or ("accuracy" if countable else "loss")


def value_sql(selection: Selection, metric: Metric) -> str:
    """SQL of the per-sample value: 1 or 0 for right or wrong, or the loss; NULL where there is none."""
    if metric == "loss":
        return "CASE WHEN isfinite(p.loss) THEN p.loss END"
    target, kind = f"s.{quoted(selection.target)}", selection.sample_types[selection.target]
    missing = selection.missing(selection.target)
    if is_numeric(kind) == is_numeric(selection.prediction_types["prediction"]):
        equal = f"p.prediction = {target}"
    else:
        equal = f"CAST(p.prediction AS VARCHAR) = CAST({target} AS VARCHAR)"
    return f"CASE WHEN {missing} THEN NULL WHEN {equal} THEN 1 ELSE 0 END"
