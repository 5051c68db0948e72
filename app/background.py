"""Commands of the terminal that run beside the app: with progress, with an end on request, on any page.

work = start("train digit-pairs", ["train", "digit-pairs", "--out", str(folder)])
follow(work)          # a bar, a stop button; runs the page again when the work is over
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Literal

import streamlit as st

import parts
from workbench.core.files import cache_folder

State = Literal["running", "done", "failed", "stopped"]

#: How often running work is looked at, in seconds.
SECONDS = 1.0
#: How long work that was asked to end may take to close its files, in seconds.
PATIENCE = 20.0
#: Shell's exit code of a command that ended by Ctrl+C.
INTERRUPTED = 130


@dataclass
class Work:
    """A command of the terminal in a process of its own."""

    title: str
    folder: Path
    process: subprocess.Popen[bytes]
    begun: float = field(default_factory=time.monotonic)
    asked_to_stop: float | None = None

    @property
    def state(self) -> State:
        code = self.process.poll()
        if code is None:
            if self.asked_to_stop is not None and time.monotonic() - self.asked_to_stop > PATIENCE:
                self.process.kill()
            return "running"
        if code == 0:
            return "done"
        return "stopped" if self.asked_to_stop is not None or code == INTERRUPTED else "failed"

    @property
    def progress(self) -> tuple[int, int]:
        """How much is done, of how much; (0, 0) before the work says so."""
        try:
            found = json.loads((self.folder / "progress.json").read_text(encoding="utf-8"))
            return int(found["done"]), int(found["total"])
        except (OSError, ValueError, KeyError):
            return 0, 0

    @property
    def reason(self) -> str:
        """The last line that it wrote."""
        lines = (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else f"exit code {self.process.returncode}, no output"

    def stop(self) -> None:
        """Ask it to end after the step in hand; what it wrote is kept."""
        if self.process.poll() is None:
            self.asked_to_stop = time.monotonic()
            self.process.send_signal(signal.SIGINT)


@st.cache_resource(show_spinner=False)
def _works() -> dict[str, Work]:
    """All work of this server by title; it goes on when its page is left or closed."""
    return {}


def find(title: str) -> Work | None:
    """The work of that title, running or over."""
    return _works().get(title)


def start(title: str, command: list[str]) -> Work:
    """Start a command of the terminal; the one that runs under this title already is returned instead."""
    known = find(title)
    if known is not None and known.state == "running":
        return known
    place = cache_folder() / "work"
    place.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(dir=place))
    line = [sys.executable, "-m", "workbench", *command, "--progress-file", str(folder / "progress.json")]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=os.environ | _WIDE
        )
    _works()[title] = Work(title, folder, process)
    return _works()[title]


#: Error lines are read again, so they must not be wrapped.
_WIDE = {"COLUMNS": "500"}


def follow(work: Work, live: Callable[[], None] = lambda: None) -> State:
    """Draw how far work is, with a button that stops it; the page runs again when it is over.

    Args:
        live: Draws what there is to see already, again with each look.
    """
    state = work.state
    if state == "running":
        st.fragment(partial(_look, work, live), run_every=SECONDS)()
    elif state == "failed":
        st.error(parts.plain(work.reason), icon=":material/error:")
    elif state == "stopped":
        st.info("Stopped. What was recorded until then is kept.", icon=":material/stop_circle:")
    return state


def _look(work: Work, live: Callable[[], None]) -> None:
    if work.state != "running":
        st.rerun(scope="app")
    done, total = work.progress
    words = f"{done:,} of {total:,}" if total else "starting"
    if total and 0 < done < total:
        left = (time.monotonic() - work.begun) * (total - done) / done
        words += f", about {parts.age(max(left, 60))} left" if left >= 60 else ", less than a minute left"
    if work.asked_to_stop is not None:
        words = "stopping after the step in hand"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(done / total if total else 0.0, text=f"{parts.plain(work.title)}: {words}", width="stretch")
        st.button("Stop", key=f"stop {work.title}", icon=":material/stop:", on_click=work.stop)
    live()
