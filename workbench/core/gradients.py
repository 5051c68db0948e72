"""Find and read task gradients in a large record without scanning it.

The writer notes in the footer of every Parquet part what it holds, :class:`PartIndex`; a part without the note, or
whose note does not fit its number of rows, is looked through once. Of the parts, only those row groups are read whose
steps are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workbench.core.gramian import Gramian

#: Key of the note in a part's footer.
NOTE = b"workbench.task_gradients"
TABLE = "task_gradients"
_TEXT = ["module", "task_a", "task_b"]


@dataclass(frozen=True)
class PartIndex:
    """What some rows of the table hold.

    Attributes:
        steps: In order.
        modules, tasks: As they come.
        n_batches: K, the number of mini-batches a step.
        nonfinite: Task -> steps at which some squared norm of its gradient is NaN, infinite or missing.
    """

    steps: tuple[int, ...] = ()
    modules: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    n_batches: int = 0
    nonfinite: Mapping[str, tuple[int, ...]] | None = None


def describe(rows: pa.Table) -> PartIndex:
    """The index of rows of the table."""
    if rows.num_rows == 0:
        return PartIndex(nonfinite={})
    names = {column: [str(name) for name in pc.unique(rows[column]).to_pylist()] for column in _TEXT}
    batches = max(pc.max(rows[column]).as_py() for column in ("batch_a", "batch_b"))
    finite = pc.fill_null(pc.is_finite(rows["dot"]), False)
    broken = rows.filter(pc.and_(pc.invert(finite), _same_task(rows))).select(["task_a", "step"])
    by_task: dict[str, set[int]] = {}
    for task, step in zip(*(broken[column].to_pylist() for column in ("task_a", "step")), strict=True):
        by_task.setdefault(str(task), set()).add(int(step))
    return PartIndex(
        tuple(sorted(pc.unique(rows["step"]).to_pylist())),
        tuple(names["module"]),
        tuple(dict.fromkeys(names["task_a"] + names["task_b"])),
        batches + 1,
        {task: tuple(sorted(steps)) for task, steps in by_task.items()},
    )


def _same_task(rows: pa.Table) -> pa.ChunkedArray:
    """Where task_a is task_b, whether the names are stored as text or as a dictionary of texts."""
    first, second = (rows[column].cast(pa.string()) for column in ("task_a", "task_b"))
    return pc.equal(first, second)


def joined(indexes: Iterable[PartIndex]) -> PartIndex:
    """One index of several, in their order."""
    found = list(indexes)
    nonfinite: dict[str, set[int]] = {}
    for index in found:
        for task, steps in (index.nonfinite or {}).items():
            nonfinite.setdefault(task, set()).update(steps)
    return PartIndex(
        tuple(sorted({step for index in found for step in index.steps})),
        tuple(dict.fromkeys(name for index in found for name in index.modules)),
        tuple(dict.fromkeys(name for index in found for name in index.tasks)),
        max((index.n_batches for index in found), default=0),
        {task: tuple(sorted(steps)) for task, steps in nonfinite.items()},
    )


def note(rows: pa.Table) -> dict[bytes, bytes]:
    """What the writer puts into the footer of a part."""
    return {NOTE: json.dumps({"rows": rows.num_rows} | asdict(describe(rows))).encode()}


def index_of(part: Path) -> PartIndex:
    """The index of a part: its note, or what a look through it finds.

    Raises:
        OSError, pa.ArrowException: the part is damaged.
    """
    with pq.ParquetFile(part, read_dictionary=_TEXT) as file:
        noted = _noted(file.metadata)
        if noted is not None:
            return noted
        columns = ["step", *_TEXT, "batch_a", "batch_b", "dot"]
        return joined(describe(file.read_row_group(i, columns)) for i in range(file.num_row_groups))


def _noted(metadata: pq.FileMetaData) -> PartIndex | None:
    """None without a note, and where the rows were changed by a program that kept the old note."""
    try:
        given = json.loads((metadata.metadata or {})[NOTE])
        if given.pop("rows") != metadata.num_rows:
            return None
        values = {field.name: given[field.name] for field in fields(PartIndex)}
        nonfinite = {str(task): tuple(steps) for task, steps in values.pop("nonfinite").items()}
        size = int(values.pop("n_batches"))
        return PartIndex(**{name: tuple(value) for name, value in values.items()}, n_batches=size, nonfinite=nonfinite)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def read(
    parts: Mapping[Path, PartIndex],
    steps: Sequence[int] | None,
    axes: tuple[tuple[str, ...], tuple[str, ...], int],
) -> dict[int, Gramian]:
    """The cross-Gramians of some steps (of all by default), NaN where nothing was recorded.

    Raises:
        OSError, pa.ArrowException: a part is damaged.
    """
    modules, tasks, n_batches = axes
    wanted = None if steps is None else {int(step) for step in steps}
    held = [part for part, index in parts.items() if wanted is None or not wanted.isdisjoint(index.steps)]
    at_module, at_task = ({name: at for at, name in enumerate(names)} for names in (modules, tasks))
    pieces = [
        (
            _ints(batch, "step"),
            (_codes(batch, "module", at_module), _codes(batch, "task_a", at_task), _ints(batch, "batch_a")),
            (_codes(batch, "task_b", at_task), _ints(batch, "batch_b")),
            batch.column("dot").to_numpy(zero_copy_only=False),
            _ints(batch, "samples"),
        )
        for part in held
        for batch in _batches(part, wanted)
    ]
    found = np.unique(np.concatenate([piece[0] for piece in pieces])) if pieces else np.empty(0, dtype=np.int64)
    dot = np.full((len(found), len(modules), len(tasks), n_batches, len(tasks), n_batches), np.nan)
    samples = np.zeros((len(found), len(tasks), n_batches), dtype=np.int64)
    for step, (module, task_a, batch_a), (task_b, batch_b), values, sizes in pieces:
        at = np.searchsorted(found, step)
        dot[at, module, task_b, batch_b, task_a, batch_a] = values
        dot[at, module, task_a, batch_a, task_b, batch_b] = values
        samples[at, task_a, batch_a] = sizes
    return {int(step): Gramian(modules, tasks, dot[i], samples[i]) for i, step in enumerate(found)}


def _batches(part: Path, wanted: Collection[int] | None) -> Iterator[pa.RecordBatch]:
    """The rows of the wanted steps; row groups whose range of steps holds none of them are not read."""
    columns = ["step", *_TEXT, "batch_a", "batch_b", "dot", "samples"]
    with pq.ParquetFile(part, read_dictionary=_TEXT) as file:
        place = file.schema_arrow.get_field_index("step")
        for i in range(file.num_row_groups):
            limits = file.metadata.row_group(i).column(place).statistics
            known = limits is not None and limits.has_min_max
            if wanted is not None and known and not any(limits.min <= step <= limits.max for step in wanted):
                continue
            rows = file.read_row_group(i, columns)
            if wanted is not None:
                rows = rows.filter(
                    pc.is_in(rows["step"], value_set=pa.array(sorted(wanted), rows.schema.field(0).type))
                )
            yield from rows.to_batches()


def _ints(batch: pa.RecordBatch, column: str) -> np.ndarray:
    return batch.column(column).to_numpy(zero_copy_only=False)


def _codes(batch: pa.RecordBatch, column: str, places: Mapping[str, int]) -> np.ndarray:
    """The place of every row's name."""
    values = batch.column(column)
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    places_of = np.array([places[str(name)] for name in values.dictionary.to_pylist()], dtype=np.int64)
    return places_of[values.indices.to_numpy(zero_copy_only=False)]
