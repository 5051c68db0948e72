"""Do ten million predictions stay interactive? From Parquet files to all groups, pairs and triples with intervals.

Wall time, because that is what a reader waits for, and CPU time, because other processes may take the cores. The bare
query reads the same columns, joins them and counts all combinations, with neither values nor intervals: what the lens
takes beyond it is the price of its statistics.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from workbench.core import Run
from workbench.lenses.bias.benchmark import FACTORS, draw, write
from workbench.lenses.bias.statistics import statistics

ROWS = 10_000_000
BARE = "bare query: read, join and count every combination"
LENS = "bias lens: all groups, pairs and triples with intervals and tests"
DETAILS = "the same with rates by class, calibration and bootstraps"
#: What the lens is to stay below when its files are warm, in seconds on two idle cores.
TARGET = 2.0


def run(rows: int = ROWS, rounds: int = 5) -> dict[str, tuple[tuple[float, float], ...]]:
    """Wall and CPU seconds of every approach in every round, warm: the first, uncounted round reads the files."""
    seconds: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        recorded = write(Path(folder) / "run", draw(rows))
        calls = approaches(recorded)
        for number in range(rounds + 1):
            for name, call in calls.items():
                wall, cpu = time.perf_counter(), time.process_time()
                call()
                if number:
                    taken = (time.perf_counter() - wall, time.process_time() - cpu)
                    seconds.setdefault(name, []).append(taken)
    return {name: tuple(values) for name, values in seconds.items()}


def approaches(recorded: Run) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    keys = ", ".join(f"s.{name}" for name in FACTORS)
    bare = (
        f"SELECT {keys}, count(*) AS n, sum(CAST(p.prediction = s.target_answer AS INTEGER)) AS hits "
        f"FROM predictions p JOIN samples s USING (sample) GROUP BY {keys}"
    )
    return {
        BARE: lambda: recorded.query(bare),
        LENS: lambda: statistics(recorded, details=False),
        DETAILS: lambda: statistics(recorded, details=True),
    }


def markdown(seconds: Mapping[str, tuple[tuple[float, float], ...]], rows: int = ROWS) -> str:
    """The measured times as a Markdown table, with what else the machine did."""
    lines = [
        "| what | wall seconds: median (range) | CPU seconds: median (range) | wall time / the bare query's |",
        "|---|---|---|---|",
    ]
    bare = np.array(seconds[BARE])[:, 0]
    for name, values in seconds.items():
        wall, cpu = np.array(values).T
        lines.append(f"| {name} | {_range(wall)} | {_range(cpu)} | {_range(wall / bare)} |")
    lens = float(np.median([wall for wall, _ in seconds[LENS]]))
    verdict = "met" if lens <= TARGET else "not met in this measurement"
    note = (
        f"{rows:,} predictions with {len(FACTORS)} attributes, from Parquet files that the system holds in memory, on "
        f"{os.cpu_count()} cores; {_busy()}. Aim: {TARGET:g} wall seconds on two idle cores ({verdict})."
    )
    return "\n".join([*lines, "", note]) + "\n"


def _busy() -> str:
    """How many processes wanted a core, this one among them, over the last five minutes."""
    return f"on average {os.getloadavg()[1]:.1f} processes, this one among them, wanted a core"


def _range(values: np.ndarray) -> str:
    return f"{np.median(values):.2f} ({values.min():.2f}–{values.max():.2f})"
