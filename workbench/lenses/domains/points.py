"""The embedded samples of a run with their domain and class: what every statistic of this lens starts from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from workbench.core import ConfigError, MissingTable, Run
from workbench.lenses.domains.distances import principal_components

#: Embeddings wider than this are reduced to their first principal components.
MAX_WIDTH = 50
#: Domains with fewer embedded samples are left out.
MIN_POINTS = 20


@dataclass(frozen=True)
class Cohort:
    """The samples that have embeddings, and how they are labelled.

    Attributes:
        by: Column of ``samples`` that names the domains.
        task: Task whose target is the class; None when no task has one.
        frame: One row a sample, index the sample id: ``domain`` and ``class`` as text, then the attributes as recorded.
        domain, target: Codes into ``domains`` and ``classes`` in the order of ``frame``; target -1 = no class known.
        held_out: Per domain, whether it took no part in training.
        notes: What was left out and why, as sentences.
    """

    by: str
    task: str | None
    frame: pd.DataFrame
    domains: tuple[str, ...]
    held_out: tuple[bool, ...]
    classes: tuple[str, ...]
    domain: Int[np.ndarray, " N"]
    target: Int[np.ndarray, " N"]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Points:
    """Embeddings of one layer at one step.

    Attributes:
        sample: Sample ids.
        features: Embeddings, or their first principal components when they are wider than ``MAX_WIDTH``.
        kept: Share of the variance that the features hold.
        domain, target: Codes as in the cohort.
    """

    layer: str
    step: int
    sample: Int[np.ndarray, " N"]
    features: Float[np.ndarray, "N D"]
    kept: float
    domain: Int[np.ndarray, " N"]
    target: Int[np.ndarray, " N"]

    @cached_property
    def digest(self) -> bytes:
        """Of the embeddings and the samples: equal for equal points, wherever they were read."""
        found = hashlib.sha256(str(self.features.shape).encode())
        for part in (self.features, self.sample):
            found.update(np.ascontiguousarray(part).data)
        return found.digest()

    def take(self, rows: Int[np.ndarray, " M"]) -> Points:
        return Points(
            self.layer, self.step, self.sample[rows], self.features[rows], self.kept, self.domain[rows],
            self.target[rows],
        )  # fmt: skip


def recorded(run: Run) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Layers (in the order of the forward pass, as run.json says) and steps with embeddings."""
    found = run.query("SELECT DISTINCT layer, step FROM embeddings")
    names = set(found["layer"])
    layers = [name for name in run.info.layers if name in names]
    layers += sorted(names - set(layers))
    return tuple(layers), tuple(int(step) for step in np.sort(found["step"].unique()))


def cohort(run: Run, by: str | None = None, task: str | None = None, split: str | None = None) -> Cohort:
    """Look up the embedded samples.

    Args:
        by: Column of ``samples`` to compare by; ``domain`` by default, or ``dataset`` when there is only one domain.
        task: Classification task whose target is the class; the first one by default.
        split: Only samples of this split. By default the samples outside ``train`` where every domain has enough of
            them, so that memorised training samples are not compared with fresh ones; otherwise all.

    Raises:
        MissingTable: no table ``samples`` or ``embeddings``.
        ConfigError: unknown column, task or split; fewer than two domains with enough samples.
    """
    run.require("embeddings", "samples")
    columns = [name for name in run.columns("samples") if name != "thumbnail"]
    quoted = ", ".join(f's."{name}"' for name in columns)
    frame = run.query(
        f"SELECT {quoted} FROM samples s WHERE s.sample IN (SELECT DISTINCT sample FROM embeddings) ORDER BY s.sample"
    )
    frame = frame.drop_duplicates("sample").set_index("sample")
    if frame.empty:
        raise MissingTable(
            f"Run '{run.name}' has embeddings, but the table 'samples' describes none of the embedded samples. "
            "Record them with rec.samples({'sample': ids, 'domain': domains, ...})."
        )
    by = _domain_column(run, frame, by)
    frame["domain"] = frame[by].fillna("").astype(str)
    notes: list[str] = []
    frame = _of_split(frame, split, notes)
    frame = _large_enough(run, frame, by, notes)
    task, classes, target = _classes(run, frame, task)
    frame["class"] = np.array([*classes, ""], dtype=object)[target]
    present = set(frame["domain"])
    domains = tuple(name for name in run.domain_names if name in present)
    domains += tuple(sorted(present - set(domains)))
    held_out = {domain.name for domain in run.info.domains if domain.held_out} if by == "domain" else set()
    attributes = [name for name in run.attribute_names if name in frame.columns]
    kept = [*dict.fromkeys(["domain", "class", "dataset", "split", *attributes])]
    codes = pd.Categorical(frame["domain"], list(domains)).codes.astype(np.int64)
    return Cohort(
        by, task, frame[kept], domains, tuple(name in held_out for name in domains), classes, codes, target,
        tuple(notes),
    )  # fmt: skip


def _domain_column(run: Run, frame: pd.DataFrame, by: str | None) -> str:
    if by is not None:
        if by not in frame.columns:
            raise ConfigError(
                f"Run '{run.name}' has no column '{by}' in 'samples'. Columns: {', '.join(frame.columns)}."
            )
        return by
    if frame["domain"].nunique() < 2 <= frame["dataset"].nunique():
        return "dataset"
    return "domain"


def _of_split(frame: pd.DataFrame, split: str | None, notes: list[str]) -> pd.DataFrame:
    splits = frame["split"].fillna("").astype(str)
    if split is not None:
        if split not in set(splits):
            raise ConfigError(f"No embedded sample is of split '{split}'. Splits: {', '.join(sorted(set(splits)))}.")
        return frame[splits == split]
    fresh = splits != "train"
    if fresh.all() or not fresh.any():
        return frame
    counts = frame["domain"][fresh].value_counts()
    if len(counts) == frame["domain"].nunique() and counts.min() >= MIN_POINTS:
        notes.append("Samples of the training split are left out: memorised samples would look like a shift.")
        return frame[fresh]
    return frame


def _large_enough(run: Run, frame: pd.DataFrame, by: str, notes: list[str]) -> pd.DataFrame:
    counts = frame["domain"].value_counts()
    small = {str(name): int(n) for name, n in counts.items() if n < MIN_POINTS}
    if small:
        listed = ", ".join(f"'{name}' ({n})" for name, n in sorted(small.items()))
        notes.append(f"Left out, fewer than {MIN_POINTS} embedded samples: {listed}.")
    large = counts.index[counts >= MIN_POINTS]
    if len(large) < 2:
        remedy = "Record embeddings of samples from another domain, or compare by another column of 'samples'."
        if len(counts) == 1:
            name = f" ('{counts.index[0]}')" if counts.index[0] else ""
            raise ConfigError(
                f"A shift needs two domains: all {int(counts.iloc[0])} embedded samples of run '{run.name}' are of one "
                f"{by}{name}. {remedy}"
            )
        held = ", ".join(f"'{name}' ({n} samples)" for name, n in counts.items())
        raise ConfigError(
            f"A shift needs two domains with at least {MIN_POINTS} embedded samples each; column '{by}' of run "
            f"'{run.name}' holds {held}. {remedy}"
        )
    return frame[frame["domain"].isin(large)].copy()


def _classes(
    run: Run, frame: pd.DataFrame, task: str | None
) -> tuple[str | None, tuple[str, ...], Int[np.ndarray, " N"]]:
    known = [t.name for t in run.info.tasks if t.kind == "classification" and f"target_{t.name}" in frame.columns]
    if task is not None and task not in known:
        raise ConfigError(
            f"Run '{run.name}' has no classification task '{task}' with targets. It has: {', '.join(known) or 'none'}."
        )
    task = task or (known[0] if known else None)
    if task is None:
        return None, (), np.full(len(frame), -1)
    values = frame[f"target_{task}"]
    names = run.info.task(task).classes
    if names and pd.api.types.is_numeric_dtype(values):
        codes = values.fillna(-1).astype(np.int64).to_numpy()
        return task, names, np.where((codes >= 0) & (codes < len(names)), codes, -1)
    levels = sorted(values.dropna().unique())
    codes = pd.Categorical(values, levels).codes.astype(np.int64)
    return task, tuple(str(_plain(level)) for level in levels), codes


def _plain(level: object) -> object:
    return int(level) if isinstance(level, float) and level.is_integer() else level


def points_of(run: Run, who: Cohort, layer: str, step: int, at_most: int, seed: int = 0) -> Points | None:
    """The cohort's embeddings of a layer at a step; None when none were recorded there.

    At most ``at_most`` samples, the same ones for every layer and step, equally many per domain as far as they go.
    """
    try:
        values, sample = run.embedding(layer, step)
    except MissingTable:
        return None
    position = pd.Index(who.frame.index).get_indexer(sample)
    finite = np.isfinite(values).all(axis=1)
    rows = np.flatnonzero((position >= 0) & finite)
    position = position[rows]
    chosen = balanced(who.domain[position], at_most, priority(len(who.domain), seed)[position])
    rows, position = rows[chosen], position[chosen]
    features, kept = values[rows], 1.0
    if features.shape[1] > MAX_WIDTH and len(rows) > 1:
        reduced = principal_components(features, MAX_WIDTH)
        features, kept = reduced.points, float(reduced.share.sum())
    return Points(layer, step, sample[rows], features, kept, who.domain[position], who.target[position])


def priority(n: int, seed: int) -> Int[np.ndarray, " N"]:
    """A fixed random order of the cohort's samples."""
    return np.random.default_rng(seed).permutation(n)


def balanced(group: Int[np.ndarray, " N"], at_most: int, order: Int[np.ndarray, " N"]) -> Int[np.ndarray, " M"]:
    """Rows of at most ``at_most`` points with equally many per group as far as the groups go, lowest order first."""
    if len(group) <= at_most:
        return np.arange(len(group))
    _, codes, counts = np.unique(group, return_inverse=True, return_counts=True)
    quota = np.sort(counts)
    cap = int(quota[-1])
    left = at_most
    for i, count in enumerate(quota):
        share = left // (len(quota) - i)
        if count > share:
            cap = share
            break
        left -= count
    by_order = np.lexsort((order, codes))
    rank = np.empty(len(group), dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank[by_order] = np.arange(len(group)) - np.repeat(starts, counts)
    return np.flatnonzero(rank < max(cap, 1))
