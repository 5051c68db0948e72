"""What a list of runs shows of each run: the verdict of every lens and the course of one number.

Five lenses over many runs take longer than a person waits, and a finished run does not change. So an entry is kept on
disk, with the run's fingerprint and the version of the lenses that made it, and many runs are read by a process of
their own: :meth:`Board.read_in_background`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.core import Run, WorkbenchError
from workbench.core.files import cache_folder, write_content_atomically
from workbench.lenses import LENSES, scalars
from workbench.lenses.base import Verdict, verdict_of
from workbench.runs import RunCollection, open_runs

logger = logging.getLogger(__name__)

#: Points of a sparkline.
SPARK_POINTS = 40


@dataclass(frozen=True)
class Entry:
    """A run in one line.

    Attributes:
        verdicts: The first verdict of every lens by its slug, in the order of LENSES.
        tag: The scalar shown as a sparkline; None when the run logged none.
        sparkline: Its course in at most :data:`SPARK_POINTS` finite values.
        last_step: The last step with a logged scalar.
        fingerprint: State of the run that was read.
    """

    verdicts: Mapping[str, Verdict]
    tag: str | None = None
    sparkline: tuple[float, ...] = ()
    last_step: int | None = None
    fingerprint: str = ""


def entry(run: Run) -> Entry:
    """Read a run through every lens. A lens that fails on it is a "cannot tell" that says so."""
    fingerprint = run.fingerprint()
    verdicts = {}
    for lens in LENSES:
        try:
            verdicts[lens.slug] = verdict_of(run, lens)
        except Exception as error:  # one odd run must not empty the list of all runs
            logger.exception("The lens '%s' failed on %s", lens.slug, run.path)
            said = f"This lens failed on the run ({type(error).__name__}: {error})."
            verdicts[lens.slug] = Verdict("cannot tell", said, "Open the page of the lens to see where.")
    return replace(_course(run), verdicts=verdicts, fingerprint=fingerprint)


def _course(run: Run) -> Entry:
    try:
        tag = scalars.main_tag(run, list(scalars.summary(run)["tag"]))
        stats = scalars.statistics(run, tags=[tag] if tag else [], buckets=SPARK_POINTS)
    except WorkbenchError:
        return Entry({})
    if tag is None:
        return Entry({})
    values = stats.curves["value"].to_numpy(dtype=float)
    return Entry({}, tag, tuple(values[np.isfinite(values)].tolist()), int(stats.tags["last_step"].max()))


class Board:
    """Entries of runs, kept in a folder (the user's cache folder by default), one file a run."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "board"
        self._read: dict[Path, tuple[int, Entry]] = {}

    def known(self, run: Run) -> Entry | None:
        """The last entry made of a run, without computing anything; its fingerprint tells whether it is due."""
        file = self._file(run)
        try:
            stamp = file.stat().st_mtime_ns
            if file in self._read and self._read[file][0] == stamp:
                return self._read[file][1]
            data = json.loads(file.read_text("utf-8"))
            if data.pop("version") != lens_version():
                return None
            data["verdicts"] = {slug: Verdict(**verdict) for slug, verdict in data["verdicts"].items()}
            found = Entry(**data | {"sparkline": tuple(data["sparkline"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        self._read[file] = (stamp, found)
        return found

    def read(self, run: Run) -> Entry:
        """The entry of a run as it is now, computed when it is not known."""
        known = self.known(run)
        if known is not None and known.fingerprint == run.fingerprint():
            return known
        made = entry(run)
        text = json.dumps(asdict(made) | {"version": lens_version()})
        self.folder.mkdir(parents=True, exist_ok=True)
        write_content_atomically(self._file(run), text)
        return made

    def read_in_background(self, folder: Path) -> subprocess.Popen[bytes]:
        """Start a process that reads every run below a folder; its entries appear in :meth:`known` one by one."""
        command = [sys.executable, "-m", __name__, str(folder), str(self.folder), str(os.getpid())]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def _file(self, run: Run) -> Path:
        return self.folder / f"{hashlib.sha256(str(run.identity).encode()).hexdigest()[:32]}.json"


def state(run: Run) -> str:
    """live, done, failed or stopped: what the recorder wrote last, and whether it is still at work."""
    if run.is_live:
        return "live"
    return "stopped" if run.listed.status == "recording" else run.listed.status


def frame(runs: RunCollection, board: Board) -> pd.DataFrame:
    """One row a run: what run.json says, its state and age, and what the board knows of it.

    Columns: run, name, question, recipe, method, seed, state, age (seconds since the last file), step, tag, course, one
    column a lens with the level of its first verdict (None where not known yet), and due (whether the board's entry is
    missing or older than the run).
    """
    rows = []
    for key, run in runs.items():
        info, known = run.listed, board.known(run)
        row: dict[str, Any] = {"run": key, "name": run.name, "question": info.question, "recipe": info.recipe}
        row |= {"method": info.method, "seed": info.seed, "state": state(run)}
        row |= {"age": max(time.time() - run.modified, 0.0)}
        row |= {"step": known.last_step, "tag": known.tag, "course": list(known.sparkline)} if known else {}
        row |= {lens.slug: known.verdicts[lens.slug].level if known else None for lens in LENSES}
        rows.append(row | {"due": known is None or known.fingerprint != run.fingerprint()})
    columns = ["run", "name", "question", "recipe", "method", "seed", "state", "age", "step", "tag", "course"]
    return pd.DataFrame(rows, columns=[*columns, *(lens.slug for lens in LENSES), "due"])


def matching(rows: pd.DataFrame, text: str = "", states: Sequence[str] = ()) -> pd.DataFrame:
    """The rows of :func:`frame` that hold every word of the text, in one of the states (in any when none is given)."""
    described = rows[["run", "name", "question", "recipe", "method"]].fillna("").astype(str)
    lines = [" ".join(line).lower() for line in described.itertuples(index=False)]
    hit = [all(word in line for word in text.lower().split()) for line in lines]
    return rows[pd.Series(hit, index=rows.index, dtype=bool) & (rows["state"].isin(states) if states else True)]


def group_question(questions: pd.Series) -> str:
    """The question that a group of runs answers: the most frequent one, the first of those."""
    asked = [question for question in questions if isinstance(question, str) and question]
    return max(asked, key=asked.count) if asked else ""


@cache
def lens_version() -> str:
    """Changes whenever the code of the lenses or of the reader does."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for file in sorted([*(package / "lenses").rglob("*.py"), *(package / "core").rglob("*.py")]):
        stat = file.stat()
        digest.update(f"{file.relative_to(package)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:12]


def main(folder: str, board_folder: str, parent: str) -> None:
    """Read every run below a folder, politely, for as long as the process that asked for it lives."""
    if hasattr(os, "nice"):
        os.nice(10)
    board = Board(Path(board_folder))
    for run in dict(open_runs(folder).items()).values():
        if hasattr(os, "getppid") and os.getppid() != int(parent):
            return
        board.read(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
