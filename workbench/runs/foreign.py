"""A run that is read from a foreign log: converted when first needed, and again when the log has grown."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from workbench.core import Problem, Run, RunFormatError, RunInfo, RunWriter
from workbench.core.files import cache_folder
from workbench.runs.format import Format

logger = logging.getLogger(__name__)

#: The log's files are looked at again after this many seconds at the earliest.
RECHECK_SECONDS = 1.0
#: Part of every cache key: raise it when a reader changes what it writes.
CACHE_VERSION = 4


class ForeignRun(Run):
    """A :class:`Run` over a log of another program.

    The tables are made in the user's cache folder (``WORKBENCH_CACHE_DIR`` overrides it); the log is never written to.
    Until its description or a table is asked for, only ``listed`` is known: where the run comes from.
    """

    def __init__(self, source: str | Path, log_format: Format) -> None:
        self.format = log_format
        self._read_problems: list[Problem] = []
        self._home = cache_folder() / "imported" / _digest(f"{log_format.slug} {Path(source).resolve()}")
        self._looked = 0.0
        super().__init__(self._home / "not-read-yet", source=Path(source))

    def _read_info(self) -> RunInfo:
        if (self.path / "run.json").exists():
            return super()._read_info()
        assert self.source is not None
        name = self.format.slug.partition("/")[2] or self.source.name
        return RunInfo(name=name, question=f"Read from {self.format.name}.")

    @property
    def info(self) -> RunInfo:
        """The run's description, after reading the log."""
        self.sync()
        return self._info

    def sync(self) -> None:
        """Convert the log unless the conversion in the cache is of its present state."""
        assert self.source is not None
        with self._lock:
            if time.monotonic() - self._looked < RECHECK_SECONDS:
                return
            target = self._home / self._stamp()
            if not (target / "run.json").exists():
                self._convert(target)
            self._looked = time.monotonic()
            if self.path != target:
                self.path = target
                self._info = self._read_info()
                self._read_problems = _load_problems(target)

    @property
    def identity(self) -> Path:
        """The run's own folder in the cache."""
        return self._home

    @property
    def modified(self) -> float:
        """Unix time of the newest file of the log."""
        assert self.source is not None
        return max((file.stat().st_mtime for file in self.format.sources(self.source)), default=0.0)

    def fingerprint(self) -> str:
        """A digest of the log's state; it is not read for that."""
        return self._stamp()

    def forget(self) -> None:
        """Throw the conversion away; the next look at the run reads the log again."""
        with self._lock:
            shutil.rmtree(self._home, ignore_errors=True)
            self._looked = 0.0

    @property
    def problems(self) -> list[Problem]:
        """What could not be read in the log, and in its converted tables."""
        return [*super().problems, *self._read_problems]

    def _stamp(self) -> str:
        assert self.source is not None
        lines = [f"{CACHE_VERSION} {self.format.slug}"]
        for file in self.format.sources(self.source):
            stat = file.stat()
            lines.append(f"{file} {stat.st_size} {stat.st_mtime_ns}")
        return _digest("\n".join(lines))

    def _convert(self, target: Path) -> None:
        assert self.source is not None
        self._home.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix="converting-", dir=self._home))
        try:
            convert(self.source, self.format, temporary)
            for old in self._home.iterdir():
                if old.name not in (temporary.name, target.name) and not old.name.startswith("converting-"):
                    shutil.rmtree(old, ignore_errors=True)
            try:
                temporary.replace(target)
            except OSError:
                if not (target / "run.json").exists():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def convert(source: Path, log_format: Format, out: Path) -> list[Problem]:
    """Write a native run from a foreign log; what could not be read is returned and kept beside run.json.

    Raises:
        RunFormatError: the log cannot be read at all (names the file and the reason).
    """
    name = log_format.slug.partition("/")[2] or source.resolve().name
    with RunWriter(out, name=name, flush_seconds=float("inf"), overwrite=True) as writer:
        try:
            newest = max((file.stat().st_mtime for file in log_format.sources(source)), default=0.0)
            created = datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds")
            writer.update(code={}, versions={}, created=created, question=f"Read from {log_format.name}.")
            problems = log_format.read(source, writer)
        except OSError as error:
            raise RunFormatError(f"{source} cannot be read: {error}.") from None
        writer.update(notes=(*writer.info.notes, *(str(problem) for problem in problems)))
    lines = [{"path": str(problem.path), "reason": problem.reason} for problem in problems]
    (out / "problems.json").write_text(json.dumps(lines), encoding="utf-8")
    logger.info("Read %s as %s with %d problem(s).", source, log_format.name, len(problems))
    return problems


def _load_problems(folder: Path) -> list[Problem]:
    try:
        lines = json.loads((folder / "problems.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [Problem(Path(line["path"]), line["reason"]) for line in lines]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
