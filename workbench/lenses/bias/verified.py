"""Pairs that a net accepts or rejects by a score: rates, curves and histograms of every level of every factor.

Read from predictions with a column ``score`` whose targets are 1 (genuine pair) and 0 (impostor pair). All pairs count,
whatever split the rest of the lens studies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from workbench.core import ConfigError, Run
from workbench.core.verification import MIN_ACCEPTED, threshold_at
from workbench.lenses.bias.cube import Factor, quoted
from workbench.lenses.bias.verification import tar_at_far

#: False accept rates at which acceptance is read, the main one first.
RATES = (0.01, 0.1, 0.001)
#: Points of a curve and bins of a histogram.
POINTS, BINS = 60, 40
#: Beyond so many pairs the numbers come from a random part of them.
MAX_PAIRS = 500_000


@dataclass(frozen=True)
class Verified:
    """Scores of one task's pairs at one step, by the levels of each factor.

    Attributes:
        n_genuine, n_impostors: Pairs in all.
        thresholds: False accept rate -> threshold over all pairs; rates that too few impostors carry are left out.
        rates: One row a rate, factor and level: ``tar`` and ``far`` at the threshold for all with limits of ``tar``,
            ``own_tar`` at the level's own threshold (NaN where too few impostors carry it), numbers of pairs.
        curves: factor, level, far, tar at the level's own thresholds.
        histograms: factor, level, kind ("genuine", "impostor"), score (middle of the bin), share.
        overlap: factor, level, overlap: area that both histograms share, 0 = apart, 1 = the same.
        tasks: task, factor, level, own_tar, genuine: every scored task at its last step, each level at its own
            threshold for the main rate, because a common one would praise a level whose scores are all high.
    """

    n_genuine: int
    n_impostors: int
    thresholds: dict[float, float]
    rates: pd.DataFrame
    curves: pd.DataFrame
    histograms: pd.DataFrame
    overlap: pd.DataFrame
    tasks: pd.DataFrame
    _pairs: pd.DataFrame

    @property
    def rate(self) -> float:
        """The main false accept rate: the first of :data:`RATES` that the impostors carry."""
        return next(iter(self.thresholds))

    @property
    def factors(self) -> tuple[str, ...]:
        """The factors, widest gap in TAR at the main rate first."""
        gaps = self.rates[self.rates["rate"] == self.rate].groupby("factor")["tar"].agg(np.ptp)
        return tuple(gaps.sort_values(ascending=False).index)

    def genuine(self, rate: float) -> pd.DataFrame:
        """The genuine pairs: sample, accepted (at the threshold for ``rate``), and the level of every factor."""
        rows = self._pairs[self._pairs["genuine"]]
        accepted = rows["score"] > self.thresholds[rate]
        return rows.drop(columns=["score", "genuine"]).assign(accepted=accepted.astype(float))

    def at(self, threshold: float, factor: str) -> pd.DataFrame:
        """Share of genuine pairs rejected and of impostors accepted above a threshold, one row a level."""
        accepted = self._pairs["score"] > threshold
        grouped = accepted.groupby([self._pairs[factor], self._pairs["genuine"]]).mean().unstack()
        grouped = grouped.reindex(columns=[True, False])
        return pd.DataFrame(
            {"level": grouped.index, "false rejects": 1 - grouped[True], "false accepts": grouped[False]}
        ).reset_index(drop=True)


def verified(run: Run, task: str, step: int, factors: Sequence[Factor], tasks: Sequence[str]) -> Verified | None:
    """The scored pairs of a task; None where it has no scores, or too few pairs for any rate."""
    factors = [factor for factor in factors if not factor.edges]
    if "score" not in run.columns("predictions") or not factors:
        return None
    pairs = _pairs(run, task, step, factors)
    thresholds = _thresholds(pairs)
    if not thresholds or not pairs["genuine"].any():
        return None
    levels = [(factor, level, pairs[pairs[factor.name] == level]) for factor in factors for level in factor.levels]
    shown = [(factor.name, level, part) for factor, level, part in levels if len(part)]
    histograms = _histograms(pairs, shown)
    by_kind = histograms.pivot_table(index=["factor", "level", "score"], columns="kind", values="share", sort=False)
    overlap = by_kind.min(axis=1, skipna=False).groupby(["factor", "level"], sort=False).sum().rename("overlap")
    return Verified(
        n_genuine=int(pairs["genuine"].sum()),
        n_impostors=int((~pairs["genuine"]).sum()),
        thresholds=thresholds,
        rates=_rates(pairs, factors, thresholds),
        curves=pd.concat([_curve(part).assign(factor=name, level=level) for name, level, part in shown]),
        histograms=histograms,
        overlap=overlap.reset_index(),
        tasks=_tasks(run, tasks, factors),
        _pairs=pairs,
    )


def _pairs(run: Run, task: str, step: int | None, factors: Sequence[Factor]) -> pd.DataFrame:
    """sample, score, genuine and the level of every factor as text; the last recorded step where none is given."""
    target = f"target_{task}"
    if target not in run.columns("samples"):
        return pd.DataFrame({"score": [], "genuine": np.array([], dtype=bool)})
    columns = ", ".join(f"CAST(s.{quoted(factor.column)} AS VARCHAR) AS {quoted(factor.name)}" for factor in factors)
    return run.query(
        f"SELECT p.sample, p.score, s.{quoted(target)} = 1 AS genuine, {columns} "
        "FROM predictions p JOIN samples s USING (sample) "
        f"WHERE p.task = $task AND isfinite(p.score) AND s.{quoted(target)} IN (0, 1) AND p.step = "
        "coalesce($step, (SELECT max(step) FROM predictions WHERE task = $task AND score IS NOT NULL)) "
        f"ORDER BY hash(p.sample) LIMIT {MAX_PAIRS}",
        {"task": task, "step": step},
    ).astype({"score": float, "genuine": bool})


def _thresholds(pairs: pd.DataFrame) -> dict[float, float]:
    impostors = pairs["score"].to_numpy()[~pairs["genuine"].to_numpy()]
    found = {}
    for rate in RATES:
        try:
            found[rate] = threshold_at(impostors, rate)
        except ConfigError:  # too few impostors for this rate
            continue
    return found


def _rates(pairs: pd.DataFrame, factors: Sequence[Factor], thresholds: dict[float, float]) -> pd.DataFrame:
    scores, genuine = pairs["score"].to_numpy(), pairs["genuine"].to_numpy()
    parts = [
        tar_at_far(scores, genuine, pairs[factor.name].tolist(), rate).assign(rate=rate, factor=factor.name)
        for rate in thresholds
        for factor in factors
    ]
    return pd.concat(parts, ignore_index=True).rename(columns={"group": "level"})


def _curve(part: pd.DataFrame) -> pd.DataFrame:
    """TAR over FAR at a level's own thresholds, down to the FAR that its impostors carry."""
    genuine, impostors = _split(part)
    least = MIN_ACCEPTED / max(len(impostors), 1)
    if least >= 0.5 or not len(genuine):
        return pd.DataFrame({"far": [], "tar": []})
    rates = np.geomspace(least, 0.5, POINTS)
    allowed = np.floor(rates * len(impostors) + 1e-9).astype(int)
    thresholds = np.sort(impostors)[len(impostors) - 1 - allowed]
    below = np.searchsorted(np.sort(genuine), thresholds, side="right")
    return pd.DataFrame({"far": rates, "tar": 1 - below / len(genuine)})


def _histograms(pairs: pd.DataFrame, shown: Sequence[tuple[str, str, pd.DataFrame]]) -> pd.DataFrame:
    edges = np.linspace(pairs["score"].min(), pairs["score"].max(), BINS + 1)
    rows = []
    for factor, level, part in shown:
        for kind, scores in zip(("genuine", "impostor"), _split(part), strict=True):
            share = np.histogram(scores, edges)[0] / max(len(scores), 1)
            middle = (edges[1:] + edges[:-1]) / 2
            rows.append(pd.DataFrame({"factor": factor, "level": level, "kind": kind, "score": middle, "share": share}))
    return pd.concat(rows, ignore_index=True)


def _split(part: pd.DataFrame) -> tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]:
    genuine: Bool[np.ndarray, " _"] = part["genuine"].to_numpy()
    scores = part["score"].to_numpy()
    return scores[genuine], scores[~genuine]


def _tasks(run: Run, tasks: Sequence[str], factors: Sequence[Factor]) -> pd.DataFrame:
    """TAR of every scored task at its last step, at each level's own threshold."""
    rows = []
    for task in tasks:
        pairs = _pairs(run, task, None, factors)
        thresholds = _thresholds(pairs)
        if thresholds:
            rate = next(iter(thresholds))
            rows.append(_rates(pairs, factors, {rate: thresholds[rate]}).assign(task=task))
    if not rows:
        return pd.DataFrame(columns=["task", "factor", "level", "own_tar", "genuine"])
    return pd.concat(rows, ignore_index=True)[["task", "factor", "level", "own_tar", "genuine"]]
