"""How much memory does reading a log of each format take, over the size of the log?

A fresh process reads the log into a run as ``workbench import`` does; another one reads a tiny log of the same format.
The difference of their peaks over the size of the log is free of what Python and the libraries take by themselves.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from workbench.runs.large_logs import LOGS

_READ = """
import sys, tempfile
from pathlib import Path
from workbench.runs import format_of
from workbench.runs.foreign import convert
from workbench.core.memory import peak_megabytes_of_this_process as peak
path = Path(sys.argv[1])
with tempfile.TemporaryDirectory() as out:
    convert(path, format_of(path), Path(out) / "run")
    print(peak())
"""

#: Said beside the figure of a packed table.
PACKED = "A Parquet file packs a row into a few bytes. To number samples that have several rows takes 12 bytes a row."


def measure(megabytes: float = 60.0, formats: tuple[str, ...] = ()) -> dict[str, tuple[float, float]]:
    """For each format (all by default): the log's size in MB, and bytes of memory for each of its bytes."""
    found = {}
    for name in formats or tuple(LOGS):
        with tempfile.TemporaryDirectory() as folder:
            small, large = Path(folder) / "small", Path(folder) / "large"
            logs = [LOGS[name](place, size) for place, size in ((small, 0.05), (large, megabytes))]
            size = sum(file.stat().st_size for file in large.rglob("*") if file.is_file()) / 2**20
            least, most = (_peak(log) for log in logs)
            found[name] = size, max(0.0, most - least) / size
    return found


def markdown(measured: Mapping[str, tuple[float, float]]) -> str:
    """The measured figures as a Markdown table."""
    lines = ["| log | size in MB | bytes of memory for each byte of the log |", "|---|---|---|"]
    lines += [f"| {name} | {size:.0f} | {ratio:.2f} |" for name, (size, ratio) in measured.items()]
    return "\n".join([*lines, "", *([PACKED] if "Parquet of predictions" in measured else [])]).rstrip() + "\n"


def _peak(log: Path) -> float:
    done = subprocess.run([sys.executable, "-c", _READ, str(log)], check=True, capture_output=True, text=True)
    return float(done.stdout)
