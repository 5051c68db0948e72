"""How the centres of groups of samples move between two states of a model: two checkpoints, or two runs.

    A, B    features of the same samples in both states, centred, divided by the root mean square distance from the mean
    R       = U V' from the singular value decomposition of B' A      the turn that brings B closest to A
    move_g  = mean of (B R)_i − mean of A_i  over the samples of group g,  in radii of g in the first state
    kept    = (Σ singular values of B' A / N)²                        1 = the second state is the first one, turned

The axes of a feature space are arbitrary, so only what a turn, a common shift and a common stretch cannot explain is a
move. Chance: signs of the differences (B R)_i − A_i are drawn at random, which is what they are where the centre of a
group stays; p is the share of draws that move it as far. Source: orthogonal Procrustes, Schönemann 1966; p corrected
after Benjamini and Hochberg 1995.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from workbench.core import ConfigError
from workbench.lenses.domains.aligned import procrustes
from workbench.lenses.domains.distances import principal_components
from workbench.lenses.domains.points import Points
from workbench.lenses.intervals import benjamini_hochberg

#: Groups of fewer shared samples have no centre worth an arrow; two states that share fewer cannot be turned.
MIN_GROUP, MIN_SHARED = 5, 20
_DRAWS = 499


@dataclass(frozen=True)
class Moves:
    """Both states in one plane, the first two principal components of all their points.

    Attributes:
        xy, group: The shared samples in the first state, and their group.
        centres: One row a group: group, n, x_0, y_0, x_1, y_1, move and null_high (what chance alone exceeds in 5 % of
            draws), both in radii of the group, p, p_adjusted; the furthest first.
        share: Of the variance along the two axes.
        kept: How far the second state is the first one turned, in [0, 1].
    """

    xy: Float[np.ndarray, "N 2"]
    group: np.ndarray
    centres: pd.DataFrame
    share: tuple[float, float]
    kept: float


def moves_between(before: Points, after: Points, group: pd.Series) -> Moves:
    """The moves of every group.

    Args:
        group: Group of a sample by its id.

    Raises:
        ConfigError: the two states share too few samples, or no group has enough.
    """
    shared = np.intersect1d(before.sample, after.sample)
    if len(shared) < MIN_SHARED:
        raise ConfigError(
            f"Arrows need {MIN_SHARED} samples with embeddings in both states; these two share {len(shared)}."
        )
    a, b, kept = turned(_features(before, shared), _features(after, shared))
    names = group.reindex(shared).astype(str).to_numpy(dtype=object)
    plane = principal_components(np.concatenate([a, b]), 2)
    if plane.points.shape[1] < 2:
        raise ConfigError("Arrows need features of at least two dimensions.")
    first, second = np.split(plane.points, 2)
    rows = [
        _centre(str(name), a[inside], b[inside], first[inside], second[inside])
        for name in dict.fromkeys(sorted(names))
        if (inside := names == name).sum() >= MIN_GROUP
    ]
    if not rows:
        raise ConfigError(f"No group has {MIN_GROUP} samples with embeddings in both states.")
    centres = pd.DataFrame(rows)
    centres["p_adjusted"] = benjamini_hochberg(centres["p"].to_numpy(dtype=float))
    centres = centres.sort_values("move", ascending=False, ignore_index=True)
    return Moves(first, names, centres, (float(plane.share[0]), float(plane.share[1])), kept)


def turned(
    a: Float[np.ndarray, "N D"], b: Float[np.ndarray, "N E"]
) -> tuple[Float[np.ndarray, "N W"], Float[np.ndarray, "N W"], float]:
    """Both centred and scaled, the second turned onto the first, and how far the turn explains it; W = max(D, E)."""
    width = max(a.shape[1], b.shape[1])
    a, b = (_scaled(np.pad(x, ((0, 0), (0, width - x.shape[1])))) for x in (a, b))
    b = b @ procrustes(b, a)
    return a, b, float(((a * b).sum() / len(a)) ** 2)


def _scaled(x: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    centred = x - x.mean(axis=0)
    radius = float(np.sqrt((centred**2).sum(axis=1).mean()))
    return centred / radius if radius > 0 else centred


def _features(points: Points, shared: Int[np.ndarray, " M"]) -> Float[np.ndarray, "M D"]:
    order = np.argsort(points.sample, kind="stable")
    return points.features[order[np.searchsorted(points.sample[order], shared)]].astype(np.float64)


def _centre(
    name: str, a: np.ndarray, b: np.ndarray, first: Float[np.ndarray, "n 2"], second: Float[np.ndarray, "n 2"]
) -> dict[str, object]:
    """One group's centres in the plane, and its move in the whole space."""
    rng = np.random.default_rng(0)
    differences = b - a
    signs = rng.choice([-1.0, 1.0], size=(_DRAWS, len(a)))
    chance = np.linalg.norm(signs @ differences / len(a), axis=1)
    length = float(np.linalg.norm(differences.mean(axis=0)))
    radius = float(np.sqrt(((a - a.mean(axis=0)) ** 2).sum(axis=1).mean()))
    in_radii = 1 / radius if radius > 0 else np.nan
    (x_0, y_0), (x_1, y_1) = first.mean(axis=0), second.mean(axis=0)
    return {
        "group": name, "n": len(a), "x_0": x_0, "y_0": y_0, "x_1": x_1, "y_1": y_1, "move": length * in_radii,
        "null_high": float(np.quantile(chance, 0.95)) * in_radii, "p": (1 + (chance >= length).sum()) / (1 + _DRAWS),
    }  # fmt: skip
