"""How long does a scalar log take to open, beside TensorBoard's own reader and a second opening?

CPU time of this process. In every round all approaches open the same log one after the other; the table shows the
median of the rounds' ratios to the event-file parser here, with quartiles.
"""

from __future__ import annotations

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


def run(points: int = 100_000, tags: int = 50, rounds: int = 5) -> dict[str, tuple[float, ...]]:
    """CPU seconds of every approach in every round, on one event file of ``points`` scalars under ``tags`` names."""
    with tempfile.TemporaryDirectory() as folder:
        log = _event_file(Path(folder), points, tags)
        calls = _approaches(log)
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                begin = time.process_time()
                call()
                seconds[name].append(time.process_time() - begin)
    return {name: tuple(values) for name, values in seconds.items()}


def markdown(seconds: Mapping[str, tuple[float, ...]]) -> str:
    """The measured times as a Markdown table of ratios to the parser."""
    base = np.array(seconds["parse the event file"])
    lines = ["| opening a scalar log | CPU time / parsing it here: median (quartiles) |", "|---|---|"]
    for name, values in seconds.items():
        low, middle, high = np.percentile(np.array(values) / base, (25, 50, 75))
        lines.append(f"| {name} | {middle:.2f} ({low:.2f}–{high:.2f}) |")
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
        "open it as a run for the first time": lambda: _first_opening(log),
        "open it again (from the cache)": lambda: open_run(log).table("scalars"),
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
