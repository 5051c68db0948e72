"""How well confidences keep what they promise, in every level of every factor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.core.gramian import Z95
from workbench.lenses.bias.cube import Factor, Selection, count_by_factor
from workbench.lenses.bias.uncertainty import variance

#: Equally filled bins of confidence in the calibration error.
CALIBRATION_BINS = 10
#: Bootstrap repetitions and repetitions of the calibrated null.
REPETITIONS = 400
#: True errors that are tried for the limits of the calibration error, and draws for each.
GRID, DRAWS = 40, 1000


def of_answers(value: str) -> str:
    """Columns for :func:`calibrations`: the confidence ``c`` in the answer, and ``v``, whether it was right."""
    return f"p.confidence AS c, {value} AS v"


def of_labels() -> str:
    """Columns for :func:`calibrations`: the probability ``c`` of every label, from its logit, and ``v``: it holds."""
    return (
        "unnest(list_transform(p.logits, lambda x: 1 / (1 + exp(-x)))) AS c, "
        "unnest(list_transform(range(1, len(p.tp) + 1), lambda k: p.tp[k] + p.fn[k])) AS v"
    )


def calibrations(
    selection: Selection, factors: Sequence[Factor], step: int, columns: str
) -> list[dict[str, Float[np.ndarray, "_ J"]]]:
    """For each factor, by level and bin of confidence: samples ``n``, sum of ``confidence``, ``right`` answers, sums of
    the squared error (``squares``) and of its square (``fourth``).

    The bins hold equally many of all samples.
    """
    columns = f"{columns}, p.step AS step"
    condition = f"step = {int(step)} AND isfinite(c) AND v IS NOT NULL"
    shares = [i / CALIBRATION_BINS for i in range(1, CALIBRATION_BINS)]
    found = selection.query(
        f"SELECT count(*) AS n, quantile_disc(c, {shares}) AS q FROM ({selection.joined(columns)}) WHERE {condition}"
    )
    inner = sorted({float(edge) for edge in found["q"][0]}) if found["n"][0] else []
    cases = " ".join(f"WHEN c <= {edge!r} THEN {i}" for i, edge in enumerate(inner))
    bins = f"CASE {cases} ELSE {len(inner)} END AS bin" if inner else "0 AS bin"
    sums = (
        "count(*) AS n, sum(c) AS confidence, sum(v) AS hits, sum((c - v) * (c - v)) AS squares, "
        "sum(pow(c - v, 4)) AS fourth"
    )
    frames = count_by_factor(selection, factors, columns, "bin", sums, condition, derived=bins)
    names = {"n": "n", "confidence": "confidence", "right": "hits", "squares": "squares", "fourth": "fourth"}
    tables = []
    for factor, frame in zip(factors, frames, strict=True):
        place = (frame["level"].to_numpy(), frame["bin"].to_numpy(dtype=np.int64))
        table = {name: np.zeros((len(factor.levels), len(inner) + 1)) for name in names}
        for name, column in names.items():
            np.add.at(table[name], place, frame[column].to_numpy(dtype=float))
        tables.append(table)
    return tables


def calibration_error(
    n: Float[np.ndarray, "... J"], confidence: Float[np.ndarray, "... J"], right: Float[np.ndarray, "... J"]
) -> Float[np.ndarray, "..."]:
    """Expected calibration error Σ_b n_b / n |accuracy − confidence| from sums over the bins; NaN without samples."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.abs(right - confidence).sum(axis=-1) / n.sum(axis=-1))


def calibrated_null(
    n: Float[np.ndarray, " J"], confidence: Float[np.ndarray, " J"], rng: np.random.Generator, draws: int = REPETITIONS
) -> Float[np.ndarray, " R"]:
    """Calibration errors of a perfectly calibrated model with these bins: answers are right as often as it says.

    Even such a model shows an error in few samples: about 0.10 with 50 samples in five bins, 0.02 with 1000.
    """
    share = np.divide(confidence, n, out=np.zeros_like(confidence), where=n > 0)
    right = rng.binomial(n.astype(np.int64), np.clip(share, 0, 1), (draws, len(n)))
    return calibration_error(n, confidence, right.astype(float))


def calibration_columns(bins: dict[str, Float[np.ndarray, "G J"]], rng: np.random.Generator) -> pd.DataFrame:
    """One row a level: ece with limits, ece_null, ece_excess, ece_p, and the Brier score with limits.

    Limits of the calibration error are those of :func:`_error_limits`: few samples alone make an error, so that it may
    lie at its upper limit. Limits of the Brier score are normal.
    """
    frame = pd.DataFrame({"ece": calibration_error(bins["n"], bins["confidence"], bins["right"])})
    nulls = [calibrated_null(n, c, rng) for n, c in zip(bins["n"], bins["confidence"], strict=True)]
    noise = rng.standard_normal((DRAWS, bins["n"].shape[1]))
    limits = [_error_limits(*level, noise) for level in zip(bins["n"], bins["confidence"], bins["right"], strict=True)]
    frame["ece_low"], frame["ece_high"] = np.array(limits).reshape(-1, 2).T
    frame["ece_null"] = [null.mean() for null in nulls]
    frame["ece_excess"] = frame["ece"] - frame["ece_null"]
    frame["ece_p"] = [
        np.nan if np.isnan(found) else (1 + int((null >= found).sum())) / (1 + len(null))
        for null, found in zip(nulls, frame["ece"], strict=True)
    ]
    n, squares, fourth = (bins[name].sum(axis=1) for name in ("n", "squares", "fourth"))
    with np.errstate(invalid="ignore", divide="ignore"):
        frame["brier"] = squares / n
        half = Z95 * np.sqrt(variance(n, squares, fourth) / n)
    frame["brier_low"], frame["brier_high"] = np.maximum(frame["brier"] - half, 0), np.minimum(frame["brier"] + half, 1)
    return frame


def _error_limits(
    n: Float[np.ndarray, " J"],
    confidence: Float[np.ndarray, " J"],
    right: Float[np.ndarray, " J"],
    noise: Float[np.ndarray, "R J"],
) -> tuple[float, float]:
    """95 % limits of a calibration error: all true errors under which the one found is no surprise.

    How much chance adds to an error depends on how the true error spreads over the bins, which is not known. So the
    limits are the widest of three spreads: even, as found, and all in the bin that is furthest off. They hold at least
    95 % where bins have some twenty samples, and about 90 % with six. Our choice.

    Args:
        noise: Standard normal draws.
    """
    used = n > 0
    if not used.any():
        return float("nan"), float("nan")
    n, confidence, right, noise = n[used], confidence[used], right[used], noise[:, used]
    share = n / n.sum()
    found = np.abs(right - confidence) / n
    shrunk, said = (right + 0.5) / (n + 1), np.clip(confidence / n, 0, 1)
    # The larger of what the answers and what the confidences say: the first is too small in bins that happen to agree.
    error = np.sqrt(np.maximum(shrunk * (1 - shrunk), said * (1 - said)) / n)
    observed = float(share @ found)
    tried = np.linspace(0, observed + 4 * float(np.sqrt(((share * error) ** 2).sum())), GRID)
    limits = [observed]
    for spread in (np.ones(len(n)), found, (found == found.max()).astype(float)):
        if (scale := float(share @ spread)) > 0:
            drawn = np.abs(tried[:, None, None] * spread / scale + error * noise) @ share  # [GRID, R]
            low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
            limits += tried[(low <= observed) & (observed <= high)].tolist()
    return min(limits), max(limits)
