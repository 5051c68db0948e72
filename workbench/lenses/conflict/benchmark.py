"""How long does a page of the conflict lens take to open and to change on a large record?

The record is drawn: T tasks, M modules, S steps, K mini-batches (4, as the recorder cuts by default), with noise of its
own in each. One part is written by the recorder's own writer and repeated under other steps, since what a number is
does not change how long it takes to read. Elapsed seconds:

- first opening: index of the parts, statistics of the evenly spaced steps that are read, verdicts and main figure;
- opened again: the same once more, with what the process has imported and kept;
- page change: another step and module in the main figure; or the slowest of the other views, drawn anew.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.core import Run, RunWriter, gradients
from workbench.core.gramian import Gramian

#: Rows of the table that go into one part.
PART_ROWS = 5_000_000
#: Numbers behind a drawn gradient; the record of a step is as long whatever this is.
WIDTH = 24
FIRST, AGAIN, CHANGE, VIEW = "first opening", "opened again", "another step and module", "slowest other view"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Size:
    """Of a record."""

    tasks: int
    modules: int
    steps: int
    batches: int = 4

    def __str__(self) -> str:
        return f"{self.tasks} × {self.modules} × {self.steps:,} × {self.batches}"

    @property
    def per_step(self) -> int:
        """Rows for one step: the upper triangle with the diagonal, for every module."""
        columns = self.tasks * self.batches
        return self.modules * columns * (columns + 1) // 2


#: The second has as many rows a step as 40 tasks have, and a tenth of the steps, for the sake of the disk.
SIZES = (Size(8, 200, 1000), Size(40, 200, 100))


def run(sizes: Sequence[Size] = SIZES, rounds: int = 3) -> dict[str, dict[str, float]]:
    """Median seconds by size of the record, with the number of steps read and the bytes on disk."""
    found = {}
    for size in sizes:
        folder = Path(tempfile.mkdtemp(prefix="workbench-bench-"))
        try:
            found[str(size)] = measure(build(folder / "run", size), rounds)
        finally:
            shutil.rmtree(folder)
    return found


def markdown(found: Mapping[str, Mapping[str, float]]) -> str:
    """The measured times as a Markdown table."""
    names = (FIRST, AGAIN, CHANGE, VIEW)
    head = "| tasks × modules × steps × mini-batches | on disk | steps read |"
    lines = [f"{head} {' | '.join(names)} |", "|---" * (3 + len(names)) + "|"]
    for size, row in found.items():
        cells = " | ".join(f"{row[name]:.2f} s" for name in names)
        lines.append(f"| {size} | {row['bytes'] / 1e9:.2f} GB | {row['steps read']:.0f} | {cells} |")
    return "\n".join(lines) + "\n"


def build(folder: Path, size: Size) -> Run:
    """Draw a record of that size as a run folder."""
    each = min(size.steps, max(1, PART_ROWS // size.per_step))
    rng = np.random.default_rng(0)
    names = [f"block{index:03d}" for index in range(size.modules)]
    tasks = [f"task{index:02d}" for index in range(size.tasks)]
    with RunWriter(folder, tasks=tasks, modules=names, flush_seconds=float("inf")) as writer:
        for step in range(each):
            writer.gramian(step, _drawn(rng, names, tasks, size.batches))
    part = folder / "tables" / gradients.TABLE / "part-000001.parquet"
    with pq.ParquetFile(part, read_dictionary=["module", "task_a", "task_b"]) as file:
        rows = file.read()
    place = rows.schema.get_field_index("step")
    for number, first in enumerate(range(each, size.steps, each), start=2):
        moved = rows.set_column(place, "step", pa.array(rows["step"].to_numpy() + first))
        moved = moved.slice(0, min(each, size.steps - first) * size.per_step)
        with pq.ParquetWriter(part.with_name(f"part-{number:06d}.parquet"), moved.schema, compression="zstd") as out:
            out.write_table(moved, row_group_size=2**17)
            out.add_key_value_metadata(gradients.note(moved))
    return Run(folder)


def measure(recorded: Run, rounds: int = 3) -> dict[str, float]:
    """Seconds of the first opening, and medians over rounds of the others; steps read and bytes of the record."""
    from workbench.lenses.conflict import LENS, Conflict

    def opened() -> Conflict:
        stats: Conflict = LENS.statistics(Run(recorded.path))
        LENS.verdicts(stats)
        LENS.figure(stats)
        return stats

    first, stats = _timed(opened)
    again = [_timed(opened)[0] for _ in range(rounds)]
    step, module = int(stats.steps[0]), stats.modules[0]
    changed = [_timed(lambda: LENS.figure(stats, step=step, module=module))[0] for _ in range(rounds)]
    other = [
        np.median([_timed(partial(view.figure, stats))[0] for _ in range(rounds)])
        for view in LENS.shown(stats)[1:]
        if view.slug != "routing"  # it needs channel groups, which this record has not
    ]
    parts = recorded.parts(gradients.TABLE)
    return {
        FIRST: first, AGAIN: float(np.median(again)), CHANGE: float(np.median(changed)), VIEW: float(max(other)),
        "steps read": float(len(stats.steps)), "bytes": float(sum(part.stat().st_size for part in parts)),
    }  # fmt: skip


def _drawn(rng: np.random.Generator, names: list[str], tasks: list[str], n_batches: int) -> Gramian:
    truth = rng.standard_normal((len(names), len(tasks), 1, WIDTH))
    rows = truth + rng.standard_normal((len(names), len(tasks), n_batches, WIDTH))
    flat = rows.reshape(len(names), -1, WIDTH)
    shape = (len(names), len(tasks), n_batches, len(tasks), n_batches)
    dot = (flat @ np.swapaxes(flat, 1, 2)).reshape(shape)
    return Gramian(tuple(names), tuple(tasks), dot, np.full((len(tasks), n_batches), 16, dtype=np.int64))


def _timed(action: Callable[[], Result]) -> tuple[float, Result]:
    begun = time.perf_counter()
    result = action()
    return time.perf_counter() - begun, result
