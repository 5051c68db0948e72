"""Classification metrics of every level of every factor, and how far they lie apart, from one table of counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.lenses.bias.cube import Factor, Selection, count_by_factor, quoted

#: Equally filled bins of confidence in the calibration error.
CALIBRATION_BINS = 10
#: Bootstrap repetitions behind the intervals of differences between groups, and of the calibrated null.
REPETITIONS = 400
#: Runs with more predictions of the task skip these metrics unless asked for.
MAX_ROWS = 2_000_000


def confusions(selection: Selection, factors: Sequence[Factor], step: int) -> list[Float[np.ndarray, "_ C C"]]:
    """For each factor the samples of each level by target (rows) and prediction (columns)."""
    target = f"CAST(s.{quoted(selection.target)} AS VARCHAR)"
    columns = f"{target} AS t, CAST(p.prediction AS VARCHAR) AS y, p.step AS step"
    condition = f"step = {int(step)} AND t IS NOT NULL AND y IS NOT NULL"
    frames = count_by_factor(selection, factors, columns, "t, y", "count(*) AS n", condition)
    tables = []
    for factor, frame in zip(factors, frames, strict=True):
        # A number stored as 1 in one table and as 1.0 in another is one class.
        named = frame[["t", "y"]].replace(r"^(-?\d+)\.0$", r"\1", regex=True)
        classes = sorted(set(named["t"]) | set(named["y"]), key=lambda name: (len(name), name))
        index = {name: i for i, name in enumerate(classes)}
        counts = np.zeros((len(factor.levels), len(classes), len(classes)))
        place = (frame["level"].to_numpy(), named["t"].map(index).to_numpy(), named["y"].map(index).to_numpy())
        np.add.at(counts, place, frame["n"].to_numpy(dtype=float))
        tables.append(counts)
    return tables


def rates(counts: Float[np.ndarray, "... C C"]) -> dict[str, Float[np.ndarray, "... C"]]:
    """One-vs-rest rates of every class from counts by target and prediction; NaN where nothing can be divided.

    ``tpr`` (recall) P(ŷ = c | y = c), ``fpr`` P(ŷ = c | y ≠ c), ``precision`` P(y = c | ŷ = c), ``selected`` P(ŷ = c).
    """
    right = np.einsum("...cc->...c", counts)
    of_class, of_answer = counts.sum(axis=-1), counts.sum(axis=-2)
    total = counts.sum(axis=(-1, -2))[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "tpr": right / of_class,
            "fpr": (of_answer - right) / (total - of_class),
            "precision": right / of_answer,
            "selected": of_answer / total,
        }


def summary(counts: Float[np.ndarray, "... C C"]) -> dict[str, Float[np.ndarray, "..."]]:
    """Accuracy, balanced accuracy (mean recall), macro precision and false positive rate of each group.

    Balanced accuracy averages over the classes that occur in the group, as scikit-learn does; precision over the
    classes that occur as target or answer, with 0 for a class that was never answered.
    """
    found = rates(counts)
    total = counts.sum(axis=(-1, -2))
    seen = (counts.sum(axis=-1) + counts.sum(axis=-2)) > 0
    precision = np.where(seen, np.nan_to_num(found["precision"]), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy = np.einsum("...cc->...", counts) / total
        return {
            "accuracy": accuracy,
            "balanced_accuracy": _mean(found["tpr"]),
            "precision": _mean(precision),
            "false_positive_rate": _mean(np.where(seen, found["fpr"], np.nan)),
        }


def _mean(values: Float[np.ndarray, "... C"]) -> Float[np.ndarray, "..."]:
    """Mean over the last axis without NaN; NaN where all are."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1))


def differences(counts: Float[np.ndarray, "... G C C"]) -> dict[str, Float[np.ndarray, "..."]]:
    """How far groups lie apart; groups without samples do not count.

    ``equalised_odds``: the largest difference between groups of a class's true or false positive rate (Hardt et al.
    2016), ``equalised_odds_mean``: its mean over classes. ``demographic_parity``: the largest difference of the rate
    at which a class is answered; ``demographic_parity_ratio``: the smallest ratio of such rates. Classes are taken one
    against the rest. ``accuracy_gap``, ``accuracy_ratio``, ``worst``, ``unbiased_accuracy`` (mean over groups).
    ``equity_scaled`` = I / (1 + Σ_g |I_g − I|) with accuracies as fractions (Tian et al. 2024, later version), and
    ``equity_scaled_sd`` = I / (1 + sd of I_g) (first version, n − 1). Compare these two only at one number of groups.
    """
    found = rates(counts)
    odds = np.fmax(_spread(found["tpr"]), _spread(found["fpr"]))
    selected = found["selected"]
    n = counts.sum(axis=(-1, -2))
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.einsum("...cc->...", counts) / n
        overall = np.asarray(np.einsum("...gcc->...", counts) / n.sum(axis=-1))
    least, most = _least(each, -1), -_least(-each, -1)
    low, high = _least(selected, -2), -_least(-selected, -2)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {
            "equalised_odds": -_least(-odds, -1),
            "equalised_odds_mean": _mean(odds),
            "demographic_parity": -_least(-(high - low), -1),
            "demographic_parity_ratio": _least(np.where(high > 0, low / high, np.nan), -1),
            "accuracy_gap": most - least,
            "accuracy_ratio": least / most,
            "worst": least,
            "unbiased_accuracy": _mean(each),
            "equity_scaled": equity_scaled(overall, each),
            "equity_scaled_sd": equity_scaled(overall, each, "sd"),
        }
    return {name: np.asarray(values) for name, values in found.items()}


def equity_scaled(
    overall: Float[np.ndarray, "..."], each: Float[np.ndarray, "... G"], form: str = "sum"
) -> Float[np.ndarray, "..."]:
    """I / (1 + Δ) of scores as fractions: Δ = Σ_g |I_g − I| (``sum``) or the sample standard deviation (``sd``).

    Source: Tian et al. 2024, FairSeg, arXiv:2311.02189. A uniformly bad model counts as equitable.
    """
    known = ~np.isnan(each)
    if form == "sum":
        return np.asarray(overall / (1 + np.where(known, np.abs(each - overall[..., None]), 0.0).sum(axis=-1)))
    n = known.sum(axis=-1)
    squares = np.where(known, (each - _mean(each)[..., None]) ** 2, 0.0).sum(axis=-1)
    return np.asarray(overall / (1 + np.sqrt(squares / np.maximum(n - 1, 1))))


def _spread(values: Float[np.ndarray, "... G C"]) -> Float[np.ndarray, "... C"]:
    return -_least(-values, -2) - _least(values, -2)


def _least(values: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
    """Minimum without NaN; NaN where all are."""
    return np.asarray(np.fmin.reduce(values, axis=axis))


def difference_table(
    factors: Sequence[Factor], counts: Sequence[Float[np.ndarray, "_ C C"]], rng: np.random.Generator
) -> pd.DataFrame:
    """Differences between the levels of every factor with percentile limits of a bootstrap over samples.

    Largest differences grow with the number of small groups even where all are alike, so their limits lie above 0.
    """
    rows = []
    for factor, table in zip(factors, counts, strict=True):
        if table.sum() == 0:
            continue
        value = differences(table)
        drawn = rng.multinomial(int(table.sum()), (table / table.sum()).ravel(), REPETITIONS)
        again = differences(drawn.reshape(REPETITIONS, *table.shape).astype(float))
        for name, number in value.items():
            low, high = _quantiles(again[name])
            rows.append({"factor": factor.name, "measure": name, "value": float(number), "low": low, "high": high})
    return pd.DataFrame(rows, columns=["factor", "measure", "value", "low", "high"])


def calibrations(
    selection: Selection, factors: Sequence[Factor], step: int, value: str
) -> list[dict[str, Float[np.ndarray, "_ J"]]]:
    """For each factor: samples, sum of confidence, right answers and squared error by level and bin of confidence.

    The bins hold equally many of all samples.
    """
    columns = f"p.confidence AS c, {value} AS v, p.step AS step"
    condition = f"step = {int(step)} AND isfinite(c) AND v IS NOT NULL"
    shares = [i / CALIBRATION_BINS for i in range(1, CALIBRATION_BINS)]
    found = selection.query(
        f"SELECT count(*) AS n, quantile_disc(c, {shares}) AS q FROM ({selection.joined(columns)}) WHERE {condition}"
    )
    inner = sorted({float(edge) for edge in found["q"][0]}) if found["n"][0] else []
    cases = " ".join(f"WHEN p.confidence <= {edge!r} THEN {i}" for i, edge in enumerate(inner))
    bins = f"CASE {cases} ELSE {len(inner)} END" if inner else "0"
    sums = "count(*) AS n, sum(c) AS confidence, sum(v) AS hits, sum((c - v) * (c - v)) AS squares"
    frames = count_by_factor(selection, factors, f"{columns}, {bins} AS bin", "bin", sums, condition)
    names = {"n": "n", "confidence": "confidence", "right": "hits", "squares": "squares"}
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


def _summary_limits(table: Float[np.ndarray, "G C C"], rng: np.random.Generator) -> dict[str, Float[np.ndarray, " G"]]:
    """95 % limits of every summary metric of each level: percentiles of a bootstrap of its samples."""
    shape, limits = table.shape[1:], []
    for counts in table:
        shares = counts.ravel() / max(counts.sum(), 1.0)
        drawn = rng.multinomial(int(counts.sum()), shares, REPETITIONS) if counts.sum() else np.zeros((1, shares.size))
        again = summary(drawn.reshape(-1, *shape).astype(float))
        limits.append({name: _quantiles(values) for name, values in again.items()})
    names = limits[0] if limits else {}
    low = {f"{name}_low": np.array([level[name][0] for level in limits]) for name in names}
    return low | {f"{name}_high": np.array([level[name][1] for level in limits]) for name in names}


def _quantiles(values: Float[np.ndarray, " R"]) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def metric_table(
    selection: Selection,
    factors: Sequence[Factor],
    counts: Sequence[Float[np.ndarray, "_ C C"]],
    step: int,
    value: str,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """One row a level: accuracy, balanced accuracy, precision, false positive rate, calibration error and Brier score.

    ``_low`` and ``_high`` are bootstrap limits. ``ece_null`` is the mean calibration error of a calibrated model with
    as many samples, ``ece_excess`` what lies above it, ``ece_p`` the share of such models with an error as large.
    ``brier`` is (confidence − right)², for the answered class.
    """
    frames = []
    for factor, table, bins in zip(factors, counts, calibrations(selection, factors, step, value), strict=True):
        frame = pd.DataFrame({"factor": factor.name, "level": factor.levels, "n": table.sum(axis=(1, 2)).astype(int)})
        frame = frame.assign(**summary(table), **_summary_limits(table, rng))
        frame["ece"] = calibration_error(bins["n"], bins["confidence"], bins["right"])
        nulls = [calibrated_null(n, c, rng) for n, c in zip(bins["n"], bins["confidence"], strict=True)]
        frame["ece_null"] = [null.mean() for null in nulls]
        frame["ece_excess"] = frame["ece"] - frame["ece_null"]
        frame["ece_p"] = [
            np.nan if np.isnan(found) else (1 + int((null >= found).sum())) / (1 + len(null))
            for null, found in zip(nulls, frame["ece"], strict=True)
        ]
        with np.errstate(invalid="ignore", divide="ignore"):
            frame["brier"] = bins["squares"].sum(axis=1) / bins["n"].sum(axis=1)
        frames.append(frame[frame["n"] > 0])
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["factor", "level", "n"])
