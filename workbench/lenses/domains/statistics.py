"""The numbers of the domain lens: tables of a run in, DataFrames out.

Two kinds of comparison at every layer and checkpoint: every pair of domains, and every domain against its *reference*:
the training domains, without itself (all other domains when none is marked as held out). Sizes are equal within a
comparison. The nulls of MMD² and Fréchet swap points within classes (where classes are known), so that another mix of
classes alone is no shift; the proxy A-distance and the mixing over all points do see the mix. Embeddings are divided by
the square root of their mean within-domain variance, one number per layer and checkpoint, so that distances in
embedding units can be read across checkpoints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits

from workbench.core import ConfigError, Run
from workbench.lenses.domains.accuracy import accuracy_by_domain, reference_codes
from workbench.lenses.domains.classifier import Z95_ONE_SIDED, proxy_a_distances
from workbench.lenses.domains.classwise import centroid_shift
from workbench.lenses.domains.distances import (
    AgainstNull,
    against_null,
    frechet_relabelled,
    gaussian_kernel,
    median_distance,
    mmd2_relabelled,
    paired_relabellings,
    principal_components,
    squared_distances,
)
from workbench.lenses.domains.neighbours import mean_mixing, nearest, nearest_within
from workbench.lenses.domains.points import Cohort, Points, balanced, cohort, points_of, priority, recorded
from workbench.lenses.intervals import benjamini_hochberg

#: ``domain_b`` of a comparison with the training domains (or all others), see the module's first lines.
REFERENCE = "(reference)"
#: The measures of ``comparisons`` with how to read them.
MEASURES: Mapping[str, str] = {
    "mmd2": "MMD² beyond chance",
    "frechet": "Fréchet distance beyond chance, in within-domain variances",
    "pad": "Proxy A-distance, 0 to 2",
}
NEIGHBOURS = 15
_NEIGHBOURS_WITHIN_CLASS = 5
_FRECHET_WIDTH = 16
_PROXY_WIDTH = 32
_MIXING_RELABELLINGS = 99
_POINTS_OF_MAPS = 5000


@dataclass(frozen=True)
class Settings:
    """What the numbers were computed with; sizes are samples per domain."""

    seed: int
    relabellings: int
    at_most: int


@dataclass(frozen=True)
class DomainShift:
    """Distances between domains inside the model.

    Attributes:
        by: Column of ``samples`` that names the domains; ``task``: whose target is the class.
        samples: The embedded samples: ``domain``, ``class`` and attributes; index the sample id.
        comparisons: layer, step, domain_a, domain_b (a domain or ``REFERENCE``), measure, value, null_mean,
            null_high (what chance exceeds in 5 % of relabellings), excess = value - null_mean and null_excess =
            null_high - null_mean (what figures draw), ratio = excess / null_excess, p,
            p_adjusted (Benjamini-Hochberg over layers and pairs of one step, pairs and references apart), low, high
            (95 % interval, NaN where only a null exists), n (points per side).
        mixing: layer, step, scope ("all" or "within class"), domain ("(all)" or one), value (1 = ideally mixed,
            0 = separated), null_low (what chance undercuts in 5 % of relabellings), p, k, n.
        class_shift: layer, step, domain_a, domain_b, class, shift (in radii of the class), null_high, p, p_adjusted,
            n_a, n_b, coherence.
        accuracy: step, domain, accuracy, low, high, n, and the same of its reference with the difference; empty
            without predictions.
        points: Embeddings per (layer, step) for maps, at most 5,000 each.
        notes: What was left out, as sentences.
    """

    run: str
    by: str
    task: str | None
    domains: tuple[str, ...]
    held_out: tuple[bool, ...]
    classes: tuple[str, ...]
    layers: tuple[str, ...]
    steps: tuple[int, ...]
    samples: pd.DataFrame
    comparisons: pd.DataFrame
    mixing: pd.DataFrame
    class_shift: pd.DataFrame
    accuracy: pd.DataFrame
    points: Mapping[tuple[str, int], Points]
    settings: Settings
    notes: tuple[str, ...]

    def reference_of(self, domain: str) -> tuple[str, ...]:
        """The domains that ``domain`` is compared with as a whole."""
        return tuple(self.domains[code] for code in reference_codes(self.domains.index(domain), self.held_out))


def statistics(
    run: Run,
    by: str | None = None,
    task: str | None = None,
    split: str | None = None,
    max_steps: int = 6,
    max_layers: int = 8,
    max_points: int = 1200,
    permutations: int = 499,
    seed: int = 0,
) -> DomainShift:
    """Compute every distance of the lens.

    Args:
        by, task, split: See :func:`workbench.lenses.domains.points.cohort`.
        max_steps, max_layers: More are thinned out evenly, first and last kept; the notes say so.
        max_points: Points over all domains that enter the distances of one layer at one step.
        permutations: Relabellings behind each p-value of MMD² (a fifth of them for the Fréchet distance).

    Raises:
        MissingTable, ConfigError: nothing can be compared; the text says what to record.
    """
    if permutations < 19 or max_points < 40 or max_steps < 1 or max_layers < 1:
        raise ConfigError("Give at least 19 permutations, 40 points, 1 step and 1 layer.")
    who = cohort(run, by, task, split)
    all_layers, all_steps = recorded(run)
    layers, steps = _thin(all_layers, max_layers), _thin(all_steps, max_steps)
    notes = list(who.notes)
    for kind, chosen, found in (("layers", layers, all_layers), ("checkpoints", steps, all_steps)):
        if len(chosen) < len(found):
            notes.append(f"{len(chosen)} of {len(found)} {kind} with embeddings are shown, evenly spread.")
    points: dict[tuple[str, int], Points] = {}
    parts: list[_Part] = []
    # Many small matrix products: a pool of threads costs more than it saves here, above all on a busy machine.
    with threadpool_limits(1, user_api="blas"):
        for step in steps:
            for layer in layers:
                found_points = points_of(run, who, layer, step, _POINTS_OF_MAPS, seed)
                if found_points is None or not _comparable(found_points, who):
                    continue
                points[layer, step] = found_points
                parts.append(_measure(found_points, who, max_points, permutations, seed))
    if not parts:
        raise ConfigError(f"Run '{run.name}' has no layer and step at which two domains have enough finite embeddings.")
    return DomainShift(
        run=run.name,
        by=who.by,
        task=who.task,
        domains=who.domains,
        held_out=who.held_out,
        classes=who.classes,
        layers=tuple(layer for layer in layers if any(key[0] == layer for key in points)),
        steps=tuple(step for step in steps if any(key[1] == step for key in points)),
        samples=who.frame,
        comparisons=_corrected(pd.concat([part.comparisons for part in parts], ignore_index=True), ["measure", "step"]),
        mixing=pd.concat([part.mixing for part in parts], ignore_index=True),
        class_shift=_corrected(pd.concat([part.class_shift for part in parts], ignore_index=True), ["layer", "step"]),
        accuracy=accuracy_by_domain(run, who, tuple(steps)),
        points=points,
        settings=Settings(seed, permutations, max_points // len(who.domains)),
        notes=tuple(notes),
    )


def _thin(items: tuple[Any, ...], at_most: int) -> tuple[Any, ...]:
    if len(items) <= at_most:
        return items
    chosen = np.unique(np.linspace(0, len(items) - 1, at_most).round().astype(int)) if at_most > 1 else [len(items) - 1]
    return tuple(items[i] for i in chosen)


def _comparable(points: Points, who: Cohort) -> bool:
    counts = np.bincount(points.domain, minlength=len(who.domains))
    return int((counts >= 4).sum()) >= 2


def _corrected(frame: pd.DataFrame, family: list[str]) -> pd.DataFrame:
    """Add ``p_adjusted``: Benjamini-Hochberg within a family, pairs and comparisons with the reference apart."""
    if frame.empty:
        return frame.assign(p_adjusted=pd.Series(dtype=float))
    keys = [frame[name] for name in family] + [frame["domain_b"] == REFERENCE]
    adjusted = frame.groupby(keys, sort=False)["p"].transform(lambda p: benjamini_hochberg(p.to_numpy(dtype=float)))
    return frame.assign(p_adjusted=adjusted)


# -- one layer at one step --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    comparisons: pd.DataFrame
    mixing: pd.DataFrame
    class_shift: pd.DataFrame


@dataclass(frozen=True)
class _Pair:
    """Two equally large groups of rows: the first domain's, then the other's."""

    domain_a: str
    domain_b: str
    rows: Int[np.ndarray, " N"]

    @property
    def n(self) -> int:
        return len(self.rows) // 2


def _measure(points: Points, who: Cohort, max_points: int, permutations: int, seed: int) -> _Part:
    order = priority(len(points.sample), seed + 1)
    points = points.take(balanced(points.domain, max_points, order))
    scaled = _scaled(points)
    reduced = principal_components(scaled, _PROXY_WIDTH).points
    square = squared_distances(scaled)
    pairs = list(_pairs(points, who, np.random.default_rng(seed)))
    rng = np.random.default_rng(seed)
    rows = _kernel_rows(pairs, square, points.target, permutations, rng)
    rows += _frechet_rows(pairs, reduced, points.target, max(permutations // 5, 19), rng)
    rows += _proxy_rows(pairs, reduced, rng)
    return _Part(
        _at(points, pd.DataFrame(rows)),
        _at(points, pd.DataFrame(_mixing_rows(points, who, square, rng))),
        _at(points, _class_rows(points, who, scaled)),
    )


def _at(points: Points, rows: pd.DataFrame) -> pd.DataFrame:
    rows.insert(0, "layer", points.layer)
    rows.insert(1, "step", points.step)
    return rows


def _scaled(points: Points) -> Float[np.ndarray, "N D"]:
    """Features over the root of the mean within-domain variance (summed over dimensions)."""
    residual = points.features - points.features.mean(axis=0)
    for code in np.unique(points.domain):
        inside = points.domain == code
        residual[inside] -= residual[inside].mean(axis=0)
    spread = float(np.sqrt((residual.astype(np.float64) ** 2).sum() / len(residual)))
    return points.features / np.float32(spread if spread > 0 else 1.0)


def _pairs(points: Points, who: Cohort, rng: np.random.Generator) -> Iterator[_Pair]:
    of = [np.flatnonzero(points.domain == code) for code in range(len(who.domains))]
    for a in range(len(of)):
        for b in range(a + 1, len(of)):
            yield from _pair(who.domains[a], who.domains[b], of[a], of[b])
    for a in range(len(of)):
        pool = np.concatenate([of[b] for b in reference_codes(a, who.held_out)])
        order = rng.permutation(len(pool))
        yield from _pair(who.domains[a], REFERENCE, of[a], pool[balanced(points.domain[pool], len(of[a]), order)])


def _pair(name_a: str, name_b: str, a: np.ndarray, b: np.ndarray) -> Iterator[_Pair]:
    n = min(len(a), len(b))
    if n >= 4:
        yield _Pair(name_a, name_b, np.concatenate([a[:n], b[:n]]))


def _row(pair: _Pair, measure: str, found: AgainstNull, low: float = np.nan, high: float = np.nan) -> dict[str, Any]:
    names = {"domain_a": pair.domain_a, "domain_b": pair.domain_b, "measure": measure}
    beyond = {"excess": found.value - found.null_mean, "null_excess": found.null_high - found.null_mean}
    return names | dataclasses.asdict(found) | beyond | {"low": low, "high": high, "n": pair.n}


def _labellings(pair: _Pair, target: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The true labelling, then relabellings within classes (over all points where no class is known)."""
    of = target[pair.rows]
    true = np.arange(len(of))[None] < pair.n
    return np.concatenate([true, paired_relabellings(of[: pair.n], of[pair.n :], count, rng)])


def _kernel_rows(
    pairs: list[_Pair], square: np.ndarray, target: np.ndarray, count: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """MMD² of every pair. One bandwidth (the median over all domains) serves all pairs, so that they compare."""
    kernel = gaussian_kernel(square, median_distance(square))
    rows = []
    for pair in pairs:
        values = mmd2_relabelled(kernel[np.ix_(pair.rows, pair.rows)], _labellings(pair, target, count, rng))
        rows.append(_row(pair, "mmd2", against_null(float(values[0]), values[1:])))
    return rows


def _frechet_rows(
    pairs: list[_Pair], reduced: np.ndarray, target: np.ndarray, count: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Fréchet distance on so many principal components that every side has at least ten points for each."""
    rows = []
    for pair in pairs:
        width = max(1, min(_FRECHET_WIDTH, pair.n // 10))
        values = frechet_relabelled(reduced[pair.rows, :width], _labellings(pair, target, count, rng))
        rows.append(_row(pair, "frechet", against_null(float(values[0]), values[1:])))
    return rows


def _proxy_rows(pairs: list[_Pair], reduced: np.ndarray, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Proxy A-distance; pairs of the same size are fitted together."""
    rows = []
    for n in sorted({pair.n for pair in pairs}):
        same = [pair for pair in pairs if pair.n == n]
        # Alternating domains, each in random order: both folds then hold as many of one as of the other.
        mixed = np.stack([rng.permutation(n), n + rng.permutation(n)], axis=1).ravel()
        x = np.stack([reduced[pair.rows[mixed]] for pair in same])
        y = np.broadcast_to(np.arange(2 * n) % 2.0, (len(same), 2 * n))
        for pair, found in zip(same, proxy_a_distances(x, np.ascontiguousarray(y)), strict=True):
            reach = 2 * Z95_ONE_SIDED / np.sqrt(found.n_test)
            null = AgainstNull(found.value, 0.0, reach, found.value / reach, found.p)
            rows.append(_row(pair, "pad", null, found.low, found.high))
    return rows


def _mixing_rows(points: Points, who: Cohort, square: np.ndarray, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Mixing over all points and within classes, per domain and overall, each with its relabelling null."""
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


def _class_rows(points: Points, who: Cohort, scaled: np.ndarray) -> pd.DataFrame:
    """Centroid shift of every class for every pair of domains and every domain against its reference."""
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
