"""All distances of one layer at one checkpoint.

Two kinds of comparison: every pair of domains, and every domain against its *reference*: the training domains, without
itself (all other domains when none is marked as held out). Sizes are equal within a comparison. The nulls of MMD²,
Fréchet, CORAL and sliced Wasserstein swap points within classes (where classes are known), so that another mix of
classes alone is no shift; the proxy A-distance and the mixing over all points do see the mix. Embeddings are divided by
the square root of their mean within-domain variance, one number per layer and checkpoint, so that distances in
embedding units can be read across checkpoints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from workbench.lenses.domains.accuracy import reference_codes
from workbench.lenses.domains.classifier import Z95_ONE_SIDED, proxy_a_distances
from workbench.lenses.domains.classwise import centroid_shift
from workbench.lenses.domains.distances import (
    AgainstNull,
    against_null,
    coral_relabelled,
    frechet_relabelled,
    gaussian_kernel,
    median_distance,
    mmd2_relabelled,
    moments_relabelled,
    paired_relabellings,
    principal_components,
    squared_distances,
)
from workbench.lenses.domains.neighbours import mean_mixing, nearest, nearest_within
from workbench.lenses.domains.points import Cohort, Points, balanced, priority
from workbench.lenses.domains.similarity import sliced_relabelled, unit_directions

#: ``domain_b`` of a comparison with the training domains (or all others), see the module's first lines.
REFERENCE = "(reference)"
#: The measures of ``comparisons`` with how to read them.
MEASURES: Mapping[str, str] = {
    "mmd2": "MMD² beyond chance",
    "pad": "Proxy A-distance, 0 to 2",
    "frechet": "Fréchet distance beyond chance, in within-domain variances",
    "coral": "CORAL distance beyond chance, covariances only",
    "sliced": "Sliced Wasserstein distance beyond chance, in within-domain deviations",
}
NEIGHBOURS = 15
_NEIGHBOURS_WITHIN_CLASS = 5
_GAUSSIAN_WIDTH = 16
_REDUCED_WIDTH = 32
_MIXING_RELABELLINGS = 99
_SLICES = 32
#: Fewer pairs of the same class than this say nothing when swapped.
_MIN_SWAPS = 10


@dataclass(frozen=True)
class Pair:
    """Two equally large groups of rows of a slice: the first domain's, then the other's."""

    domain_a: str
    domain_b: str
    rows: Int[np.ndarray, " N"]

    @property
    def n(self) -> int:
        return len(self.rows) // 2

    @property
    def first(self) -> Bool[np.ndarray, " N"]:
        return np.arange(len(self.rows)) < self.n


@dataclass(frozen=True)
class Slice:
    """The points of one layer at one step that enter the distances.

    Attributes:
        scaled: Embeddings over the root of the mean within-domain variance.
        reduced: Their first principal components.
        square: Squared distances between the scaled points.
        pairs: Every pair of domains, then every domain against its reference.
    """

    points: Points
    scaled: Float[np.ndarray, "N D"]
    reduced: Float[np.ndarray, "N K"]
    square: Float[np.ndarray, "N N"]
    pairs: tuple[Pair, ...]

    def kernel(self) -> Float[np.ndarray, "N N"]:
        """Gaussian kernel. One bandwidth (the median over all domains) serves all pairs, so that they compare."""
        return gaussian_kernel(self.square, median_distance(self.square))

    @property
    def against_reference(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.domain_b == REFERENCE]


@dataclass(frozen=True)
class Measured:
    """Rows of the lens's tables for one slice."""

    comparisons: pd.DataFrame
    mixing: pd.DataFrame
    class_shift: pd.DataFrame


def slice_of(points: Points, who: Cohort, max_points: int, seed: int) -> Slice:
    """Subsample with a seed and prepare what all measures share."""
    points = points.take(balanced(points.domain, max_points, priority(len(points.sample), seed + 1)))
    scaled = _scaled(points)
    reduced = principal_components(scaled, _REDUCED_WIDTH).points
    pairs = tuple(_pairs(points, who, np.random.default_rng(seed)))
    return Slice(points, scaled, reduced, squared_distances(scaled), pairs)


def measure(part: Slice, who: Cohort, permutations: int, seed: int, sliced: bool) -> Measured:
    """All comparisons of a slice; ``sliced`` adds the (slower) sliced Wasserstein distance."""
    rng = np.random.default_rng(seed)
    fewer = max(permutations // 5, 19)
    rows = _kernel_rows(part, permutations, rng)
    rows += _moment_rows(part, fewer, rng)
    rows += _sliced_rows(part, fewer, rng) if sliced else []
    rows += _proxy_rows(part, rng)
    return Measured(
        _at(part.points, pd.DataFrame(rows)),
        _at(part.points, pd.DataFrame(_mixing_rows(part, who, rng))),
        _at(part.points, _class_rows(part, who)),
    )


def labellings(part: Slice, pair: Pair, count: int, rng: np.random.Generator) -> Bool[np.ndarray, "R N"]:
    """The true labelling of a pair, then relabellings within classes.

    Over all points where a class is unknown, or where the domains share too few points of the same class to swap.
    """
    of = part.points.target[pair.rows]
    counts = [np.bincount(side + 1, minlength=int(of.max()) + 2) for side in (of[: pair.n], of[pair.n :])]
    if (of < 0).any() or np.minimum(*counts).sum() < _MIN_SWAPS:
        of = np.zeros_like(of)
    return np.concatenate([pair.first[None], paired_relabellings(of[: pair.n], of[pair.n :], count, rng)])


def _at(points: Points, rows: pd.DataFrame) -> pd.DataFrame:
    rows.insert(0, "layer", points.layer)
    rows.insert(1, "step", points.step)
    return rows


def _scaled(points: Points) -> Float[np.ndarray, "N D"]:
    residual = points.features - points.features.mean(axis=0)
    for code in np.unique(points.domain):
        inside = points.domain == code
        residual[inside] -= residual[inside].mean(axis=0)
    spread = float(np.sqrt((residual.astype(np.float64) ** 2).sum() / len(residual)))
    return points.features / np.float32(spread if spread > 0 else 1.0)


def _pairs(points: Points, who: Cohort, rng: np.random.Generator) -> Iterator[Pair]:
    # In random order, so that cutting the larger side to the size of the smaller one is a random draw.
    of = [rng.permutation(np.flatnonzero(points.domain == code)) for code in range(len(who.domains))]
    for a in range(len(of)):
        for b in range(a + 1, len(of)):
            yield from _pair(who.domains[a], who.domains[b], of[a], of[b])
    for a in range(len(of)):
        pool = rng.permutation(np.concatenate([of[b] for b in reference_codes(a, who.held_out)]))
        pool = pool[balanced(points.domain[pool], len(of[a]), np.arange(len(pool)))]
        yield from _pair(who.domains[a], REFERENCE, of[a], pool)


def _pair(name_a: str, name_b: str, a: np.ndarray, b: np.ndarray) -> Iterator[Pair]:
    n = min(len(a), len(b))
    if n >= 4:
        yield Pair(name_a, name_b, np.concatenate([a[:n], b[:n]]))


def _row(pair: Pair, measure: str, found: AgainstNull, low: float = np.nan, high: float = np.nan) -> dict[str, Any]:
    names = {"domain_a": pair.domain_a, "domain_b": pair.domain_b, "measure": measure}
    beyond = {"excess": found.value - found.null_mean, "null_excess": found.null_high - found.null_mean}
    return names | dataclasses.asdict(found) | beyond | {"low": low, "high": high, "n": pair.n}


def _relabelled(pair: Pair, name: str, values: Float[np.ndarray, " R"]) -> dict[str, Any]:
    """A row from the values of all labellings, the true one first."""
    return _row(pair, name, against_null(float(values[0]), values[1:]))


def _kernel_rows(part: Slice, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    kernel = part.kernel()
    rows = []
    for pair in part.pairs:
        values = mmd2_relabelled(kernel[np.ix_(pair.rows, pair.rows)], labellings(part, pair, count, rng))
        rows.append(_relabelled(pair, "mmd2", values))
    return rows


def _moment_rows(part: Slice, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Fréchet and CORAL on so many principal components that every side has at least ten points for each."""
    rows = []
    for pair in part.pairs:
        width = max(1, min(_GAUSSIAN_WIDTH, pair.n // 10))
        moments = moments_relabelled(part.reduced[pair.rows, :width], labellings(part, pair, count, rng))
        distances: dict[str, Callable[..., np.ndarray]] = {"frechet": frechet_relabelled, "coral": coral_relabelled}
        rows += [_relabelled(pair, name, distance(moments)) for name, distance in distances.items()]
    return rows


def _sliced_rows(part: Slice, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    projected = part.reduced @ unit_directions(_SLICES, part.reduced.shape[1], rng).astype(np.float32).T
    return [
        _relabelled(pair, "sliced", sliced_relabelled(projected[pair.rows], labellings(part, pair, count, rng)))
        for pair in part.pairs
    ]


def _proxy_rows(part: Slice, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Proxy A-distance; pairs of the same size are fitted together."""
    rows = []
    for n in sorted({pair.n for pair in part.pairs}):
        same = [pair for pair in part.pairs if pair.n == n]
        # Alternating domains, each in random order: both folds then hold as many of one as of the other.
        mixed = np.stack([rng.permutation(n), n + rng.permutation(n)], axis=1).ravel()
        x = np.stack([part.reduced[pair.rows[mixed]] for pair in same])
        y = np.broadcast_to(np.arange(2 * n) % 2.0, (len(same), 2 * n))
        for pair, found in zip(same, proxy_a_distances(x, np.ascontiguousarray(y)), strict=True):
            reach = 2 * Z95_ONE_SIDED / np.sqrt(found.n_test)
            null = AgainstNull(found.value, 0.0, reach, found.value / reach, found.p)
            rows.append(_row(pair, "pad", null, found.low, found.high))
    return rows


def _mixing_rows(part: Slice, who: Cohort, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Mixing over all points and within classes, per domain and overall, each with its relabelling null."""
    points, square = part.points, part.square
    n = len(points.domain)
    scopes = [("all", np.arange(n), nearest(square, min(NEIGHBOURS, n - 1)), np.zeros(n, dtype=np.int64))]
    members, neighbours = nearest_within(square, points.target, _NEIGHBOURS_WITHIN_CLASS)
    if len(members):
        scopes.append(("within class", members, neighbours, points.target[members]))
    rows = []
    for scope, members, neighbours, pool in scopes:
        domain = points.domain[members]
        observed, null = mean_mixing(neighbours, domain, pool, len(who.domains), _MIXING_RELABELLINGS, rng)
        for i, name in enumerate(["(all)", *who.domains]):
            if np.isnan(observed[i]):
                continue
            p = (1 + int((null[:, i] <= observed[i] + 1e-12).sum())) / (1 + len(null))
            low = float(np.quantile(null[:, i], 0.05))
            size = int((domain == i - 1).sum()) if i else len(domain)
            row = {"scope": scope, "domain": name, "value": observed[i], "null_low": low, "p": p}
            rows.append(row | {"k": neighbours.shape[1], "n": size})
    return rows


def _class_rows(part: Slice, who: Cohort) -> pd.DataFrame:
    """Centroid shift of every class for every pair of domains and every domain against its reference."""
    points, scaled = part.points, part.scaled
    of = [np.flatnonzero(points.domain == code) for code in range(len(who.domains))]
    both = [(a, name, of[b]) for a in range(len(of)) for b, name in enumerate(who.domains) if b > a]
    both += [(a, REFERENCE, np.concatenate([of[b] for b in reference_codes(a, who.held_out)])) for a in range(len(of))]
    rows = []
    for a, name, other in both:
        # From the other side to domain a: the arrow of what the domain does to a class.
        found = centroid_shift(scaled[other], points.target[other], scaled[of[a]], points.target[of[a]])
        pair = (who.domains[a], name)
        columns = (found.shift, found.null_high, found.p, found.n_b, found.n_a)
        rows += [
            (*pair, who.classes[code], *values, found.coherence)
            for code, *values in zip(found.classes, *columns, strict=True)
        ]
    names = ["domain_a", "domain_b", "class", "shift", "null_high", "p", "n_a", "n_b", "coherence"]
    return pd.DataFrame(rows, columns=names)
