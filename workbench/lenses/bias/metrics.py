"""Classification metrics of every level of every factor, and how far they lie apart, from one table of counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from workbench.lenses.bias.calibration import calibration_columns
from workbench.lenses.bias.cube import Factor, Selection, count_by_factor, quoted
from workbench.lenses.bias.factors import shown_classes
from workbench.lenses.bias.sample_metrics import LOSS
from workbench.lenses.bias.uncertainty import mean_interval

#: Bootstrap repetitions behind the intervals of differences between groups.
REPETITIONS = 400
#: Runs with more predictions of the task skip these metrics unless asked for.
MAX_ROWS = 2_000_000


def confusions(
    selection: Selection, factors: Sequence[Factor], step: int
) -> list[tuple[Float[np.ndarray, "_ C C"], tuple[str, ...]]]:
    """For each factor the samples of each level by target (rows) and prediction (columns), and the classes' names."""
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
        tables.append((counts, tuple(shown_classes(selection, classes))))
    return tables


def one_against_rest(counts: Float[np.ndarray, "... C C"]) -> Float[np.ndarray, "... C 4"]:
    """tp, fp, fn and tn of every class from counts by target (rows) and prediction (columns)."""
    right = np.einsum("...cc->...c", counts)
    invented, missed = counts.sum(axis=-2) - right, counts.sum(axis=-1) - right
    rest = counts.sum(axis=(-1, -2))[..., None] - right - invented - missed
    return np.stack([right, invented, missed, rest], axis=-1)


def rates(outcomes: Float[np.ndarray, "... C 4"]) -> dict[str, Float[np.ndarray, "... C"]]:
    """Rates of every class from its tp, fp, fn and tn; NaN where nothing can be divided.

    ``tpr`` (recall) P(ŷ ∋ c | y ∋ c), ``fpr`` P(ŷ ∋ c | y ∌ c), ``precision`` P(y ∋ c | ŷ ∋ c), ``iou`` tp / (tp + fp +
    fn), ``dice`` (F1) 2 tp / (2 tp + fp + fn), ``selected`` P(ŷ ∋ c).
    """
    tp, fp, fn, tn = np.moveaxis(outcomes, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "tpr": tp / (tp + fn),
            "fpr": fp / (fp + tn),
            "precision": tp / (tp + fp),
            "iou": tp / (tp + fp + fn),
            "dice": 2 * tp / (2 * tp + fp + fn),
            "selected": (tp + fp) / (tp + fp + fn + tn),
        }


def accuracy(outcomes: Float[np.ndarray, "... C 4"], single: bool) -> Float[np.ndarray, "..."]:
    """Share of what is right: of samples or pixels with one class each (``single``), else of all labels."""
    tp, fp, fn, tn = np.moveaxis(outcomes, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        if single:
            return np.asarray(tp.sum(axis=-1) / (tp + fn).sum(axis=-1))
        return np.asarray((tp + tn).sum(axis=-1) / (tp + fp + fn + tn).sum(axis=-1))


def summary(outcomes: Float[np.ndarray, "... C 4"], single: bool = True) -> dict[str, Float[np.ndarray, "..."]]:
    """Accuracy, balanced accuracy (mean recall), precision, false positive rate, IoU and Dice of each group.

    All but the accuracy are means over classes: balanced accuracy over those that occur in the group, as scikit-learn
    does; the others over those that occur as target or answer, precision with 0 for a class that was never answered.
    """
    found = rates(outcomes)
    seen = outcomes[..., :3].sum(axis=-1) > 0
    return {
        "accuracy": accuracy(outcomes, single),
        "balanced_accuracy": _mean(found["tpr"]),
        "precision": _mean(np.where(seen, np.nan_to_num(found["precision"]), np.nan)),
        "false_positive_rate": _mean(np.where(seen, found["fpr"], np.nan)),
        "iou": _mean(found["iou"]),
        "dice": _mean(found["dice"]),
    }


def _mean(values: Float[np.ndarray, "... C"]) -> Float[np.ndarray, "..."]:
    """Mean over the last axis without NaN; NaN where all are."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1))


def differences(outcomes: Float[np.ndarray, "... G C 4"], single: bool = True) -> dict[str, Float[np.ndarray, "..."]]:
    """How far groups lie apart; groups without samples do not count.

    ``equalised_odds``: the largest difference between groups of a class's true or false positive rate (Hardt et al.
    2016), ``equalised_odds_mean``: its mean over classes. ``demographic_parity``: the largest difference of the rate
    at which a class is answered; ``demographic_parity_ratio``: the smallest ratio of such rates. Classes are taken one
    against the rest. ``iou_gap`` and ``dice_gap`` are differences of means over classes. ``accuracy_gap``,
    ``accuracy_ratio``, ``worst``, ``unbiased_accuracy`` (mean over groups). ``equity_scaled`` =
    I / (1 + Σ_g |I_g − I|) with accuracies as fractions (Tian et al. 2024, later version), ``equity_scaled_sd`` =
    I / (1 + sd of I_g) (first version, n − 1), ``equity_scaled_dice`` the first of these with Dice (ES-Dice). Compare
    these three only at one number of groups.
    """
    found = rates(outcomes)
    odds = np.fmax(_spread(found["tpr"]), _spread(found["fpr"]))
    selected = found["selected"]
    each, overall = accuracy(outcomes, single), accuracy(outcomes.sum(axis=-3), single)
    iou = _mean(found["iou"])
    dice, overall_dice = _mean(found["dice"]), _mean(rates(outcomes.sum(axis=-3))["dice"])
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
            "iou_gap": -_least(-iou, -1) - _least(iou, -1),
            "dice_gap": -_least(-dice, -1) - _least(dice, -1),
            "equity_scaled_dice": equity_scaled(overall_dice, dice),
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


@dataclass(frozen=True)
class Counted:
    """What was counted of one factor's levels, with bootstrap repetitions of the samples.

    Attributes:
        n: Samples of each level.
        outcomes: tp, fp, fn and tn by level and class. drawn: The same in every repetition.
        classes: Names of the classes.
        single: Every sample (or pixel) has one class.
        blocks: The same by block of samples, where a sample may count many times (pixels), else None.
    """

    factor: Factor
    n: Int[np.ndarray, " G"]
    outcomes: Float[np.ndarray, "G C 4"]
    drawn: Float[np.ndarray, "R G C 4"]
    classes: tuple[str, ...]
    single: bool
    blocks: Float[np.ndarray, "J G C 4"] | None = None


def counted(
    factor: Factor, counts: Float[np.ndarray, "G C C"], classes: Sequence[str], rng: np.random.Generator
) -> Counted:
    """From counts by level, target and prediction; the bootstrap draws samples from all levels together."""
    n = counts.sum(axis=(1, 2)).astype(np.int64)
    return Counted(factor, n, one_against_rest(counts), _resampled(counts, rng), tuple(classes), single=True)


def _resampled(counts: Float[np.ndarray, "G C C"], rng: np.random.Generator) -> Float[np.ndarray, "R G C 4"]:
    """As :func:`one_against_rest` of resampled samples, without a table by target and prediction for each."""
    group, target, answer = np.nonzero(counts)
    weights = counts[group, target, answer]
    n_groups, n_classes = counts.shape[:2]
    size = n_groups * n_classes
    at_target, at_answer, hit = group * n_classes + target, group * n_classes + answer, target == answer
    drawn = np.zeros((REPETITIONS if len(weights) else 1, size, 4))
    for again in drawn if len(weights) else ():
        n = rng.multinomial(int(weights.sum()), weights / weights.sum()).astype(float)
        right = np.bincount(at_target[hit], n[hit], size)
        again[:, 0] = right
        again[:, 1] = np.bincount(at_answer, n, size) - right
        again[:, 2] = np.bincount(at_target, n, size) - right
        again[:, 3] = np.repeat(np.bincount(group, n, n_groups), n_classes) - again[:, :3].sum(axis=1)
    return drawn.reshape(len(drawn), n_groups, n_classes, 4)


def difference_table(counts: Sequence[Counted]) -> pd.DataFrame:
    """Differences between the levels of every factor with percentile limits of a bootstrap over samples.

    Largest differences grow with the number of small groups even where all are alike, so their limits lie above 0.
    """
    rows = []
    for each in counts:
        if not each.n.sum():
            continue
        value, again = differences(each.outcomes, each.single), differences(each.drawn, each.single)
        for name, number in value.items():
            low, high = _quantiles(again[name])
            rows.append({"factor": each.factor.name, "measure": name, "value": float(number), "low": low, "high": high})
    return pd.DataFrame(rows, columns=["factor", "measure", "value", "low", "high"])


def metric_table(
    counts: Sequence[Counted],
    calibration: Sequence[dict[str, Float[np.ndarray, "_ J"]]],
    losses: Sequence[pd.DataFrame],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """One row a level: accuracy, balanced accuracy, precision, false positive rate, IoU, Dice, loss, and calibration.

    ``_low`` and ``_high`` are limits: of a bootstrap of the samples, normal for ``loss``, and those of
    :func:`workbench.lenses.bias.calibration.calibration_columns`. ``ece_null`` is the mean calibration error of a
    calibrated model with as many samples, ``ece_excess`` what lies above it, ``ece_p`` the share of such models with
    an error as large. ``brier`` is (confidence − right)², for the answered class or for every label.
    """
    frames = []
    for each, bins, loss in zip(counts, calibration, losses, strict=True):
        frame = pd.DataFrame({"factor": each.factor.name, "level": each.factor.levels, "n": each.n})
        again = summary(each.drawn, each.single)
        for name, values in summary(each.outcomes, each.single).items():
            limits = [_quantiles(level) for level in again[name].T]
            frame[name] = values
            frame[f"{name}_low"], frame[f"{name}_high"] = np.array(limits).reshape(-1, 2).T
        frame = frame.join(loss).join(calibration_columns(bins, rng))
        frames.append(frame[frame["n"] > 0])
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["factor", "level", "n"])


def loss_columns(selection: Selection, factors: Sequence[Factor], step: int) -> list[pd.DataFrame]:
    """For each factor the mean loss of each level with normal limits: loss, loss_low, loss_high."""
    sums = "count(*) AS n, sum(v) AS total, sum(v * v) AS squares"
    condition = f"step = {int(step)} AND isfinite(v)"
    found = []
    for factor, frame in zip(
        factors,
        count_by_factor(selection, factors, "p.loss AS v, p.step AS step", "step", sums, condition),
        strict=True,
    ):
        by_level = (
            frame.groupby("level")[["n", "total", "squares"]].sum().reindex(range(len(factor.levels)), fill_value=0)
        )
        n, total, squares = (by_level[name].to_numpy(dtype=float) for name in ("n", "total", "squares"))
        values = mean_interval(n, total, squares, LOSS)
        found.append(pd.DataFrame(dict(zip(("loss", "loss_low", "loss_high"), values, strict=True))))
    return found


def _quantiles(values: Float[np.ndarray, " R"]) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
