"""Read a run folder: also one that is damaged, incomplete, or still being written."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.core import gradients
from workbench.core.errors import MissingTable, RunFormatError
from workbench.core.files import folder_name, unfolder_name
from workbench.core.gramian import Gramian
from workbench.core.schema import RunInfo
from workbench.core.tables import TABLES

#: A run that says "recording" and was not touched for so long is shown as stopped, not as live.
STALE_SECONDS = 300.0


@dataclass(frozen=True)
class Problem:
    """Something in a run that could not be read, and what was done about it."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Run:
    """A run folder, opened lazily: only run.json is read until a table or array is asked for.

    Damaged parts are left out and listed in :attr:`problems`; the rest of the run is served.

    Args:
        path: The folder that holds run.json.
        source: Where the run came from when ``path`` is a converted copy of a foreign log.

    Raises:
        RunFormatError: no run.json, or one that cannot be understood.
    """

    def __init__(self, path: str | Path, source: Path | None = None) -> None:
        self.path = Path(path)
        self.source = source
        self._lock = threading.RLock()
        self._problems: dict[Path, Problem] = {}
        self._checked: dict[Path, tuple[tuple[int, int], bool]] = {}
        self._indexes: dict[tuple[Path, tuple[int, int]], gradients.PartIndex] = {}
        self._info = self._read_info()

    def _read_info(self) -> RunInfo:
        file = self.path / "run.json"
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise RunFormatError(
                f"{self.path} is not a run: it has no run.json. Give a run folder, or the folder that holds several."
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise RunFormatError(f"{file} cannot be read: {error}.") from None
        return RunInfo.from_json(text, str(file))

    def __repr__(self) -> str:
        return f"Run({self.name!r}, tables: {', '.join(self.tables) or 'none'})"

    @property
    def info(self) -> RunInfo:
        """The run's description."""
        return self._info

    @property
    def listed(self) -> RunInfo:
        """What a list of runs shows: the description as far as it is known without reading a foreign log."""
        return self._info

    @property
    def identity(self) -> Path:
        """A path that stands for the run as long as it exists, whatever is converted where."""
        return self.path.resolve()

    @property
    def name(self) -> str:
        return self.listed.name

    @property
    def task_names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.info.tasks)

    @property
    def domain_names(self) -> tuple[str, ...]:
        return tuple(domain.name for domain in self.info.domains)

    @property
    def dataset_names(self) -> tuple[str, ...]:
        return tuple(dataset.name for dataset in self.info.datasets)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        return tuple(attribute.name for attribute in self.info.attributes)

    # -- freshness --------------------------------------------------------------------------------------------------

    @property
    def is_live(self) -> bool:
        """Whether a recorder says that it is writing and has touched the folder lately."""
        return self.listed.status == "recording" and time.time() - self.modified < STALE_SECONDS

    @property
    def modified(self) -> float:
        """Unix time of the newest file."""
        return max((file.stat().st_mtime for file in self._files()), default=0.0)

    def fingerprint(self) -> str:
        """A digest of names, sizes and times of all files: changes when the run grew or was edited. For cache keys."""
        digest = hashlib.sha256(str(self.path.resolve()).encode())
        for file in self._files():
            try:
                stat = file.stat()
            except FileNotFoundError:
                continue
            digest.update(f"{file.relative_to(self.path)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:32]

    def sync(self) -> None:
        """Bring the folder up to date before it is read; a converted foreign log is converted again when it grew."""

    def _files(self) -> list[Path]:
        self.sync()
        patterns = ("run.json", "tables/*/part-*.parquet", "arrays/*/*.safetensors", "checkpoints/*")
        return sorted(file for pattern in patterns for file in self.path.glob(pattern))

    # -- tables -----------------------------------------------------------------------------------------------------

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that have at least one readable part."""
        return tuple(name for name in TABLES if self.parts(name))

    def has(self, table: str) -> bool:
        return bool(self.parts(table))

    def require(self, *tables: str) -> None:
        """Raise MissingTable, with the lines that would record it, for the first table that is absent."""
        for name in tables:
            if not self.has(name):
                logged = ", ".join(self.tables) or "no tables"
                raise MissingTable(
                    f"Run '{self.name}' has no table '{name}' ({TABLES[name].about}). It has: {logged}.",
                    TABLES[name].record,
                )

    def parts(self, table: str) -> list[Path]:
        """The readable Parquet parts of a table, oldest first."""
        self.sync()
        with self._lock:
            files = sorted((self.path / "tables" / table).glob("part-*.parquet"))
            return [file for file in files if self._readable(file, table)]

    def _readable(self, file: Path, table: str) -> bool:
        try:
            stat = file.stat()
            stamp = (stat.st_size, stat.st_mtime_ns)
            known = self._checked.get(file)
            if known and known[0] == stamp:
                return known[1]
            columns = set(pq.read_schema(file).names)
        except Exception as error:  # pyarrow raises many kinds on damaged bytes; each means "cannot be read"
            first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            return self._skip(file, f"skipped, not a readable Parquet file ({first_line})", None)
        missing = [name for name in TABLES[table].columns if name not in columns] if table in TABLES else []
        if missing:
            return self._skip(file, f"skipped, column '{missing[0]}' of table '{table}' is missing", stamp)
        self._problems.pop(file, None)
        self._checked[file] = (stamp, True)
        return True

    def _skip(self, file: Path, reason: str, stamp: tuple[int, int] | None) -> bool:
        self._problems[file] = Problem(file, reason)
        if stamp:
            self._checked[file] = (stamp, False)
        return False

    @property
    def problems(self) -> list[Problem]:
        """What could not be read in the tables, checked now."""
        for name in TABLES:
            self.parts(name)
        return [self._problems[file] for file in sorted(self._problems)]

    def query(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> pd.DataFrame:
        """Run SQL (DuckDB) over the run's tables, each a view by its name; absent tables are empty views.

        Parameters are bound as ``?`` or ``$name``, never pasted into the text.

        Raises:
            RunFormatError: a part turned out to be damaged inside (names the file when it can be told).
        """
        import duckdb

        with duckdb.connect() as connection:
            connection.execute("SET threads = 2")
            for name in TABLES:
                if name in sql:  # a view costs a look at every part of its table
                    connection.execute(self._view(name))
            try:
                return connection.execute(sql, parameters).df()
            except duckdb.Error as error:
                if self.drop_damaged_parts():
                    return self.query(sql, parameters)
                if isinstance(error, (duckdb.IOException, duckdb.InvalidInputException)):
                    raise RunFormatError(f"{self.path}: the tables cannot be read: {error}") from None
                raise

    def _view(self, table: str) -> str:
        parts = self.parts(table)
        if parts:
            files = ", ".join("'" + str(part).replace("'", "''") + "'" for part in parts)
            return f"CREATE VIEW {table} AS SELECT * FROM read_parquet([{files}], union_by_name = true)"
        kinds = {"int": "BIGINT", "float": "DOUBLE", "text": "VARCHAR", "any": "DOUBLE", "bytes": "BLOB"}
        kinds |= {"ints": "BIGINT[]", "floats": "DOUBLE[]"}
        columns = ", ".join(f'NULL::{kinds[kind]} AS "{name}"' for name, kind in TABLES[table].columns.items())
        return f"CREATE VIEW {table} AS SELECT {columns} WHERE false"

    def drop_damaged_parts(self) -> bool:
        """Read every part in full; leave out those whose data pages are damaged. Whether any was found."""
        found = False
        for name in TABLES:
            for file in self.parts(name):
                try:
                    pq.read_table(file)
                except Exception as error:  # as above: any failure means damaged
                    stat = file.stat()
                    self._skip(file, f"skipped, its data is damaged ({error})", (stat.st_size, stat.st_mtime_ns))
                    found = True
        return found

    def table(self, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """A whole table as a DataFrame, in the order of recording.

        Raises:
            MissingTable: the run has no such table.
        """
        self.require(name)
        flat = self._flat(name, columns)
        if flat is not None:
            return flat
        chosen = "*" if columns is None else ", ".join(f'"{column}"' for column in columns)
        return self.query(f"SELECT {chosen} FROM {name}")

    def _flat(self, name: str, columns: Sequence[str] | None) -> pd.DataFrame | None:
        """A table of numbers and text alone, read without SQL, which is several times faster; None for any other."""
        schema = TABLES[name]
        if schema.optional or not {"int", "float", "text"} >= set(schema.columns.values()):
            return None
        if not set(columns or ()) <= set(schema.columns):
            return None
        chosen = None if columns is None else list(columns)
        try:
            parts = [pq.read_table(part, columns=chosen, partitioning=None) for part in self.parts(name)]
            return pa.concat_tables(parts, promote_options="default").to_pandas()
        except (pa.ArrowException, OSError):  # a damaged part, or parts of different types: SQL says which, or unites
            return None

    def columns(self, table: str) -> tuple[str, ...]:
        """Column names of a table over all its parts; empty when it is absent."""
        names: dict[str, None] = {}
        for part in self.parts(table):
            names |= dict.fromkeys(pq.read_schema(part).names)
        return tuple(names)

    # -- gradients --------------------------------------------------------------------------------------------------

    def gramian_steps(self) -> list[int]:
        """The steps at which task gradients were recorded, in order."""
        return list(self._gradient_index()[0].steps)

    def gramian_axes(self) -> tuple[tuple[str, ...], tuple[str, ...], int]:
        """Modules, tasks and the number of mini-batches of the recorded task gradients, over all steps."""
        index, _ = self._gradient_index()
        modules = _order(index.modules, [module.name for module in self.info.modules])
        return tuple(modules), tuple(_order(index.tasks, self.task_names)), index.n_batches

    def nonfinite_gradients(self) -> dict[str, int]:
        """Task -> number of recorded steps at which some squared norm of its gradient is NaN or infinite."""
        return {task: len(steps) for task, steps in (self._gradient_index()[0].nonfinite or {}).items()}

    def gramians(
        self,
        steps: Sequence[int] | None = None,
        axes: tuple[tuple[str, ...], tuple[str, ...], int] | None = None,
    ) -> dict[int, Gramian]:
        """The recorded cross-Gramians by step, modules and tasks in the order of run.json.

        Entries that were not recorded are NaN. ``steps`` limits what is read (by default every recorded step), so that
        a large record can be read piece by piece; ``axes`` from :meth:`gramian_axes` then saves looking again.
        """
        _, parts = self._gradient_index()
        try:
            return gradients.read(parts, steps, axes or self.gramian_axes())
        except (pa.ArrowException, OSError) as error:
            return self._again(error, lambda: self.gramians(steps, axes))

    def _gradient_index(self) -> tuple[gradients.PartIndex, dict[Path, gradients.PartIndex]]:
        """What the recorded task gradients hold, all together and by part."""
        self.require(gradients.TABLE)
        parts = self.parts(gradients.TABLE)
        try:
            with self._lock:
                known, self._indexes = self._indexes, {}
                for part in parts:
                    key = (part, self._checked[part][0])
                    self._indexes[key] = known.get(key) or gradients.index_of(part)
                by_part = {part: index for (part, _), index in self._indexes.items()}
        except (pa.ArrowException, OSError) as error:
            return self._again(error, self._gradient_index)
        return gradients.joined(by_part.values()), by_part

    def _again(self, error: Exception, read: Callable[[], Any]) -> Any:
        """Read once more without the damaged parts; nothing damaged to be found: say what went wrong."""
        if self.drop_damaged_parts():
            return read()
        raise RunFormatError(f"{self.path}: the tables cannot be read: {error}") from None

    # -- arrays -----------------------------------------------------------------------------------------------------

    def array_steps(self, name: str) -> list[int]:
        """The steps at which an array was recorded, in order."""
        self.sync()
        files = (self.path / "arrays" / folder_name(name)).glob("step-*.safetensors")
        return sorted(int(file.stem.removeprefix("step-")) for file in files)

    @property
    def array_names(self) -> tuple[str, ...]:
        """Names under which arrays were recorded."""
        self.sync()
        return tuple(
            sorted(unfolder_name(folder.name) for folder in (self.path / "arrays").glob("*") if folder.is_dir())
        )

    def array(self, name: str, step: int) -> dict[str, np.ndarray]:
        """The arrays recorded under a name at a step.

        Raises:
            MissingTable: nothing was recorded there.
            RunFormatError: the file is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        self.sync()
        file = self.path / "arrays" / folder_name(name) / f"step-{step:08d}.safetensors"
        try:
            return load_file(file)
        except FileNotFoundError:
            steps = self.array_steps(name)
            raise MissingTable(
                f"Run '{self.name}' has no array '{name}' at step {step}; recorded steps: {steps}."
            ) from None
        except (SafetensorError, OSError, ValueError) as error:
            raise RunFormatError(f"{file} is damaged and was skipped ({error}).") from None

    def embedding(self, layer: str, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings [N, D] of a layer at a step as float32, and the sample ids [N] of their rows."""
        values = self.array(f"embeddings.{layer}", step)["embeddings"].astype(np.float32)
        index = self.query(
            "SELECT row, sample FROM embeddings WHERE layer = ? AND step = ? ORDER BY row", [layer, step]
        )
        rows = index["row"].to_numpy()
        if len(rows) and rows.max() >= len(values):
            raise RunFormatError(
                f"{self.path}: the index of layer '{layer}' at step {step} names row {rows.max()}, "
                f"but the array has {len(values)} rows."
            )
        return values[rows], index["sample"].to_numpy()

    def checkpoints(self) -> dict[int, Path]:
        """Checkpoint files by step."""
        self.sync()
        files = sorted((self.path / "checkpoints").glob("step-*.safetensors"))
        return {int(file.stem.removeprefix("step-")): file for file in files}


def _order(found: Sequence[Any], declared: Sequence[str]) -> list[str]:
    """The found names: the declared ones first in their order, then the others as they came."""
    names = [str(name) for name in found]
    return [name for name in declared if name in names] + [name for name in names if name not in declared]
