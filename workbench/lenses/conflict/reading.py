"""One pass over the recorded Gramians, a few steps at a time, keeping what the statistics need of each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from workbench.core import Run
from workbench.core.gramian import unbiased
from workbench.core.schema import ALL_MODULES
from workbench.lenses.conflict.channels import Layout
from workbench.lenses.conflict.estimates import Estimate, Moments, at_steps, plug_in_cosine, task_pairs
from workbench.lenses.conflict.evidence import shuffled_apart
from workbench.lenses.conflict.replay import Halves, halves

#: Gramian entries read in all, and at a time. Beyond the first, steps are taken evenly spaced.
MAX_ENTRIES, CHUNK_ENTRIES = 16_000_000, 3_000_000
#: Steps that are read and drawn, at most and, however many entries each has, at least.
MAX_STEPS, MIN_STEPS = 1000, 4
#: The same where every step is asked for: what is kept of so many entries takes about 1 GB.
ALL_ENTRIES, ALL_STEPS = 250_000_000, 20_000


@dataclass(frozen=True)
class Steps:
    """The numbers of some consecutive recorded steps; M modules, the last being all together when there are several.

    ``gram``: unbiased inner products over all shared parameters; ``halves``: those of the two halves of the batches;
    ``shuffled``: see ``evidence.shuffled_apart``; ``groups``: of every group of channels, in the order of
    ``Layout.grouped``.
    """

    cosine: Estimate
    moments: Moments
    naive: Float[np.ndarray, "S M P"]
    norm: Float[np.ndarray, "S M T"]
    below_noise: Bool[np.ndarray, "S M T"]
    gram: Float[np.ndarray, "S T T"]
    halves: Halves
    shuffled: Float[np.ndarray, "S P"]
    groups: Moments


@dataclass(frozen=True)
class Head:
    """What was read.

    Attributes:
        modules: The last is all of them together when there are several.
        pairs: Of tasks, i < j.
        steps: Steps that were read; ``n_recorded`` steps were recorded (more when the record is very large).
        n_batches: Mini-batches a step (the largest number). 1 means that nothing unbiased can be said.
        nonfinite: Recorded steps at which a task's gradients held NaN or infinite values; they are left out.
        every_step: Whether every step was asked for.
    """

    tasks: tuple[str, ...]
    modules: tuple[str, ...]
    pairs: Int[np.ndarray, "P 2"]
    steps: Int[np.ndarray, " S"]
    n_recorded: int
    n_batches: int
    nonfinite: Int[np.ndarray, " T"]
    every_step: bool

    @property
    def steps_read(self) -> str:
        """Which recorded steps the numbers rest on, where it is not all of them; else nothing."""
        n, first, last = len(self.steps), self.steps[:1].tolist(), self.steps[-1:].tolist()
        if n >= self.n_recorded:
            return ""
        spaced = f"evenly spaced from step {first[0]} to step {last[0]}" if n > 1 else f"step {last[0]}"
        return f"{n:,} of {self.n_recorded:,} recorded steps were read, {spaced}."


@dataclass(frozen=True)
class Record:
    """All that was read, with the numbers of every step."""

    head: Head
    layout: Layout
    numbers: Steps


def read_record(run: Run, max_entries: int, chunk_entries: int, every_step: bool = False) -> Record:
    """Read evenly spaced steps, as many as ``max_entries`` numbers allow, holding ``chunk_entries`` at a time.

    The last step is always among them. ``every_step``: as many as memory allows instead.
    """
    recorded, tasks, n_batches = axes = run.gramian_axes()
    all_steps = run.gramian_steps()
    per_step = len(recorded) * (len(tasks) * n_batches) ** 2
    entries, most = (ALL_ENTRIES, ALL_STEPS) if every_step else (max_entries, MAX_STEPS)
    steps = evenly_spaced(all_steps, min(most, max(MIN_STEPS, entries // per_step)))
    pairs, layout = task_pairs(len(tasks)), Layout.of(recorded)
    chunk = max(1, chunk_entries // per_step)
    pieces: list[Steps] = []
    for start in range(0, len(steps), chunk):
        grams = run.gramians(steps[start : start + chunk], axes)
        dot = np.stack([gram.dot for gram in grams.values()])
        # Infinite entries become NaN, which later counts as not recorded.
        dot = np.where(np.isfinite(dot), dot, np.nan)
        pieces.extend(_read_piece(dot, layout, pairs, np.array(list(grams))))
    names = layout.modules if len(layout.modules) == 1 else (*layout.modules, ALL_MODULES)
    broken = run.nonfinite_gradients()
    nonfinite = np.array([broken.get(task, 0) for task in tasks])
    head = Head(tasks, names, pairs, np.asarray(steps), len(all_steps), n_batches, nonfinite, every_step)
    return Record(head, layout, joined(pieces))


def evenly_spaced(steps: list[int], most: int) -> list[int]:
    """At most so many steps, from the first to the last; the last alone where one is all."""
    places = np.linspace(len(steps) - 1, 0, min(len(steps), most)).round().astype(int)
    return [steps[place] for place in np.unique(places)]


def _with_total(dot: Float[np.ndarray, "S M T K T K"], modules: tuple[str, ...]) -> np.ndarray:
    """Append the sum over modules."""
    if len(modules) == 1:
        return dot
    parts = [i for i, name in enumerate(modules) if name != ALL_MODULES]
    return np.concatenate([dot, dot[:, parts].sum(axis=1, keepdims=True)], axis=1)


def _read_piece(
    dot: Float[np.ndarray, "S R T K T K"],
    layout: Layout,
    pairs: Int[np.ndarray, "P 2"],
    steps: Int[np.ndarray, " S"],
) -> Iterator[Steps]:
    """Steps that recorded the same mini-batches go together; batches absent from a step are left out of it."""
    present = ~np.isnan(np.einsum("smikik->smik", dot)).all(axis=(1, 2))  # [S, K]
    first = 0
    for last in range(1, len(dot) + 1):
        if last < len(dot) and (present[last] == present[first]).all():
            continue
        batches = np.flatnonzero(present[first]) if present[first].any() else np.arange(dot.shape[-1])
        part = dot[first:last] if present[first].all() else dot[first:last][:, :, :, batches][..., batches]
        yield _numbers(part, layout, pairs, steps[first:last])
        first = last


def _numbers(
    recorded: Float[np.ndarray, "S R T K T K"],
    layout: Layout,
    pairs: Int[np.ndarray, "P 2"],
    steps: Int[np.ndarray, " S"],
) -> Steps:
    dot = _with_total(layout.shown(recorded), layout.modules)
    cosine, moments = at_steps(dot, pairs)
    # As in core.gramian.cosines, on the scale of the moments: not above two jackknife standard errors.
    below = ~(moments.d > 2 * np.sqrt(np.nan_to_num(moments.jackknife.dd)))
    scale = np.einsum("smikik->smi", dot) / dot.shape[3]
    norm = np.sqrt(np.where(below, np.nan, moments.d * scale))
    total = dot[:, -1]
    naive = plug_in_cosine(dot, pairs)
    chosen = [place for at in layout.grouped(dot.shape[2]) for place in layout.groups[at]]
    _, groups = at_steps(recorded[:, chosen], pairs)
    shuffled = shuffled_apart(total, pairs, steps)
    return Steps(
        cosine, moments, naive, norm, below & ~np.isnan(moments.d), unbiased(total), halves(total), shuffled, groups
    )  # fmt: skip


Table = TypeVar("Table")


def joined(parts: list[Table], join: Callable[..., np.ndarray] = np.concatenate) -> Table:
    """Dataclasses of arrays (or of such dataclasses) joined along, or stacked on, their first axis."""
    values = {}
    for field in fields(parts[0]):  # type: ignore[arg-type]
        items = [getattr(part, field.name) for part in parts]
        values[field.name] = join(items) if isinstance(items[0], np.ndarray) else joined(items, join)
    return type(parts[0])(**values)
