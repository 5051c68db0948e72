"""Many runs in one folder, found without opening them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from workbench.core import ConfigError, Problem, Run, RunFormatError
from workbench.runs.formats import AIM, format_of, is_aim, is_run, open_members
from workbench.runs.tables import SUFFIXES

#: Endings of files that may be a run of their own.
FILE_SUFFIXES = (*SUFFIXES, ".db", ".sqlite", ".sqlite3", ".pyd", ".json", ".txt", ".log", ".out")
#: How many folders deep runs are looked for.
MAX_DEPTH = 4


class RunCollection:
    """The runs below a folder, by their path relative to it; reads only run.json files.

    Logs of other programs count as runs; they are read when their first table is asked for. A folder that is itself a
    run is a collection of one, under its own name. Folders whose run.json cannot be read are listed in
    :attr:`problems`.

    Raises:
        RunFormatError: the folder does not exist.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir() and not is_run(self.folder):
            raise RunFormatError(f"{self.folder} is not a folder. Give a run folder, or a folder that holds runs.")
        self._runs: dict[str, Run] = {}
        self.problems: list[Problem] = []
        self.refresh()

    def refresh(self) -> None:
        """Look again: new runs appear, changed ones are read again, deleted ones go."""
        runs: dict[str, Run] = {}
        problems = []
        for path in _run_folders(self.folder, MAX_DEPTH):
            key = path.relative_to(self.folder).as_posix() if path != self.folder else path.resolve().name
            try:
                found = open_members(path)
            except RunFormatError as error:
                problems.append(Problem(path, str(error)))
                continue
            for name, run in found.items():
                full = f"{key}/{name}" if name else key
                known = self._runs.get(full)
                # A foreign run that was read already keeps what it knows; it looks for changes by itself.
                runs[full] = known if known is not None and known.source is not None else run
        if is_aim(self.folder):
            problems.append(Problem(self.folder, AIM))
        self._runs = dict(sorted(runs.items()))
        self.problems = problems

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __contains__(self, key: object) -> bool:
        return key in self._runs

    def __getitem__(self, key: str) -> Run:
        try:
            return self._runs[key]
        except KeyError:
            known = ", ".join(list(self._runs)[:10]) or "none"
            raise ConfigError(f"There is no run '{key}' in {self.folder}. Runs: {known}.") from None

    def items(self) -> Iterator[tuple[str, Run]]:
        return iter(self._runs.items())

    def frame(self) -> pd.DataFrame:
        """One row a run: key, name, question, recipe, method, seed, status, created."""
        columns = ("name", "question", "recipe", "method", "seed", "status", "created")
        rows = [{"run": key} | {column: getattr(run.listed, column) for column in columns} for key, run in self.items()]
        return pd.DataFrame(rows, columns=["run", *columns])


def _run_folders(folder: Path, depth: int) -> Iterator[Path]:
    """Folders and tables that are a run of any format; inside a run only those that its format names."""
    taken: set[str] = set()
    if is_run(folder):
        yield folder
        found = None if (folder / "run.json").is_file() else format_of(folder)
        if found is not None and found.inner is not None:
            yield from found.inner(folder)
        if found is None or not found.shares:
            return
        taken = {file.relative_to(folder).parts[0] for file in found.sources(folder)}
    if depth == 0 or not folder.is_dir():
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError:
        return
    for entry in entries:
        to_itself = entry.is_symlink() and Path(entry.path).resolve().parent == folder.resolve()
        if entry.name.startswith(".") or entry.name in taken or to_itself:
            continue
        if entry.is_dir():
            yield from _run_folders(Path(entry.path), depth - 1)
        elif Path(entry.name).suffix.lower() in FILE_SUFFIXES and is_run(Path(entry.path)):
            yield Path(entry.path)
