"""Who is next to whom: mixing of domains among nearest neighbours, and whether a 2-D map keeps neighbourhoods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from workbench.lenses.domains.distances import squared_distances

_ROWS_AT_ONCE = 1024


def nearest(square: Float[np.ndarray, "N N"], k: int) -> Int[np.ndarray, "N k"]:
    """Indices of the k nearest other points by a matrix of squared distances, in no order."""
    square = square.copy()
    np.fill_diagonal(square, np.inf)
    return np.argpartition(square, k - 1, axis=1)[:, :k]


def nearest_within(
    square: Float[np.ndarray, "N N"], group: Int[np.ndarray, " N"], k: int
) -> tuple[Int[np.ndarray, " M"], Int[np.ndarray, "M k"]]:
    """The points of groups (classes) with more than ``k`` points, and their k nearest of the same group.

    Neighbours are positions among the returned points. Group -1 (unknown class) is left out.
    """
    values, counts = np.unique(group, return_counts=True)
    large = values[(values >= 0) & (counts > k)]
    members = np.flatnonzero(np.isin(group, large))
    found = np.empty((len(members), k), dtype=np.int64)
    for value in large:
        inside = np.flatnonzero(group[members] == value)
        rows = members[inside]
        found[inside] = inside[nearest(square[np.ix_(rows, rows)], k)]
    return members, found


def mixing(
    neighbours: Int[np.ndarray, "N k"], domain: Int[np.ndarray, " N"], pool: Int[np.ndarray, " N"] | None = None
) -> Float[np.ndarray, " N"]:
    """Share of neighbours from other domains over the share that chance gives, per point.

    Means over points: 1 = ideally mixed, 0 = separated. ``pool`` says among whom neighbours were looked for (a class
    code per point); all points by default. NaN where the whole pool is of one domain.
    """
    pool = np.zeros(len(domain), dtype=np.int64) if pool is None else pool
    expected = expected_mixing(domain, pool)[pool, domain]
    other = (domain[neighbours] != domain[:, None]).mean(axis=1)
    return np.divide(other, expected, out=np.full(len(domain), np.nan), where=expected > 0)


def expected_mixing(domain: Int[np.ndarray, " N"], pool: Int[np.ndarray, " N"]) -> Float[np.ndarray, "C G"]:
    """Chance that a random other point of the pool is of another domain, for a point of each pool and domain."""
    table = np.zeros((int(pool.max(initial=0)) + 1, int(domain.max(initial=0)) + 1))
    np.add.at(table, (pool, domain), 1)
    size = table.sum(axis=1, keepdims=True)
    return (size - table) / np.maximum(size - 1, 1)


def mean_mixing(
    neighbours: Int[np.ndarray, "N k"],
    domain: Int[np.ndarray, " N"],
    pool: Int[np.ndarray, " N"],
    n_domains: int,
    draws: int,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, " {n_domains}+1"], Float[np.ndarray, "{draws} {n_domains}+1"]]:
    """Mean mixing over all points and over the points of each domain, and the same with domains shuffled in pools."""
    expected = expected_mixing(domain, pool)
    weight = np.divide(1.0, expected, out=np.full_like(expected, np.nan), where=expected > 0)

    def summary(labels: np.ndarray) -> np.ndarray:
        other = (labels[neighbours] != labels[:, None]).mean(axis=1)
        return _means(other * weight[pool, labels], labels, n_domains)

    small = domain.astype(np.int16)
    null = np.stack([summary(shuffled_within(small, pool, rng)) for _ in range(draws)])
    return summary(small), null


def _means(values: np.ndarray, owner: np.ndarray, n_domains: int) -> np.ndarray:
    """Mean over all points, then over the points of each domain; NaN values (one-domain pools) are left out."""
    known = ~np.isnan(values)
    total = np.bincount(owner[known], values[known], n_domains)
    count = np.bincount(owner[known], minlength=n_domains)
    each = np.divide(total, count, out=np.full(n_domains, np.nan), where=count > 0)
    return np.concatenate([[values[known].mean() if known.any() else np.nan], each])


def shuffled_within(
    domain: Int[np.ndarray, " N"], pool: Int[np.ndarray, " N"], rng: np.random.Generator
) -> Int[np.ndarray, " N"]:
    """Domains permuted within every pool."""
    by_pool = np.argsort(pool, kind="stable")
    shuffled = np.empty_like(domain)
    shuffled[by_pool] = domain[np.lexsort((rng.random(len(domain)), pool))]
    return shuffled


@dataclass(frozen=True)
class Trust:
    """How far a 2-D map keeps the neighbourhoods of the space it was made from.

    Attributes:
        trustworthiness: 1 - false neighbours weighted by how far away they really are (1 is best).
        continuity: The same with the roles swapped: 1 - true neighbours torn apart.
        recall: Share of the k true neighbours that are among the k neighbours on the map.
        chance: Recall of a random map, k / (number of candidates).
        point_trust, point_recall: The same per point.
        k: Number of neighbours looked at.
        candidates: Points among which neighbours were looked for.

    Source: Venna and Kaski 2001 for the first two.
    """

    trustworthiness: float
    continuity: float
    recall: float
    chance: float
    point_trust: Float[np.ndarray, " N"]
    point_recall: Float[np.ndarray, " N"]
    k: int
    candidates: int


def trust(
    high: Float[np.ndarray, "N D"],
    low: Float[np.ndarray, "N 2"],
    k: int = 15,
    among: Int[np.ndarray, " L"] | None = None,
) -> Trust:
    """Compare neighbourhoods of the points ``high`` with those of their map ``low``.

    ``k`` is lowered below half the candidates where there are few; with fewer than 5 everything is NaN. Memory is
    bounded: distances are formed in blocks of rows.

    Args:
        among: Rows among which every point's neighbours are looked for, by default all. Many points are judged against
            a random part of them (landmarks): the same question asked of wider neighbourhoods, our choice.
    """
    n, landmarks = len(high), np.arange(len(high)) if among is None else np.sort(among)
    size = len(landmarks)
    k = min(k, (size - 1) // 2)
    if size < 5:
        return Trust(np.nan, np.nan, np.nan, np.nan, np.full(n, np.nan), np.full(n, np.nan), k, size)
    # Half the width doubles the speed where there are many points; ranks near a tie do not matter then.
    width = np.float64 if size == n else np.float32
    high, low = (values.astype(width) - values.mean(axis=0).astype(width) for values in (high, low))
    place = np.full(n, -1)  # of a point among the landmarks
    place[landmarks] = np.arange(size)
    false, torn, kept = np.zeros(n), np.zeros(n), np.zeros(n)
    for rows in (landmarks, np.flatnonzero(place < 0)):  # landmarks are no candidates for themselves
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            far, near = (squared_distances(space[part], space[landmarks]) for space in (high, low))
            false[part], torn[part], kept[part] = _judged(far, near, place[part], k)
    point_trust = 1 - false
    return Trust(
        float(point_trust.mean()), float(1 - torn.mean()), float(kept.mean()), k / (size - 1 if size == n else size),
        point_trust, kept, k, size,
    )  # fmt: skip


def _judged(
    far: Float[np.ndarray, "R L"], near: Float[np.ndarray, "R L"], own: Int[np.ndarray, " R"], k: int
) -> tuple[Float[np.ndarray, " R"], Float[np.ndarray, " R"], Float[np.ndarray, " R"]]:
    """False neighbours and torn ones, each weighted by rank and 1 at worst, and the share of neighbours kept.

    ``own`` is the column of the row's own point, -1 in all rows where it is no candidate.
    """
    candidates = far.shape[1]
    if own[0] >= 0:
        candidates -= 1
        far[np.arange(len(own)), own] = near[np.arange(len(own)), own] = -1.0
        true, shown = (_without_self(np.argpartition(part, k, axis=1)[:, : k + 1], own) for part in (far, near))
    else:
        true, shown = (np.argpartition(part, k - 1, axis=1)[:, :k] for part in (far, near))
    first = 0 if own[0] >= 0 else 1
    scale = 2 / (k * (2 * candidates - 3 * k + 1))
    false = scale * np.maximum(_ranks(far, shown) + first - k, 0).sum(axis=1)
    torn = scale * np.maximum(_ranks(near, true) + first - k, 0).sum(axis=1)
    return false, torn, (true[:, :, None] == shown[:, None, :]).any(axis=2).mean(axis=1)


def _without_self(chosen: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Drop each row's own column, which has distance -1 and is therefore among the chosen."""
    return chosen[chosen != own[:, None]].reshape(len(own), -1)


def _ranks(square: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """How many columns of a row are nearer than each of the chosen ones."""
    ordered = np.sort(square, axis=1)
    picked = np.take_along_axis(square, chosen, axis=1)
    return np.stack([np.searchsorted(row, values) for row, values in zip(ordered, picked, strict=True)])
