"""Failures that no attribute describes: neighbourhoods of the embedding in which the model is wrong too often.

The recorded embeddings are reduced to their first principal components. On one half of the samples every sample's
neighbourhood is scored by the lower limit of its error; the worst that overlap little become pockets, each a ball. The
other half, which the search never saw, tests each ball against everything outside it, and corrects for their number.

A pocket is *described* when the samples that share its most typical level of a factor are as bad outside it as inside.
What remains is a failure to look at: its typical samples are named.

Source: the idea of spatially near errors is that of Spotlight (d'Eon et al. 2022, arXiv:2107.00758) and Domino
(Eyuboglu et al. 2022, arXiv:2203.14960); balls, the score and the split in halves are our choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from workbench.core import Run, WorkbenchError
from workbench.lenses.bias.sample_metrics import LOSS, Metric
from workbench.lenses.bias.uncertainty import fisher_exact, mean_interval, variance, welch_p
from workbench.lenses.intervals import benjamini_hochberg, wilson

#: Principal components in which samples are near or far.
COMPONENTS = 16
#: Fewer samples with embedding and prediction than this are not searched; of more, a fixed random choice is.
MIN_SAMPLES, MAX_SAMPLES = 120, 6000
#: Share of a half that a neighbourhood holds, with at least so many samples.
SHARE, MIN_BALL = 0.04, 15
#: At most so many pockets are tested; two share at most this part of their samples.
MAX_POCKETS, MAX_OVERLAP = 8, 0.3
#: Typical samples named for each pocket.
N_TYPICAL = 12

COLUMNS = [
    "pocket", "n", "value", "low", "high", "rest", "gap", "p", "q", "confirmed", "typical", "share", "outside",
    "described", "samples",
]  # fmt: skip


@dataclass(frozen=True)
class Pockets:
    """What was found in one layer's embedding.

    Attributes:
        layer, step: Of the embedding.
        found: One row a pocket, the confirmed ones first, then the worst: its value on the confirming half with
            limits, the ``rest`` and the gap to it, p, q; ``confirmed``; ``typical`` (the level that is most
            over-represented in it) with its ``share`` of the pocket; ``outside`` (the value of that level outside the
            pocket); ``described``: the level alone explains it; ``samples``: ids, nearest to the centre first.
        n: Samples that were searched or tested.
        kept: Share of the embedding's variance in which nearness was measured.
        points: Where the samples lie in the first two components, with ``value`` and ``pocket`` (0: in none).
    """

    layer: str
    step: int
    found: pd.DataFrame
    n: int
    kept: float
    points: pd.DataFrame


def find_pockets(
    run: Run, values: pd.DataFrame, levels: Mapping[str, str], metric: Metric, step: int, seed: int = 0
) -> Pockets | None:
    """Search the run's last layer.

    Args:
        values: One row a sample: ``sample``, ``value`` (of the metric), and one
            column a factor.
        levels: Factor -> its column in ``values``.
        step: Of the predictions; the embedding recorded last until then is taken, else the first one.

    Returns:
        None where the run has no embeddings, or too few of them have a value.
    """
    place = _place(run, step)
    if place is None:
        return None
    try:
        embedded, ids = run.embedding(*place)
    except WorkbenchError:
        return None
    table = (
        pd.DataFrame({"sample": ids, "row": np.arange(len(ids))}).drop_duplicates("sample").merge(values, on="sample")
    )
    table = table[np.isfinite(table["value"])].reset_index(drop=True)
    if len(table) < MIN_SAMPLES:
        return None
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(table))[:MAX_SAMPLES]
    table = table.iloc[order].reset_index(drop=True)
    features, kept = _components(embedded[table["row"].to_numpy()])
    if not features.shape[1]:
        return None
    harm = 1 - table["value"].to_numpy(dtype=float) if metric.share else table["value"].to_numpy(dtype=float)
    searched = np.arange(len(table)) % 2 == 0
    balls = _balls(features[searched], harm[searched], metric)
    inside = [_distance(features, features[searched][centre]) <= radius for centre, radius in balls]
    found = _tested(table, inside, ~searched, features, [features[searched][c] for c, _ in balls], levels, metric)
    points = pd.DataFrame(features[:, :2], columns=["x", "y"][: features.shape[1]]).assign(
        sample=table["sample"], value=table["value"], pocket=0
    )
    for number, samples in reversed(list(zip(found["pocket"], found["samples"], strict=True))):
        points.loc[points["sample"].isin(samples).to_numpy(), "pocket"] = int(number)
    found["samples"] = [tuple(samples[:N_TYPICAL]) for samples in found["samples"]]
    return Pockets(place[0], place[1], found, len(table), kept, points)


def _place(run: Run, step: int) -> tuple[str, int] | None:
    """The layer that was embedded last in the net's order, and the step to take it at."""
    if not run.has("embeddings"):
        return None
    found = run.query("SELECT DISTINCT layer, step FROM embeddings")
    layers = [layer for layer in run.info.layers if layer in set(found["layer"])] or sorted(found["layer"].unique())
    if not layers:
        return None
    steps = sorted(int(at) for at in found.loc[found["layer"] == layers[-1], "step"])
    return layers[-1], max((at for at in steps if at <= step), default=steps[0])


def _components(values: Float[np.ndarray, "N D"]) -> tuple[Float[np.ndarray, "N E"], float]:
    """The first principal components in their own lengths, and their share of the variance."""
    centred = np.nan_to_num(values.astype(np.float64) - np.nanmean(values, axis=0))
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    power = lengths**2
    n = int(min(COMPONENTS, (power > 1e-12 * max(power[0], 1e-300)).sum())) if len(power) and power[0] > 0 else 0
    return centred @ axes[:n].T, float(power[:n].sum() / power.sum()) if n else 0.0


def _distance(points: Float[np.ndarray, "N E"], centre: Float[np.ndarray, " E"]) -> Float[np.ndarray, " N"]:
    return np.asarray(np.linalg.norm(points - centre, axis=1))


def _balls(points: Float[np.ndarray, "N E"], harm: Float[np.ndarray, " N"], metric: Metric) -> list[tuple[int, float]]:
    """Centres and radii of the worst neighbourhoods that overlap little, by the lower limit of their mean harm."""
    k = max(MIN_BALL, round(SHARE * len(points)))
    squares = np.einsum("ne,ne->n", points, points)
    apart = squares[:, None] + squares[None, :] - 2 * points @ points.T
    near = np.argpartition(apart, k - 1, axis=1)[:, :k]
    total, n = harm[near].sum(axis=1), np.full(len(points), float(k))
    if metric.counted:
        score = wilson(total, n)[0]
    else:
        score = mean_interval(n, total, (harm[near] ** 2).sum(axis=1), LOSS)[1]
    chosen: list[int] = []
    members: list[set[int]] = []
    for centre in np.argsort(-score, kind="stable"):
        own = set(near[centre].tolist())
        if score[centre] <= harm.mean() or len(chosen) == MAX_POCKETS:
            break
        if all(len(own & other) <= MAX_OVERLAP * k for other in members):
            chosen.append(int(centre))
            members.append(own)
    return [(c, float(_distance(points[near[c]], points[c]).max())) for c in chosen]


def _tested(
    table: pd.DataFrame,
    inside: list[Bool[np.ndarray, " N"]],
    confirming: Bool[np.ndarray, " N"],
    features: Float[np.ndarray, "N E"],
    centres: list[Float[np.ndarray, " E"]],
    levels: Mapping[str, str],
    metric: Metric,
) -> pd.DataFrame:
    """The pockets on the half that the search never saw."""
    value = table["value"].to_numpy(dtype=float)
    rows = []
    for ball, centre in zip(inside, centres, strict=True):
        own, other = value[ball & confirming], value[~ball & confirming]
        if len(own) < 5 or len(other) < 5:
            continue
        mean, low, high = _interval(own, metric)
        nearest = np.flatnonzero(ball)[np.argsort(_distance(features[ball], centre), kind="stable")]
        rows.append(
            {
                "n": len(own),
                "value": mean,
                "low": low,
                "high": high,
                "rest": float(other.mean()),
                "gap": mean - float(other.mean()),
                "p": _p(own, other, metric),
                "samples": table["sample"].to_numpy()[nearest].tolist(),
                **_description(table, ball, confirming, levels, metric),
            }
        )
    frame = pd.DataFrame(rows)
    if not len(frame):
        return pd.DataFrame(columns=COLUMNS)
    frame["q"] = benjamini_hochberg(frame["p"].to_numpy(dtype=float))
    frame["confirmed"] = (frame["q"] <= 0.05) & ((frame["gap"] < 0) == metric.share)
    harm = frame["gap"] * (1 if metric.share else -1)
    frame = frame.assign(harm=harm).sort_values(["confirmed", "harm"], ascending=[False, True], ignore_index=True)
    return frame.assign(pocket=np.arange(1, len(frame) + 1))[COLUMNS]


def _description(
    table: pd.DataFrame,
    ball: Bool[np.ndarray, " N"],
    confirming: Bool[np.ndarray, " N"],
    levels: Mapping[str, str],
    metric: Metric,
) -> dict[str, object]:
    """The level that is most over-represented in a ball, and whether it is as bad outside the ball."""
    best: tuple[float, str, float, Int[np.ndarray, " N"]] | None = None
    for factor, column in levels.items():
        for level in table.loc[ball, column].dropna().unique():
            has = (table[column] == level).to_numpy()
            share, usual = float(has[ball].mean()), float(has[~ball].mean())
            lift = share - usual
            if best is None or lift > best[0]:
                best = (lift, f"{factor}: {level}", share, has)
    if best is None:
        return {"typical": "", "share": np.nan, "outside": np.nan, "described": False}
    _, typical, share, has = best
    value = table["value"].to_numpy(dtype=float)
    own, outside = value[ball & confirming & has], value[~ball & confirming & has]
    known = len(own) >= 5 and len(outside) >= 5
    beyond = known and _p(own, outside, metric) < 0.05 and (own.mean() < outside.mean()) == metric.share
    return {
        "typical": typical,
        "share": share,
        "outside": float(outside.mean()) if len(outside) else np.nan,
        "described": known and not beyond,
    }


def _interval(values: Float[np.ndarray, " N"], metric: Metric) -> tuple[float, float, float]:
    n, total, squares = (np.array([x]) for x in (float(len(values)), values.sum(), (values**2).sum()))
    mean, low, high = mean_interval(n, total, squares, metric)
    return float(mean[0]), float(low[0]), float(high[0])


def _p(own: Float[np.ndarray, " N"], other: Float[np.ndarray, " M"], metric: Metric) -> float:
    """Fisher's test of two proportions, Welch's of two means."""
    if metric.counted:
        k, n = np.array([own.sum()]), np.array([float(len(own))])
        return float(fisher_exact(k, n, float(own.sum() + other.sum()), float(len(own) + len(other)))[0])
    sides = []
    for values in (own, other):
        n, total, squares = (np.array([x]) for x in (float(len(values)), values.sum(), (values**2).sum()))
        sides += [n, total / n, variance(n, total, squares)]
    return float(welch_p(*sides)[0])
