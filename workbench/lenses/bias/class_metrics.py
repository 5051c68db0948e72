"""Rates of every class in every level: of labels, of regions of pictures, and of single answers.

Where a prediction holds several classes its samples fall into random blocks (a hash of the sample's number). Sums over
a block's samples are all that is kept: blocks are resampled for bootstrap limits, and their spread says how sure a
ratio of pixels is, whose pixels come in pictures and are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from workbench.core.gramian import Z95
from workbench.core.outcomes import COLUMNS
from workbench.lenses.bias.cube import Factor, Selection, count_by_factor
from workbench.lenses.bias.metrics import REPETITIONS, Counted, rates
from workbench.lenses.intervals import benjamini_hochberg, wilson

#: Random blocks of samples. Our choice: the variance of a ratio is known to about 7 %.
BLOCKS = 400
#: Rates of a class, with what each is a share of: numerator and rest among tp, fp, fn and tn.
RATES = {
    "tpr": ((0,), (2,)),
    "fpr": ((1,), (3,)),
    "precision": ((0,), (1,)),
    "iou": ((0,), (1, 2)),
    "dice": ((0,), (1, 2)),
}
#: Levels of which fewer than so many are expected on either side of a rate take no part in its test.
MIN_EXPECTED = 5.0


def class_blocks(
    selection: Selection, factors: Sequence[Factor], step: int, classes: Sequence[str], pixels: bool
) -> list[Counted]:
    """For each factor tp, fp, fn and tn of every class in every level, from predictions that hold several classes.

    Args:
        pixels: Units are pixels, each with one true class where tp + fn adds up to all of them.
    """
    columns = ", ".join(f"p.{name} AS {name}" for name in COLUMNS)
    columns = f"{columns}, p.step AS step, CAST(hash(p.sample) % {BLOCKS} AS INTEGER) AS block"
    names = [f"{name}_{k}" for k in range(1, len(classes) + 1) for name in COLUMNS]
    sums = ", ".join(f"sum({name.split('_')[0]}[{name.split('_')[1]}]) AS {name}" for name in names)
    condition = f"step = {int(step)} AND len(tp) = {len(classes)}"
    frames = count_by_factor(selection, factors, columns, "block", f"count(*) AS n, {sums}", condition)
    rng = np.random.default_rng(0)
    found = []
    for factor, frame in zip(factors, frames, strict=True):
        blocks = np.zeros((BLOCKS, len(factor.levels), len(classes), 4))
        place = (frame["block"].to_numpy(dtype=np.int64), frame["level"].to_numpy())
        np.add.at(blocks, place, frame[names].to_numpy(dtype=float).reshape(len(frame), len(classes), 4))
        n = np.bincount(frame["level"], frame["n"], len(factor.levels)).astype(np.int64)
        blocks = blocks[blocks.any(axis=(1, 2, 3))]
        outcomes = blocks.sum(axis=0)
        true, units = outcomes[..., (0, 2)].sum(), outcomes[:, :1].sum()
        single = pixels and bool(np.isclose(true, units))
        found.append(Counted(factor, n, outcomes, _drawn(blocks, rng), tuple(classes), single, blocks))
    return found


def _drawn(blocks: Float[np.ndarray, "J G C 4"], rng: np.random.Generator) -> Float[np.ndarray, "R G C 4"]:
    """Sums over blocks drawn with replacement."""
    if not len(blocks):
        return np.zeros((1, *blocks.shape[1:]))
    weights = rng.multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), REPETITIONS).astype(float)
    return (weights @ blocks.reshape(len(blocks), -1)).reshape(REPETITIONS, *blocks.shape[1:])


def class_table(counts: Sequence[Counted], clustered: bool) -> pd.DataFrame:
    """One row a factor, level, class and rate: value with 95 % limits, and a test of the levels' equality.

    Args:
        clustered: Units are pixels of pictures: see :func:`effective_size`. Otherwise every unit is a sample.

    Returns:
        factor, level, class, measure, n (units that the rate is a share of), value, low, high; ``gap`` between the
        best and the worst level of that class and rate, p of the chi-square test that all levels have one rate (at the
        effective sizes; levels with fewer than five expected units on either side take no part), and q, corrected over
        all classes and factors of one rate (Benjamini and Hochberg).

        Limits are Wilson's. Those of Dice are those of IoU, of which it is a function: 2 IoU / (1 + IoU).
    """
    frames = [_rates_of(each, measure, clustered) for each in counts for measure in RATES]
    frames = [frame for frame in frames if len(frame)]
    columns = ["factor", "level", "class", "measure", "n", "value", "low", "high", "gap", "p", "q"]
    if not frames:
        return pd.DataFrame(columns=columns)
    table = pd.concat(frames, ignore_index=True)
    tests = table.drop_duplicates(["factor", "class", "measure"])[["factor", "class", "measure", "p"]]
    tests = tests.assign(q=tests.groupby("measure")["p"].transform(lambda p: benjamini_hochberg(p.to_numpy())))
    return table.merge(tests.drop(columns="p"), on=["factor", "class", "measure"])[columns]


def _rates_of(counts: Counted, measure: str, clustered: bool) -> pd.DataFrame:
    (top,), rest = RATES[measure]
    n = counts.outcomes[..., (top, *rest)].sum(axis=-1)
    value = rates(counts.outcomes)["iou" if measure == "dice" else measure]
    size = n
    if clustered and counts.blocks is not None:
        size = effective_size(counts.blocks[..., top], counts.blocks[..., (top, *rest)].sum(axis=-1))
    low, high = wilson(value * size, size)
    low, high = np.minimum(low, value), np.maximum(high, value)  # rounding apart, they hold it
    p = _equality(value, size)
    if measure == "dice":
        value, low, high = (2 * share / (1 + share) for share in (value, low, high))
    known = n > 0
    spread = np.where(known, value, np.nan)
    gap = np.fmax.reduce(spread, axis=0) - np.fmin.reduce(spread, axis=0)  # [C]
    at_level, at_class = np.nonzero(known)
    frame = pd.DataFrame(
        {
            "factor": counts.factor.name,
            "level": np.array(counts.factor.levels, dtype=object)[at_level],
            "class": np.array(counts.classes, dtype=object)[at_class],
            "measure": measure,
            "n": n[known].astype(np.int64),
            "value": value[known],
            "low": low[known],
            "high": high[known],
        }
    )
    return frame.assign(gap=gap[at_class], p=p[at_class])


def effective_size(part: Float[np.ndarray, "J G C"], whole: Float[np.ndarray, "J G C"]) -> Float[np.ndarray, "G C"]:
    """How many independent units a share of sums over blocks is worth: share (1 − share) / its variance.

    The variance is that of a ratio over blocks of samples (linearisation): m / (m − 1) Σ_b (part_b − share · whole_b)²
    / (Σ_b whole_b)², over the m blocks that hold the class. The size is reduced for the uncertainty of the variance by
    (1.96 / t)² with Student's t at m − 1 degrees of freedom (Korn and Graubard 1998); where no block differs (share 0
    or 1) it is m, reduced alike. NaN with fewer than two blocks.
    """
    from scipy.special import stdtrit

    total, m = whole.sum(axis=0), (whole > 0).sum(axis=0).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = part.sum(axis=0) / total
        variance = m / (m - 1) * ((part - share * whole) ** 2).sum(axis=0) / total**2
        size = np.where(variance > 1e-15, share * (1 - share) / variance, m)
        t = stdtrit(np.maximum(m - 1, 1), 0.975)
        return np.asarray(np.where(m >= 2, size * (Z95 / t) ** 2, np.nan))


def _equality(value: Float[np.ndarray, "G C"], size: Float[np.ndarray, "G C"]) -> Float[np.ndarray, " C"]:
    """Chi-square test of one rate over the levels, for each class; NaN where fewer than two levels can be tested."""
    from scipy.special import chdtrc

    usable = np.isfinite(value) & np.isfinite(size)
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = _pooled(value, size, usable)
        usable &= size * np.minimum(pooled, 1 - pooled) >= MIN_EXPECTED
        pooled = _pooled(value, size, usable)
        square = np.where(usable, size * (value - pooled) ** 2, 0.0).sum(axis=0) / (pooled * (1 - pooled))
        freedom = usable.sum(axis=0) - 1
        return np.asarray(np.where(freedom >= 1, chdtrc(np.maximum(freedom, 1), square), np.nan))


def _pooled(
    value: Float[np.ndarray, "G C"], size: Float[np.ndarray, "G C"], usable: Bool[np.ndarray, "G C"]
) -> Float[np.ndarray, " C"]:
    return np.asarray(np.where(usable, value * size, 0.0).sum(axis=0) / np.where(usable, size, 0.0).sum(axis=0))
