"""What a run recorded of GSNR dropout at work: masks, the shortcut's share of the highest GSNR, accuracy by ratio.

Read from, each where it is there:

    array gsnr_mask      kept/<tensor> (1 or 0) and score/<tensor> (log10 of what ranked the weights)
    array ratio_cliff    ratios [R]; seen/<rule> and unseen/<rule> [R, repetitions], accuracies in [0, 1]
    scalars              top gsnr/<input group>; mask overlap; mask ratio/<tensor>; accuracy/sources, whole net and
                         accuracy/sources, masked net
    config               input_groups: name -> number of neighbouring inputs; input_shape: of the first group as a
                         picture; top_share: the share of weights that "top gsnr" looks at
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from workbench.core import Run
from workbench.core.gramian import student95
from workbench.lenses.base import Verdict

MASKS, CLIFF = "gsnr_mask", "ratio_cliff"
TOP, OVERLAP, RATIO = "top gsnr/", "mask overlap", "mask ratio/"
WHOLE, MASKED = "accuracy/sources, whole net", "accuracy/sources, masked net"
#: Recorded masks that are read, and the rows and columns that a tensor is shown with at most.
MAX_STEPS, MAX_SIDE = 8, 128
#: The whole net may fall this far behind the masked one before it is called a collapse.
COLLAPSE = 0.1


@dataclass(frozen=True)
class Series:
    """One scalar over its own steps."""

    steps: Int[np.ndarray, " S"]
    values: Float[np.ndarray, " S"]


@dataclass(frozen=True)
class Overlay:
    """One weight tensor as a matrix, outputs by inputs; of a large one, means of blocks.

    Attributes:
        left_out: At each step the share of weights that were left out, [S, O, I].
        score: log10 of what ranked them; NaN where that was not recorded.
        by_input: Share left out of the weights that read each input, [S, I'], in full width.
        score_by_input: Median over outputs, [S, I'].
    """

    left_out: Float[np.ndarray, "S O I"]
    score: Float[np.ndarray, "S O I"]
    by_input: Float[np.ndarray, "S W"]
    score_by_input: Float[np.ndarray, "S W"]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Cliff:
    """Accuracy of the whole net by rule and ratio: mean over repetitions with its 95 % Student-t interval, [R]."""

    ratios: Float[np.ndarray, " R"]
    mean: Mapping[tuple[str, str], Float[np.ndarray, " R"]]  # (seen or unseen, rule)
    half: Mapping[tuple[str, str], Float[np.ndarray, " R"]]
    repetitions: int

    @property
    def rules(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(rule for _, rule in self.mean))


@dataclass(frozen=True)
class Dropout:
    """Everything above; empty where a run did not record it.

    Attributes:
        shortcut: Input group -> its share of the first-layer weights with the highest GSNR.
        base: Input group -> its share of all first-layer weights.
        input_shape: Height and width of the first group as a picture.
    """

    shortcut: Mapping[str, Series]
    base: Mapping[str, float]
    top_share: float
    groups: Mapping[str, int]
    input_shape: tuple[int, int] | None
    mask_steps: Int[np.ndarray, " S"]
    overlays: Mapping[str, Overlay]
    overlap: Series
    ratios: Mapping[str, Series]
    whole: Series
    masked: Series
    cliff: Cliff | None

    @property
    def first(self) -> str | None:
        """The tensor that reads the inputs, as far as their number tells."""
        wide = sum(self.groups.values())
        return next((name for name, found in self.overlays.items() if found.by_input.shape[1] == wide), None)

    def by_group(self, overlay: Overlay) -> Float[np.ndarray, "S G"]:
        """Share left out of the weights that read each input group."""
        bounds = np.cumsum([0, *self.groups.values()])
        return np.stack([overlay.by_input[:, start:end].mean(axis=1) for start, end in pairwise(bounds)], axis=1)


def read_dropout(run: Run) -> Dropout:
    """Raises RunFormatError when an array is damaged."""
    config = run.info.config
    groups = _counts(config.get("input_groups"))
    series = _series(run)
    steps, overlays = _overlays(run)
    total = sum(groups.values())
    shape = config.get("input_shape")
    picture = tuple(map(int, shape)) if isinstance(shape, Sequence) and len(shape) == 2 else None
    if not groups or picture is None or picture[0] * picture[1] != next(iter(groups.values())):
        picture = None
    top_share = config.get("top_share")
    return Dropout(
        shortcut={tag.removeprefix(TOP): found for tag, found in series.items() if tag.startswith(TOP)},
        base={name: count / total for name, count in groups.items()},
        top_share=float(top_share) if isinstance(top_share, (int, float)) else float("nan"),
        groups=groups,
        input_shape=(picture[0], picture[1]) if picture else None,
        mask_steps=steps,
        overlays=overlays,
        overlap=series.get(OVERLAP, _NOTHING),
        ratios={tag.removeprefix(RATIO): found for tag, found in series.items() if tag.startswith(RATIO)},
        whole=series.get(WHOLE, _NOTHING),
        masked=series.get(MASKED, _NOTHING),
        cliff=_cliff(run),
    )


_NOTHING = Series(np.zeros(0, dtype=np.int64), np.zeros(0))


def _counts(given: object) -> dict[str, int]:
    if not isinstance(given, Mapping) or not all(isinstance(n, int) and n > 0 for n in given.values()):
        return {}
    return {str(name): int(count) for name, count in given.items()}


def _series(run: Run) -> dict[str, Series]:
    if not run.has("scalars"):
        return {}
    frame = run.query(
        "SELECT tag, step, avg(value) AS value FROM scalars WHERE (starts_with(tag, $top) OR tag = $overlap "
        "OR starts_with(tag, $ratio) OR tag = $whole OR tag = $masked) AND isfinite(value) "
        "GROUP BY tag, step ORDER BY tag, step",
        {"top": TOP, "overlap": OVERLAP, "ratio": RATIO, "whole": WHOLE, "masked": MASKED},
    )
    return {
        str(tag): Series(rows["step"].to_numpy(dtype=np.int64), rows["value"].to_numpy(dtype=float))
        for tag, rows in frame.groupby("tag", sort=False)
    }


def _overlays(run: Run) -> tuple[Int[np.ndarray, " S"], dict[str, Overlay]]:
    recorded = run.array_steps(MASKS)
    if not recorded:
        return np.zeros(0, dtype=np.int64), {}
    picked = np.unique(np.linspace(0, len(recorded) - 1, MAX_STEPS).round().astype(int))
    steps = np.array([recorded[index] for index in picked], dtype=np.int64)
    arrays = [run.array(MASKS, int(step)) for step in steps]
    common = [name for name in arrays[0] if name.startswith("kept/") and all(name in found for found in arrays)]
    order = {parameter: place for place, parameter in enumerate(_parameters(run))}
    names = sorted((name.removeprefix("kept/") for name in common), key=lambda name: order.get(name, len(order)))
    return steps, {name: _overlay(name, arrays) for name in names}


def _parameters(run: Run) -> list[str]:
    """Parameter tensors in the order of the network, as far as they were recorded."""
    rows = run.query(
        "SELECT parameter, min(place) AS place FROM (SELECT parameter, row_number() OVER () AS place FROM gsnr) "
        "GROUP BY parameter ORDER BY place"
    )
    return rows["parameter"].tolist()


def _overlay(name: str, arrays: Sequence[Mapping[str, np.ndarray]]) -> Overlay:
    kept = [found[f"kept/{name}"] for found in arrays]
    shape = kept[0].shape
    left_out = [1.0 - matrix.reshape(len(matrix), -1) for matrix in kept]
    scores = [
        found.get(f"score/{name}", np.full(shape, np.nan)).astype(float).reshape(len(kept[0]), -1) for found in arrays
    ]
    scores = [np.where(np.isfinite(score), score, np.nan) for score in scores]
    return Overlay(
        left_out=np.stack([blocks(matrix) for matrix in left_out]),
        score=np.stack([blocks(score) for score in scores]),
        by_input=np.stack([matrix.mean(axis=0) for matrix in left_out]),
        score_by_input=np.stack([_median(score) for score in scores]),
        shape=shape,
    )


def _median(score: Float[np.ndarray, "O W"]) -> Float[np.ndarray, " W"]:
    """Over outputs, without the entries that have no number; NaN where none has."""
    known = np.isfinite(score)
    filled = np.where(known, score, 0.0)
    found = np.ma.median(np.ma.masked_array(filled, ~known), axis=0)
    return np.asarray(np.ma.filled(found.astype(float), np.nan))


def blocks(matrix: Float[np.ndarray, "O I"], side: int = MAX_SIDE) -> Float[np.ndarray, "o i"]:
    """Means of blocks, so that no side is longer than ``side``; entries without a number do not count."""
    starts = [np.unique(np.linspace(0, n, min(n, side), endpoint=False).astype(int)) for n in matrix.shape]

    def sums(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1))

    known = np.isfinite(matrix)
    counts = sums(known.astype(float))
    return sums(np.where(known, matrix, 0.0)) / np.where(counts > 0, counts, np.nan)


def _cliff(run: Run) -> Cliff | None:
    steps = run.array_steps(CLIFF)
    if not steps:
        return None
    arrays = run.array(CLIFF, steps[-1])
    mean, half, repetitions = {}, {}, 1
    for name, values in arrays.items():
        where, _, rule = name.partition("/")
        if not rule:
            continue
        repetitions = values.shape[1]
        mean[where, rule] = values.mean(axis=1)
        half[where, rule] = np.full(len(values), np.nan)
        if repetitions > 1:
            spread = values.std(axis=1, ddof=1)
            half[where, rule] = student95(repetitions - 1) * spread / repetitions**0.5
    return Cliff(arrays["ratios"], mean, half, repetitions)


def dropout_verdicts(dropout: Dropout) -> list[Verdict]:
    """A collapse: the net answers with its masked weights put back as it would not without them."""
    if not len(dropout.masked.steps) or not len(dropout.whole.steps):
        return []
    whole, masked = float(dropout.whole.values[-1]), float(dropout.masked.values[-1])
    if masked - whole <= COLLAPSE:
        return []
    return [
        Verdict(
            "problem",
            f"The whole net gets {100 * whole:.1f} % of its training samples right, and {100 * masked:.1f} % without "
            f"the weights that the last mask left out (step {dropout.masked.steps[-1]}): it has learnt to do without "
            "weights that it gets back at test time.",
            "Mask fewer weights, only in the first steps, or rank by GSNR between domains.",
            whole - masked,
            options={"view": "churn"},
        )
    ]
