"""LibMTL: what its trainer prints, saved to a text file.

A line ``LOG FORMAT | seg_LOSS mIoU pixAcc | depth_LOSS abs_err rel_err | TIME`` names the numbers of the lines
``Epoch: 0003 | TRAIN: 0.91 0.52 0.80 | 0.61 … | Time: 9.1 | TEST: …``. Tags are ``train/seg_LOSS``, ``test/mIoU``…
Tested with output made by LibMTL 1.1.5.
"""

from __future__ import annotations

import re
from pathlib import Path

from workbench.core import Problem, RunWriter
from workbench.runs.format import Format, Points, as_step

_SUFFIXES = (".txt", ".log", ".out")
_HEADER = "LOG FORMAT |"
_EPOCH = re.compile(r"Epoch:\s*(\d+)\s*\|(.*)")
_PHASE = re.compile(r"\b(TRAIN|VAL|TEST)\b:?")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)\b", re.IGNORECASE)


def recognises(path: Path) -> bool:
    if not path.is_file() or path.suffix not in _SUFFIXES:
        return False
    with path.open("rb") as stream:
        return _HEADER.encode() in stream.read(200_000)


def sources(path: Path) -> list[Path]:
    return [path]


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Every number of an epoch's line under its phase and name; lines with another count of numbers are skipped."""
    names: list[str] = []
    points, wall_time = Points(writer), path.stat().st_mtime
    n_skipped, first = 0, 0
    with path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            if _HEADER in line:
                names = [word for word in line.split(_HEADER, 1)[1].replace("|", " ").split() if word.upper() != "TIME"]
                continue
            match = _EPOCH.search(line)
            if not match or not names:
                continue
            step, pieces = as_step(int(match[1][:17]), number), _PHASE.split(match[2])
            for phase, text in zip(pieces[1::2], pieces[2::2], strict=True):
                numbers = _NUMBER.findall(text.split("Time:")[0])
                if len(numbers) == len(names):
                    for name, value in zip(names, numbers, strict=True):
                        points.add(step, f"{phase.lower()}/{name}", float(value), wall_time)
                else:
                    n_skipped, first = n_skipped + 1, first or number
    points.write()
    if not n_skipped:
        return []
    return [Problem(path, f"{n_skipped} part(s) of lines do not match LOG FORMAT, first in line {first}")]


FORMAT = Format("libmtl", "LibMTL output", recognises, sources, read)
