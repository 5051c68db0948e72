"""The numbers of the domain lens: tables of a run in, DataFrames out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from workbench.core import ConfigError, Run
from workbench.lenses.domains.accuracy import accuracy_by_domain, reference_codes
from workbench.lenses.domains.clouds import Clouds
from workbench.lenses.domains.depth import Depth, depth_of
from workbench.lenses.domains.measure import REFERENCE, Measured, Slice, measure, slice_of
from workbench.lenses.domains.pair_covariances import PairCovariances, pair_covariances
from workbench.lenses.domains.points import Cohort, Points, cohort, points_of, recorded
from workbench.lenses.domains.stream import Stream, stream_of
from workbench.lenses.intervals import benjamini_hochberg

#: Points of one layer at one step that are kept for everything but the map, which shows all (``clouds``).
_POINTS_KEPT = 5000


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
        depth: What lies behind the shift at the last step: label shift, estimated accuracies, evidence.
        points: Embeddings per (layer, step), at most 5,000 each.
        clouds: All embeddings of a (layer, step) and their maps, read when they are looked at.
        pairs: How same-class and different-class pairs differ inside each domain.
        hinges: step, pair ("i measured by j"), value: share of triplets of i with a positive loss under j's metric,
            from scalars ``active/<i>|<j>``; empty where a run logged none.
        logged_pairs: step, quantity ("angle" of two domains' leading directions, from ``angle/<i>|<j>``, or
            "separation" of one's classes, from ``trace-/<i>`` over ``trace+/<i>``), name, value: of the batches that
            a training with triplets saw; empty where it logged none.
        stream: What is kept of tasks learned one after the other; None where the run is no such stream.
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
    depth: Depth
    points: Mapping[tuple[str, int], Points]
    clouds: Clouds
    settings: Settings
    notes: tuple[str, ...]
    pairs: PairCovariances
    hinges: pd.DataFrame
    logged_pairs: pd.DataFrame
    stream: Stream | None = None

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
    parts: list[Measured] = []
    last: list[Slice] = []
    # Many small matrix products: a pool of threads costs more than it saves here, above all on a busy machine.
    with threadpool_limits(1, user_api="blas"):
        for step in steps:
            for layer in layers:
                found_points = points_of(run, who, layer, step, _POINTS_KEPT, seed)
                if found_points is None or not _comparable(found_points, who):
                    continue
                points[layer, step] = found_points
                part = slice_of(found_points, who, max_points, seed)
                final = step == steps[-1]
                parts.append(measure(part, who, permutations, seed, sliced=final))
                last += [part] if final else []
        if not parts:
            raise ConfigError(
                f"In run '{run.name}' no two domains have enough finite embeddings at the same layer and step."
            )
        accuracy = accuracy_by_domain(run, who, tuple(steps))
        comparisons = pd.concat([part.comparisons for part in parts], ignore_index=True)
        depth = depth_of(run, who, points, last, comparisons, accuracy, seed)
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
        comparisons=_corrected(comparisons, ["measure", "step"]),
        mixing=pd.concat([part.mixing for part in parts], ignore_index=True),
        class_shift=_corrected(pd.concat([part.class_shift for part in parts], ignore_index=True), ["layer", "step"]),
        accuracy=accuracy,
        depth=depth,
        points=points,
        clouds=Clouds(run, who, points, _POINTS_KEPT, seed),
        settings=Settings(seed, permutations, max_points // len(who.domains)),
        notes=tuple(notes),
        pairs=pair_covariances(run, who, points),
        hinges=_hinges(run),
        logged_pairs=_logged_pairs(run),
        stream=stream_of(run),
    )


def _hinges(run: Run) -> pd.DataFrame:
    """step, pair, value of the scalars ``active/<i>|<j>``."""
    return run.query(
        "SELECT step, replace(substr(tag, 8), '|', ' measured by ') AS pair, value FROM scalars "
        "WHERE starts_with(tag, 'active/') AND isfinite(value) ORDER BY tag, step"
    )


def _logged_pairs(run: Run) -> pd.DataFrame:
    """step, quantity, name, value of the scalars that a training with triplets logs of its batches."""
    return run.query(
        """
        WITH logged AS (
            SELECT step, tag, arg_max(value, wall_time) AS value FROM scalars
            WHERE isfinite(value) AND regexp_matches(tag, '^(angle|trace[+-])/') GROUP BY step, tag
        )
        SELECT step, 'angle' AS quantity, replace(substr(tag, 7), '|', ' and ') AS name, value FROM logged
        WHERE starts_with(tag, 'angle/')
        UNION ALL
        SELECT far.step, 'separation' AS quantity, substr(far.tag, 8) AS name, far.value / near.value AS value
        FROM logged far JOIN logged near ON near.step = far.step AND near.tag = 'trace+/' || substr(far.tag, 8)
        WHERE starts_with(far.tag, 'trace-/') AND near.value > 0
        ORDER BY quantity, name, step
        """
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
