"""Write a run folder while training runs.

Everything written is either wholly there or not there: parts of tables are written under a temporary name and renamed,
run.json is replaced in one step. A reader may look at any time, and a killed process loses only what was not flushed.
"""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from workbench.core import gradients
from workbench.core.errors import ConfigError
from workbench.core.files import folder_name, write_atomically, write_content_atomically
from workbench.core.gramian import Gramian
from workbench.core.schema import (
    Attribute,
    Dataset,
    Domain,
    Module,
    RunInfo,
    Task,
    entries,
    environment,
)
from workbench.core.tables import TABLES, Table

logger = logging.getLogger(__name__)

#: Rows of a part that are compressed together: few enough that single steps of a large record are read cheaply.
ROW_GROUP = 2**17

_ARROW = {
    "int": pa.int64(),
    "float": pa.float64(),
    "text": pa.string(),
    "bytes": pa.binary(),
    "ints": pa.list_(pa.int64()),
    "floats": pa.list_(pa.float64()),
}
_ENTRY_KINDS: Mapping[str, type] = {
    "tasks": Task,
    "domains": Domain,
    "datasets": Dataset,
    "attributes": Attribute,
    "modules": Module,
}


Writer = TypeVar("Writer", bound="RunWriter")


class RunWriter:
    """Append-only writer of one run folder; numbers in, files out (no torch).

    A context manager: leaving it flushes and marks the run done, or failed when the block raised (the exception goes
    on). Mistakes in the arguments raise ConfigError at the call. Trouble with the disk never stops the training: it
    warns once and recording ends there.

    Args:
        path: The run folder; created with its parents.
        name: Shown in lists; the folder's name by default.
        tasks, domains, datasets, attributes, modules: Names, mappings or the dataclasses of the schema.
        flush_seconds: What is written stays in memory at most this long while writing goes on.
        overwrite: Replace the tables of an existing run instead of refusing.
        **info: Other fields of RunInfo: ``question``, ``method``, ``config``, ``seed``, ``parent``…

    Raises:
        ConfigError: the folder already holds a run and ``overwrite`` is false, or a field is unknown.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        tasks: Sequence[Any] = (),
        domains: Sequence[Any] = (),
        datasets: Sequence[Any] = (),
        attributes: Sequence[Any] = (),
        modules: Sequence[Any] = (),
        flush_seconds: float = 10.0,
        overwrite: bool = False,
        **info: Any,
    ) -> None:
        if flush_seconds < 0:
            raise ConfigError(f"flush_seconds must not be negative; got {flush_seconds}.")
        self.path = Path(path)
        self.flush_seconds = flush_seconds
        self.info = RunInfo(name=name or self.path.name, created=_now(), status="recording")
        self.info = self._changed(
            tasks=tasks, domains=domains, datasets=datasets, attributes=attributes, modules=modules, **info
        )
        self._lock = threading.RLock()
        self._buffers: dict[str, list[pa.Table]] = {}
        self._last_flush = time.monotonic()
        self._recording = True
        self._closed = False
        if (self.path / "run.json").exists() and not overwrite:
            raise ConfigError(f"{self.path} already holds a run. Choose another folder, or pass overwrite=True.")
        self._guarded(self._start, overwrite)

    def _start(self, overwrite: bool) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        if overwrite:
            _remove_run(self.path)
        self.info = dataclasses.replace(
            self.info, versions=environment() | dict(self.info.versions), code=self.info.code or _code_revision()
        )
        self._write_info()

    # -- what a run holds -------------------------------------------------------------------------------------------

    def write(self, table: str, columns: Mapping[str, Any] | pd.DataFrame) -> None:
        """Append rows to a table. A scalar value is repeated for every row.

        Raises:
            ConfigError: unknown table, missing column, columns of different lengths, or values of the wrong kind.
        """
        if table not in TABLES:
            raise ConfigError(f"There is no table '{table}'. Tables: {', '.join(TABLES)}.")
        rows = _arrow_table(TABLES[table], columns)
        if rows.num_rows == 0:
            return
        with self._lock:
            if not self._recording:
                return
            self._buffers.setdefault(table, []).append(rows)
            if time.monotonic() - self._last_flush >= self.flush_seconds:
                self.flush()

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """Log numbers by tag, e.g. ``{"loss/left": 0.3}``. Anything with ``item()`` or ``float()`` is accepted."""
        tags = list(values)
        numbers = [float(value.detach() if hasattr(value, "detach") else value) for value in values.values()]
        self.write("scalars", {"step": step, "tag": tags, "value": numbers, "wall_time": time.time()})

    def samples(self, columns: Mapping[str, Any] | pd.DataFrame) -> None:
        """Describe samples once: ``sample``, ``split``, ``target_<task>``, one column per attribute, ``thumbnail``.

        ``dataset``, ``domain`` and ``split`` may be left out.
        """
        given: dict[str, Any] = {str(key): value for key, value in columns.items()}
        for column in ("dataset", "domain", "split"):
            given.setdefault(column, "")
        self.write("samples", given)

    def predictions(
        self,
        step: int,
        task: str,
        *,
        sample: Any,
        prediction: Any = None,
        confidence: Any = np.nan,
        loss: Any = np.nan,
        **more: Any,
    ) -> None:
        """One row per sample. ``loss`` in nats for classification; ``logits`` may be given as [N, C].

        Predictions of several classes each have no ``prediction`` but counts: see :mod:`workbench.core.outcomes`.
        """
        columns = {"step": step, "task": task, "sample": sample, "prediction": prediction}
        self.write("predictions", columns | {"confidence": confidence, "loss": loss} | more)

    def label_counts(
        self,
        *,
        dataset: str,
        sample: Any,
        label: Any,
        weight: Any = 1.0,
        source: str = "truth",
        region: Any = 0,
        **more: Any,
    ) -> None:
        """How much of a label is in a sample or region: as annotated, or as the head of ``source`` predicts it."""
        columns = {"dataset": dataset, "sample": sample, "region": region, "label": label}
        self.write("label_counts", columns | {"weight": weight, "source": source} | more)

    def gramian(self, step: int, gramian: Gramian) -> None:
        """Record the cross-Gramian of one step (upper triangle with the diagonal)."""
        n_tasks, n_batches = gramian.samples.shape
        size = n_tasks * n_batches
        a, b = np.triu_indices(size)
        dot = gramian.dot.reshape(len(gramian.modules), size, size)
        tasks = np.asarray(gramian.tasks, dtype=object)
        repeats = len(gramian.modules)
        self.write(
            "task_gradients",
            {
                "step": step,
                "module": np.repeat(np.asarray(gramian.modules, dtype=object), len(a)),
                "task_a": np.tile(tasks[a // n_batches], repeats),
                "batch_a": np.tile(a % n_batches, repeats),
                "task_b": np.tile(tasks[b // n_batches], repeats),
                "batch_b": np.tile(b % n_batches, repeats),
                "dot": dot[:, a, b].ravel(),
                "samples": np.tile(gramian.samples.reshape(-1)[a], repeats),
            },
        )

    def embedding(self, step: int, layer: str, values: np.ndarray, sample: Any) -> None:
        """Record the embeddings [N, D] of samples at one layer, in the dtype given (float16 halves the file)."""
        values = np.asarray(values)
        sample = np.asarray(sample)
        if values.ndim != 2 or len(values) != len(sample):
            raise ConfigError(
                f"Embeddings of layer '{layer}' must be [N, D] with one sample id a row; "
                f"got {values.shape} and {len(sample)} ids."
            )
        if layer not in self.info.layers:
            self.update(layers=(*self.info.layers, layer))
        self.array(f"embeddings.{layer}", step, {"embeddings": values})
        self.write("embeddings", {"step": step, "layer": layer, "row": np.arange(len(sample)), "sample": sample})

    def array(self, name: str, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write arrays/<name>/step-<step>.safetensors at once."""
        self._guarded(self._save, self.path / "arrays" / folder_name(name) / f"step-{step:08d}.safetensors", arrays)

    def checkpoint(self, step: int, tensors: Mapping[str, np.ndarray]) -> None:
        """Write checkpoints/step-<step>.safetensors at once."""
        self._guarded(self._save, self.path / "checkpoints" / f"step-{step:08d}.safetensors", tensors)

    def update(self, **info: Any) -> None:
        """Change fields of run.json, e.g. ``summary={"accuracy": 0.93}``."""
        with self._lock:
            self.info = self._changed(**info)
            self._guarded(self._write_info)

    # -- life cycle -------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what is buffered, one new part a table."""
        with self._lock:
            self._last_flush = time.monotonic()
            buffers, self._buffers = self._buffers, {}
            for table, pieces in buffers.items():
                self._guarded(self._write_part, table, pieces)

    def close(self, status: str = "done") -> None:
        """Flush and mark the run as done (or failed). Calling it again does nothing."""
        with self._lock:
            if self._closed:
                return
            self.flush()
            self.update(status=status, finished=_now())
            self._closed, self._recording = True, False

    def __enter__(self: Writer) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("done" if kind is None else "failed")

    # -- inside -----------------------------------------------------------------------------------------------------

    def _changed(self, **info: Any) -> RunInfo:
        known = {field.name for field in dataclasses.fields(RunInfo)}
        unknown = sorted(set(info) - known)
        if unknown:
            raise ConfigError(
                f"run.json has no field '{unknown[0]}'. Put it into config={{...}}. Fields: {', '.join(sorted(known))}."
            )
        for key, kind in _ENTRY_KINDS.items():
            if key in info:
                info[key] = entries(kind, info[key])
        if "summary" in info:
            info["summary"] = {str(tag): float(value) for tag, value in info["summary"].items()}
        return dataclasses.replace(self.info, **info)

    def _guarded(self, action: Callable[..., None], *args: Any) -> None:
        """Run a disk action; on OSError warn once and record nothing more."""
        if not self._recording:
            return
        try:
            action(*args)
        except OSError as error:
            self._recording = False
            self._buffers.clear()
            message = f"Recording to {self.path} stopped: {error}. Training goes on."
            logger.warning(message)
            warnings.warn(message, RuntimeWarning, stacklevel=3)

    def _write_info(self) -> None:
        write_content_atomically(self.path / "run.json", self.info.to_json())

    def _write_part(self, table: str, pieces: list[pa.Table]) -> None:
        folder = self.path / "tables" / table
        folder.mkdir(parents=True, exist_ok=True)
        rows = pa.concat_tables(pieces, promote_options="permissive")
        number = 1 + max((int(part.stem.split("-")[1]) for part in folder.glob("part-[0-9]*.parquet")), default=0)
        write_atomically(
            folder / f"part-{number:06d}.parquet",
            lambda path: _write_parquet(path, rows, gradients.note(rows) if table == gradients.TABLE else {}),
        )

    def _save(self, path: Path, arrays: Mapping[str, np.ndarray]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        contiguous = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
        write_atomically(path, lambda temporary: save_file(contiguous, temporary))


def _write_parquet(path: Path, rows: pa.Table, note: Mapping[bytes, bytes]) -> None:
    with pq.ParquetWriter(path, rows.schema, compression="zstd", compression_level=9) as writer:
        writer.write_table(rows, row_group_size=ROW_GROUP)
        if note:
            writer.add_key_value_metadata(note)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _remove_run(path: Path) -> None:
    """Delete the files that a RunWriter makes, and nothing else."""
    patterns = ("tables/*/part-*.parquet", "arrays/*/step-*.safetensors", "checkpoints/step-*.*", "run.json")
    for pattern in patterns:
        for file in path.glob(pattern):
            file.unlink()


def _code_revision() -> dict[str, Any]:
    """Revision of the checkout in the working directory; empty outside one or without git."""
    try:
        revision = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"revision": revision.stdout.strip(), "dirty": bool(status.stdout.strip())}


def _arrow_table(table: Table, columns: Mapping[str, Any] | pd.DataFrame) -> pa.Table:
    """Columns of a table as Arrow, checked against the schema."""
    given = {str(key): _to_numpy(value) for key, value in columns.items()}
    missing = [name for name in table.columns if name not in given]
    if missing:
        raise ConfigError(f"Table '{table.name}' needs the column '{missing[0]}'. Given: {', '.join(given)}.")
    lengths = {name: len(value) for name, value in given.items() if value.ndim > 0}
    if len(set(lengths.values())) > 1:
        raise ConfigError(f"Columns of '{table.name}' differ in length: {lengths}.")
    n_rows = next(iter(lengths.values()), 1)
    kinds = {**table.columns, **table.optional}
    arrays = {}
    for name, value in given.items():
        full = value if value.ndim else np.repeat(value, n_rows)
        arrays[name] = _arrow_column(table.name, name, kinds.get(name, "any"), full)
    return pa.table(arrays)


def _to_numpy(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, (bytes, str)):
        return np.array(value, dtype=object)
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], (bytes, list, tuple)):
        array = np.empty(len(value), dtype=object)
        array[:] = value
        return array
    return np.asarray(value)


def _arrow_column(table: str, name: str, kind: str, values: np.ndarray) -> pa.Array:
    nested = values.ndim > 1
    plain: Any = list(values) if nested else values
    if kind == "any" and values.dtype.kind == "U":
        kind = "text"
    try:
        if kind == "any":
            return pa.array(plain)
        if kind == "text":
            return pa.array([None if item is None else str(item) for item in values], pa.string())
        return pa.array(plain, _ARROW[kind])
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise ConfigError(f"Column '{name}' of '{table}' must be of kind '{kind}': {error}.") from None
