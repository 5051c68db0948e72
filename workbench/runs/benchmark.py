"""How long does a scalar log take to open, beside TensorBoard's reader and a second opening, and in how much memory?

CPU time of this process. In every round all approaches open the same log one after the other; the table shows the
median of the rounds' ratios to the event-file parser here, with quartiles. Memory is that of a fresh process which has
opened a small log before: how far its peak rises with the first opening of the log, over the size of the log.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from workbench.core import RunWriter
from workbench.runs import tfevents
from workbench.runs.export import export
from workbench.runs.foreign import ForeignRun
from workbench.runs.formats import open_run

#: The measured rise of memory stands under this name, in bytes a byte of the log; all others are seconds.
MEMORY = "memory of the first opening"
FIRST, AGAIN = "open it as a run for the first time", "open it again (from the cache)"
_FIRST_OPENING = """
import sys
from workbench.runs import open_run
from workbench.core.memory import peak_megabytes_of_this_process as peak
open_run(sys.argv[1]).table("scalars")
before = peak()
open_run(sys.argv[2]).sync()
print(peak() - before)
"""


def run(points: int = 1_000_000, tags: int = 50, rounds: int = 5) -> dict[str, tuple[float, ...]]:
    """CPU seconds of every approach in every round, on one event file of ``points`` scalars under ``tags`` names."""
    with tempfile.TemporaryDirectory() as folder:
        log = _event_file(Path(folder) / "large", points, tags)
        small = _event_file(Path(folder) / "small", 1000, tags)
        calls = _approaches(log)
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                begin = time.process_time()
                call()
                seconds[name].append(time.process_time() - begin)
        size = sum(file.stat().st_size for file in log.iterdir()) / 2**20
        risen = tuple(_risen(small, log, Path(folder) / f"cache-{i}") / size for i in range(min(rounds, 3)))
    return {name: tuple(values) for name, values in seconds.items()} | {MEMORY: risen}


def _risen(small: Path, log: Path, cache: Path) -> float:
    """Megabytes by which the peak of a fresh process rises when it opens the log for the first time."""
    command = [sys.executable, "-c", _FIRST_OPENING, str(small), str(log)]
    environment = os.environ | {"WORKBENCH_CACHE_DIR": str(cache)}
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def markdown(seconds: Mapping[str, tuple[float, ...]]) -> str:
    """The measured times as a Markdown table of ratios to the parser."""
    base = np.array(seconds["parse the event file"])
    lines = ["| opening a scalar log | CPU time / parsing it here: median (quartiles) |", "|---|---|"]
    for name, values in seconds.items():
        if name != MEMORY:
            low, middle, high = np.percentile(np.array(values) / base, (25, 50, 75))
            lines.append(f"| {name} | {middle:.2f} ({low:.2f}–{high:.2f}) |")
    first, again = (np.array(seconds[name]) for name in (FIRST, AGAIN))
    lines.append(f"\nThe second opening is {np.median(first / again):.1f} times as fast as the first.")
    if MEMORY in seconds:
        lines.append(f"The first opening holds {np.median(seconds[MEMORY]):.1f} bytes more for each byte of the log.")
    return "\n".join(lines) + "\n"


def _event_file(folder: Path, points: int, tags: int) -> Path:
    rng = np.random.default_rng(0)
    with RunWriter(folder / "run", flush_seconds=float("inf")) as rec:
        names = np.array([f"layer.{tag % 7}/metric.{tag}" for tag in range(tags)], dtype=object)
        steps = np.arange(points) // tags
        columns = {"step": steps, "tag": names[np.arange(points) % tags], "value": rng.normal(size=points)}
        rec.write("scalars", columns | {"wall_time": 1.7e9 + steps.astype(float)})
    export(open_run(folder / "run"), folder / "log", "tensorboard")
    return folder / "log"


def _approaches(log: Path) -> dict[str, Callable[[], object]]:
    (file,) = log.iterdir()
    calls: dict[str, Callable[[], object]] = {
        "parse the event file": lambda: tfevents.parse(file.read_bytes()),
        FIRST: lambda: _first_opening(log),
        AGAIN: lambda: open_run(log).table("scalars"),
    }
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        return calls
    calls["TensorBoard's EventAccumulator"] = lambda: _accumulated(EventAccumulator, log)
    return calls


def _first_opening(log: Path) -> object:
    opened = open_run(log)
    assert isinstance(opened, ForeignRun)
    opened.forget()
    return opened.table("scalars")


def _accumulated(accumulator: Callable[..., object], log: Path) -> object:
    found = accumulator(str(log), size_guidance={"scalars": 0})
    found.Reload()  # type: ignore[attr-defined]
    return [found.Scalars(tag) for tag in found.Tags()["scalars"]]  # type: ignore[attr-defined]
