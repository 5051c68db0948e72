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
        chance: Recall of a random map, k / (n - 1).
        point_trust, point_recall: The same per point.
        k: Number of neighbours looked at.

    Source: Venna and Kaski 2001 for the first two.
    """

    trustworthiness: float
    continuity: float
    recall: float
    chance: float
    point_trust: Float[np.ndarray, " N"]
    point_recall: Float[np.ndarray, " N"]
    k: int


def trust(high: Float[np.ndarray, "N D"], low: Float[np.ndarray, "N 2"], k: int = 15) -> Trust:
    """Compare neighbourhoods of the points ``high`` with those of their map ``low``.

    ``k`` is lowered below N / 2 where there are few points; with fewer than 5 points everything is NaN. Memory is
    bounded: distances are formed in blocks of rows.
    """
    n = len(high)
    k = min(k, (n - 1) // 2)
    if n < 5:
        return Trust(np.nan, np.nan, np.nan, np.nan, np.full(n, np.nan), np.full(n, np.nan), k)
    penalty, torn, kept = np.zeros(n), np.zeros(n), np.zeros(n)
    high, low = high.astype(np.float64), low.astype(np.float64)
    for start in range(0, n, _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, n))
        far, near = squared_distances(high[rows], high), squared_distances(low[rows], low)
        far[np.arange(len(rows)), rows] = near[np.arange(len(rows)), rows] = -1.0
        true, shown = (np.argpartition(part, k, axis=1)[:, : k + 1] for part in (far, near))
        true, shown = (_without_self(chosen, rows) for chosen in (true, shown))
        penalty[rows] = np.maximum(_ranks(far, shown) - k, 0).sum(axis=1)
        torn[rows] = np.maximum(_ranks(near, true) - k, 0).sum(axis=1)
        kept[rows] = (true[:, :, None] == shown[:, None, :]).any(axis=2).mean(axis=1)
    scale = 2 / (k * (2 * n - 3 * k - 1))
    point_trust = 1 - scale * penalty
    return Trust(
        float(point_trust.mean()), float(1 - scale * torn.mean()), float(kept.mean()), k / (n - 1), point_trust, kept, k
    )


def _without_self(chosen: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Drop each row's own index, which has distance -1 and is therefore among the chosen."""
    return chosen[chosen != rows[:, None]].reshape(len(rows), -1)


def _ranks(square: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Rank (1 = nearest other point) of the chosen columns within each row; the point itself has rank 0."""
    ordered = np.sort(square, axis=1)
    picked = np.take_along_axis(square, chosen, axis=1)
    return np.stack([np.searchsorted(row, values) for row, values in zip(ordered, picked, strict=True)])
