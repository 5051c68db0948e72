"""How much of what one dataset calls b is called a by another, with intervals over samples, not over pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.core import Run
from workbench.core.gramian import Z95, student95
from workbench.core.schema import TRUTH
from workbench.lenses.intervals import wilson


@dataclass(frozen=True)
class Rate:
    """Shares with 95 % limits and the number of independent samples that they are worth; NaN where nothing is known."""

    value: Float[np.ndarray, "A B"]
    low: Float[np.ndarray, "A B"]
    high: Float[np.ndarray, "A B"]
    effective: Float[np.ndarray, "A B"]

    @property
    def transposed(self) -> Rate:
        return Rate(self.value.T, self.low.T, self.high.T, self.effective.T)


@dataclass(frozen=True)
class Pair:
    """Two datasets' label lists laid over each other.

    Attributes:
        mass: Weight (pixels, boxes or samples) that one dataset labels a and the other b; each label is either
            annotated or predicted by that dataset's head, never predicted on both sides.
        b_given_a, a_given_b: Conditional shares.
        dice: 2 mass / (mass of a + mass of b).
        samples_a, samples_b: Samples that hold the label.
        sources: What was used: "B's head on A's samples", "A's head on B's samples".
    """

    dataset_a: str
    dataset_b: str
    labels_a: tuple[str, ...]
    labels_b: tuple[str, ...]
    mass: Float[np.ndarray, "A B"]
    b_given_a: Rate
    a_given_b: Rate
    dice: Rate
    samples_a: Float[np.ndarray, " A"]
    samples_b: Float[np.ndarray, " B"]
    sources: tuple[str, ...]


# Regions with one annotated label; the weight of a region is shared out by what the head says in it. Rows come in
# three kinds: 'ab' (sums over samples for a pair of labels), 'h' (for a predicted label), 't' (for an annotated one).
_SUMS = """
WITH truth AS (
    SELECT dataset, sample, region, any_value(label) AS t, sum(weight) AS weight
    FROM label_counts WHERE source = $truth AND weight > 0
    GROUP BY dataset, sample, region HAVING count(DISTINCT label) = 1
), said AS (
    SELECT dataset, sample, region, source AS head, label AS h, sum(weight) AS weight
    FROM label_counts WHERE source <> $truth AND weight > 0 {step}
    GROUP BY ALL
), shared AS (
    SELECT *, weight / sum(weight) OVER (PARTITION BY dataset, sample, region, head) AS share FROM said
), cell AS (
    SELECT dataset, head, sample, h, t, sum(truth.weight * share) AS m
    FROM shared JOIN truth USING (dataset, sample, region) GROUP BY ALL
), of_h AS (SELECT dataset, head, sample, h, sum(m) AS m FROM cell GROUP BY ALL
), of_t AS (SELECT dataset, head, sample, t, sum(m) AS m FROM cell GROUP BY ALL
), crossed AS (
    SELECT dataset, head, h, t, of_h.m AS mh, of_t.m AS mt, coalesce(cell.m, 0) AS m
    FROM of_h JOIN of_t USING (dataset, head, sample) LEFT JOIN cell USING (dataset, head, sample, h, t)
)
SELECT 'ab' AS kind, dataset, head, h, t, sum(m) AS m, sum(m * m) AS mm, sum(m * mh) AS mmh, sum(m * mt) AS mmt,
       sum(mh * mt) AS hht, count(*) FILTER (WHERE m > 0) AS n
FROM crossed GROUP BY ALL
UNION ALL SELECT 'h', dataset, head, h, NULL, sum(m), sum(m * m), 0, 0, 0, count(*) FROM of_h GROUP BY ALL
UNION ALL SELECT 't', dataset, head, NULL, t, sum(m), sum(m * m), 0, 0, 0, count(*) FROM of_t GROUP BY ALL
ORDER BY ALL
"""


def cross_sums(run: Run, step: int | None) -> pd.DataFrame:
    """Sums over samples of the weights of pairs of labels (one annotated, one predicted), for every dataset and head.

    Args:
        step: Of the predictions; None where they carry no step.
    """
    parameters: dict[str, object] = {"truth": TRUTH} | ({} if step is None else {"step": step})
    return run.query(_SUMS.format(step="" if step is None else "AND step = $step"), parameters)


def pair_of(
    sums: pd.DataFrame, dataset_a: str, dataset_b: str, labels_a: Sequence[str], labels_b: Sequence[str]
) -> Pair:
    """The two label lists laid over each other, from both datasets' samples where both were predicted across.

    A share is a ratio of weights, and its variance is that of a ratio over independent samples (linearisation). It is
    worth as many independent samples as a plain proportion with that variance; Wilson's interval is taken at that
    size. For samples that hold one label each this is Wilson's interval itself. Where samples agree better than single
    labels could, the size is reduced for the uncertainty of the variance (Korn and Graubard 1998).

    A dataset against itself gives its own head's confusion: a predicted, b annotated.
    """
    shape = (len(labels_a), len(labels_b))
    cells = {name: np.zeros(shape) for name in ("m", "mm", "mma", "mmb", "ab")}
    of_a, of_b = (np.zeros((3, size)) for size in shape)
    sources = []
    at_a, at_b = ({label: i for i, label in enumerate(labels)} for labels in (labels_a, labels_b))
    directions = [(dataset_a, dataset_b, False), (dataset_b, dataset_a, True)]
    for dataset, head, predicted_a in directions[dataset_a == dataset_b :]:
        rows = sums[(sums["dataset"] == dataset) & (sums["head"] == head)]
        if not len(rows):
            continue
        sources.append(f"{head}'s head on {dataset}'s samples")
        name_a, name_b = ("h", "t") if predicted_a else ("t", "h")
        pairs = rows[rows["kind"] == "ab"]
        pairs = pairs[pairs[name_a].isin(at_a) & pairs[name_b].isin(at_b)]
        index = (pairs[name_a].map(at_a).to_numpy(dtype=np.int64), pairs[name_b].map(at_b).to_numpy(dtype=np.int64))
        columns = {"m": "m", "mm": "mm", "mma": f"mm{name_a}", "mmb": f"mm{name_b}", "ab": "hht"}
        for cell, column in columns.items():
            np.add.at(cells[cell], index, pairs[column].to_numpy(dtype=float))
        for sums_of, name, at in ((of_a, name_a, at_a), (of_b, name_b, at_b)):
            margin = rows[(rows["kind"] == name) & rows[name].isin(at)]
            for row, column in enumerate(("m", "mm", "n")):
                np.add.at(
                    sums_of[row], margin[name].map(at).to_numpy(dtype=np.int64), margin[column].to_numpy(dtype=float)
                )
    (a, aa, n_a), (b, bb, n_b) = of_a[:, :, None], of_b[:, None, :]
    dice_n = np.maximum(n_a, n_b)
    return Pair(
        dataset_a=dataset_a,
        dataset_b=dataset_b,
        labels_a=tuple(labels_a),
        labels_b=tuple(labels_b),
        mass=cells["m"],
        b_given_a=ratio(cells["m"], a, cells["mm"], cells["mma"], aa, n_a),
        a_given_b=ratio(cells["m"], b, cells["mm"], cells["mmb"], bb, n_b),
        dice=ratio(
            2 * cells["m"],
            a + b,
            4 * cells["mm"],
            2 * (cells["mma"] + cells["mmb"]),
            aa + 2 * cells["ab"] + bb,
            dice_n,
        ),
        samples_a=of_a[2],
        samples_b=of_b[2],
        sources=tuple(sources),
    )


def ratio(
    x: Float[np.ndarray, "A B"],
    y: Float[np.ndarray, "..."],
    xx: Float[np.ndarray, "A B"],
    xy: Float[np.ndarray, "A B"],
    yy: Float[np.ndarray, "..."],
    n: Float[np.ndarray, "..."],
) -> Rate:
    """The ratio Σx / Σy over n independent samples from its sums, with Wilson's limits at its effective size.

    Args:
        xx, xy, yy: Σx², Σxy, Σy² over samples.
    """
    y, yy, n = (np.broadcast_to(values, x.shape) for values in (y, yy, n))
    known = y > 0
    safe = np.where(known, y, 1.0)
    p = np.clip(x / safe, 0.0, 1.0)
    variance = np.maximum(xx - 2 * p * xy + p**2 * yy, 0.0) / safe**2
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = np.where(variance > 1e-15, p * (1 - p) / variance, n)
    # Steadier than single labels: how steady is itself known from n samples only, as Student's t says.
    steadier = np.maximum(n, worth * _steadiness(n))
    effective = np.where(known, np.where(worth > n, steadier, worth), 0.0)
    low, high = wilson(p * effective, effective)
    return Rate(np.where(known, p, np.nan), low, high, effective)


def _steadiness(n: Float[np.ndarray, "A B"]) -> Float[np.ndarray, "A B"]:
    """(n - 1) / n · (z / t)² with Student's t of n - 1 degrees of freedom; 0 for fewer than two samples."""
    sizes, at = np.unique(n, return_inverse=True)
    factor = [0.0 if size < 2 else (size - 1) / size * (Z95 / student95(int(size) - 1)) ** 2 for size in sizes]
    return np.array(factor)[at].reshape(n.shape)


def npmi(mass: Float[np.ndarray, "A B"]) -> Float[np.ndarray, "A B"]:
    """Normalised pointwise mutual information in [-1, 1]; NaN for a table without weight.

    1: the labels occur only together; 0: independent; towards -1: never together. Half a unit is added to every cell
    when some cell is 0. Source: Bouma 2009; PMI = log2 P(a, b) / (P(a) P(b)), divided by -log2 P(a, b).
    """
    if mass.sum() <= 0:
        return np.full(mass.shape, np.nan)
    smoothed = mass + 0.5 if (mass == 0).any() else mass
    joint = smoothed / smoothed.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    surprise = -np.log2(joint)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(surprise > 0, np.log2(joint / independent) / surprise, 1.0)
