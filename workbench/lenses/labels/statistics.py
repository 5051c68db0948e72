"""Label spaces of a run's datasets, laid over each other as far as the run's tables allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from workbench.core import ConfigError, Run
from workbench.core.schema import TRUTH
from workbench.lenses.labels.contingency import Pair, cross_sums, pair_of
from workbench.lenses.labels.copresence import context_differences, copresence
from workbench.lenses.labels.gradients import row_conflicts
from workbench.lenses.labels.maps import Maps, read_maps
from workbench.lenses.labels.relatedness import Relatedness, read_relatedness
from workbench.lenses.labels.relations import INSIDE, OVERLAP, by_names, relation_table, with_own_confusion
from workbench.lenses.labels.scores import annotated_shares, scores, terms
from workbench.lenses.labels.unify import Proposal, propose
from workbench.lenses.labels.union import lessons
from workbench.lenses.labels.weights import classifier_rows, with_weight_cosines


@dataclass(frozen=True)
class Labels:
    """What is known about the label spaces of a run.

    Attributes:
        spaces: Labels of every dataset, in the order of run.json, then as found.
        step, steps: Of the predictions; None and empty where they carry no step.
        pairs: Contingency of every two datasets of which a head was run on the other's samples.
        relations: One row a pair of labels of two datasets with all evidence (see :func:`relations.relation_table`);
            from names alone where nothing was predicted across.
        conflicts: One row a label and other dataset: how much of it the other calls by another name, and by which.
        own: Confusion of every dataset's own head on its own samples, one row a dataset, annotated label and called
            label: share with limits, and their Dice. What is confused at home as often as across is no disagreement.
        copresence: Which annotated labels share samples, per dataset. contexts: where that differs between datasets.
        gradients: One row a label: cosine between the datasets' losses on its output (see gradients.row_conflicts).
        lessons: One row a label and other dataset: what each loss over the union of labels would teach its output (see
            :func:`union.lessons`); empty where nothing was predicted across.
        relatedness: Mean cosines with the relations that follow from them; None where they were not recorded.
        annotated: Share of a dataset's annotation that each of its labels has. terms: what each loss speaks about.
        scores: IoU of every dataset's and domain's pictures in every label list (see :mod:`scores`).
        maps: A few pictures with their label maps; None where none were kept.
        unified: A proposed label space for all datasets, with the mapping of each.
        notes: What was left out.
    """

    spaces: Mapping[str, tuple[str, ...]]
    step: int | None
    steps: tuple[int, ...]
    pairs: tuple[Pair, ...]
    relations: pd.DataFrame
    conflicts: pd.DataFrame
    own: pd.DataFrame
    copresence: pd.DataFrame
    contexts: pd.DataFrame
    gradients: pd.DataFrame
    lessons: pd.DataFrame
    relatedness: Relatedness | None
    annotated: pd.DataFrame
    terms: pd.DataFrame
    scores: pd.DataFrame
    maps: Maps | None
    unified: Proposal
    inside: float
    overlap: float
    notes: tuple[str, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(self.spaces)

    def pair(self, dataset_a: str | None = None, dataset_b: str | None = None) -> Pair | None:
        """The contingency of two datasets, in either order; without names the first; None when there is none.

        Raises:
            ConfigError: these two datasets were not predicted across.
        """
        wanted = {name for name in (dataset_a, dataset_b) if name is not None}
        for pair in self.pairs:
            if wanted <= {pair.dataset_a, pair.dataset_b}:
                return pair
        if wanted and self.pairs:
            known = ", ".join(f"{pair.dataset_a} and {pair.dataset_b}" for pair in self.pairs)
            raise ConfigError(f"No predictions across {' and '.join(sorted(wanted))}. There are: {known}.")
        return None


def statistics(run: Run, step: int | None = None, inside: float = INSIDE, overlap: float = OVERLAP) -> Labels:
    """Compare the label spaces of a run's datasets.

    Args:
        step: Of the predictions; the last recorded one by default.
        inside: Share from which one label counts as part of another.
        overlap: Share from which two labels overlap.

    Raises:
        MissingTable: the run has neither label counts nor two datasets with label lists.
        ConfigError: no predictions at that step, or shares that are not 0 < overlap < inside < 1.
    """
    if not 0 < overlap < inside < 1:
        raise ConfigError(f"Shares must be 0 < overlap < inside < 1; got overlap {overlap} and inside {inside}.")
    declared = {dataset.name: dataset.labels for dataset in run.info.datasets}
    if sum(bool(labels) for labels in declared.values()) < 2:
        run.require("label_counts")
    steps = _steps(run)
    if step is not None and step not in steps:
        raise ConfigError(f"Run '{run.name}' has no label predictions at step {step}. Steps: {list(steps)}.")
    step = step if step is not None or not steps else steps[-1]
    spaces = _spaces(run, declared)
    sums = cross_sums(run, step)
    pairs = tuple(
        pair for a, b in combinations(spaces, 2) if (pair := pair_of(sums, a, b, spaces[a], spaces[b])).sources
    )
    own = _own(sums, spaces)
    relations = _relations(pairs, own, spaces, inside, overlap)
    relations = with_weight_cosines(relations, classifier_rows(run, spaces, step))
    counts = copresence(run)
    relatedness, annotated = read_relatedness(run), annotated_shares(run, spaces)
    return Labels(
        spaces=spaces,
        step=step,
        steps=steps,
        pairs=pairs,
        relations=relations,
        conflicts=_conflicts(pairs),
        own=own,
        copresence=counts,
        contexts=context_differences(counts),
        gradients=row_conflicts(run, spaces),
        lessons=lessons(run, spaces, relations if pairs else relations.iloc[:0], step),
        relatedness=relatedness,
        annotated=annotated,
        terms=terms(annotated, spaces, relatedness),
        scores=scores(run),
        maps=read_maps(run, spaces),
        unified=propose(spaces, relations),
        inside=inside,
        overlap=overlap,
        notes=_notes(run),
    )


def _steps(run: Run) -> tuple[int, ...]:
    if "step" not in run.columns("label_counts"):
        return ()
    found = run.query(
        "SELECT DISTINCT step FROM label_counts WHERE source <> ? AND step IS NOT NULL ORDER BY step", [TRUTH]
    )
    return tuple(int(step) for step in found["step"])


def _spaces(run: Run, declared: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Declared labels first, then those that were annotated in a dataset or predicted by its head."""
    found = run.query(
        "SELECT DISTINCT CASE WHEN source = $truth THEN dataset ELSE source END AS dataset, label FROM label_counts "
        "WHERE weight > 0 ORDER BY ALL",
        {"truth": TRUTH},
    )
    spaces = {name: dict.fromkeys(labels) for name, labels in declared.items()}
    for dataset, label in zip(found["dataset"], found["label"], strict=True):
        spaces.setdefault(dataset, {})[label] = None
    return {name: tuple(labels) for name, labels in spaces.items() if labels}


def _relations(
    pairs: Sequence[Pair], own: pd.DataFrame, spaces: Mapping[str, Sequence[str]], inside: float, overlap: float
) -> pd.DataFrame:
    if not pairs:
        return by_names(spaces)
    found = pd.concat([relation_table(pair, spaces, inside, overlap) for pair in pairs], ignore_index=True)
    return with_own_confusion(found, own)


def _conflicts(pairs: Sequence[Pair]) -> pd.DataFrame:
    """For each label and other dataset: its share under the same name, and under the most frequent other name."""
    rows = []
    for pair in pairs:
        for labels, others, dataset, other, rate, n in (
            (pair.labels_a, pair.labels_b, pair.dataset_a, pair.dataset_b, pair.b_given_a, pair.samples_a),
            (pair.labels_b, pair.labels_a, pair.dataset_b, pair.dataset_a, pair.a_given_b.transposed, pair.samples_b),
        ):
            for i, label in enumerate(labels):
                if n[i] == 0:
                    continue
                foreign = [j for j, name in enumerate(others) if name != label]
                j = max(foreign, key=lambda j: np.nan_to_num(rate.value[i, j]), default=None)
                same = others.index(label) if label in others else None
                rows.append(
                    {
                        "dataset": dataset,
                        "label": label,
                        "other": other,
                        "shared": same is not None,
                        "same_name": np.nan if same is None else rate.value[i, same],
                        "called": "" if j is None else others[j],
                        "share": np.nan if j is None else rate.value[i, j],
                        "low": np.nan if j is None else rate.low[i, j],
                        "high": np.nan if j is None else rate.high[i, j],
                        "samples": int(n[i]),
                    }
                )
    columns = ["dataset", "label", "other", "shared", "same_name", "called", "share", "low", "high", "samples"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.sort_values("share", ascending=False, ignore_index=True)


def _own(sums: pd.DataFrame, spaces: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Confusion of every dataset's own head on its own samples, where it was recorded."""
    frames = []
    for dataset, labels in spaces.items():
        pair = pair_of(sums, dataset, dataset, labels, labels)
        if not pair.sources:
            continue
        called, label = (index.ravel() for index in np.indices(pair.mass.shape))
        names, rate = np.array(labels, dtype=object), pair.a_given_b
        frame = {"dataset": dataset, "label": names[label], "called": names[called], "share": rate.value.ravel()}
        frame |= {"low": rate.low.ravel(), "high": rate.high.ravel(), "samples": pair.samples_b[label].astype(np.int64)}
        frame |= {"dice": pair.dice.value.ravel(), "dice_low": pair.dice.low.ravel()}
        frames.append(pd.DataFrame(frame).query("samples > 0"))
    columns = ["dataset", "label", "called", "share", "low", "high", "samples", "dice", "dice_low"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _notes(run: Run) -> tuple[str, ...]:
    """What the contingency had to leave out."""
    found = run.query(
        "SELECT count(*) FILTER (WHERE labels > 1) AS mixed, count(*) AS all_regions FROM ("
        "SELECT count(DISTINCT label) AS labels FROM label_counts WHERE source = ? AND weight > 0 "
        "GROUP BY dataset, sample, region)",
        [TRUTH],
    ).iloc[0]
    if not found["mixed"]:
        return ()
    return (
        f"{int(found['mixed'])} of {int(found['all_regions'])} annotated regions hold several labels; which of them a "
        "head renamed cannot be told, so only regions of one label are compared across datasets.",
    )
