"""What the lenses computed, kept for as long as the run on disk does not change."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import streamlit as st

from workbench.core import Run
from workbench.lenses import Reading, lens, read
from workbench.lenses.board import Board
from workbench.lenses.scalars import Scalars, statistics

#: A folder whose verdicts are incomplete is read again no sooner than this, so that live runs do not keep it busy.
BOARD_SECONDS = 30.0


@st.cache_resource(max_entries=64, show_spinner=False)
def _reading(slug: str, path: Path, fingerprint: str, options: tuple[tuple[str, Any], ...], _run: Run) -> Reading:
    return read(_run, lens(slug), **dict(options))


def reading(run: Run, slug: str, **options: Any) -> Reading:
    """A run seen through a lens. Raises what the lens raises, e.g. MissingTable."""
    return _reading(slug, run.path, run.fingerprint(), tuple(sorted(options.items())), run)


@st.cache_resource(max_entries=64, show_spinner=False)
def _scalars(path: Path, fingerprint: str, tags: tuple[str, ...] | None, smoothing: float, _run: Run) -> Scalars:
    return statistics(_run, tags, smoothing)


def scalars(run: Run, tags: tuple[str, ...] | None = None, smoothing: float = 0.0) -> Scalars:
    """The thinned curves of a run. Raises MissingTable when it logged none."""
    return _scalars(run.path, run.fingerprint(), tags, smoothing, run)


@st.cache_resource(show_spinner=False)
def board() -> Board:
    return Board()


@st.cache_resource(show_spinner=False)
def _readers() -> dict[Path, tuple[float, subprocess.Popen[bytes]]]:
    """When each folder was last read in the background, and by which process."""
    return {}


def reading_in_background(folder: Path, due: bool) -> bool:
    """Whether a process is reading the runs of a folder; starts one when entries are due and none ran lately."""
    started, process = _readers().get(folder, (0.0, None))
    if process is not None and process.poll() is None:
        return True
    if due and time.monotonic() - started > BOARD_SECONDS:
        _readers()[folder] = (time.monotonic(), board().read_in_background(folder))
        return True
    return False
