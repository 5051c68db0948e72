"""How much memory does reading a log of each format take, over the size of the log?

A fresh process reads the log into a run as ``workbench import`` does; another one reads a tiny log of the same format.
The difference of their peaks over the size of the log is free of what Python and the libraries take by themselves.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

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


def rows_for(megabytes: float, bytes_a_row: int) -> int:
    """How many rows make a log of about that size."""
    return max(10, int(megabytes * 1e6 / bytes_a_row))


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
    return "\n".join(lines) + "\n"


def _peak(log: Path) -> float:
    done = subprocess.run([sys.executable, "-c", _READ, str(log)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def _transformers(folder: Path, megabytes: float) -> Path:
    return _json(folder, "trainer_state.json", '{"best": 1, "log_history": [', "]}", megabytes, _logged)


def _coco(folder: Path, megabytes: float) -> Path:
    names = json.dumps([{"id": i, "name": f"class {i}"} for i in range(80)])
    before = f'{{"images": [], "categories": {names}, "annotations": ['
    _json(folder, "coco.json", before, "]}", megabytes, _annotation)
    return folder


def _cockpit(folder: Path, megabytes: float) -> Path:
    return _json(
        folder, "log.json", "{", "}", megabytes, lambda i: f'"{i}": {{"GradNorm": [{_numbers(i)}], "Loss": 1}}'
    )


def _logged(i: int) -> str:
    loss, rate, norm = np.random.default_rng(i).random(3)
    return json.dumps({"epoch": i / 100, "grad_norm": norm, "learning_rate": rate, "loss": loss, "step": i})


def _annotation(i: int) -> str:
    box = np.random.default_rng(i).random(4).round(2).tolist()
    return json.dumps(
        {"id": i, "image_id": i // 7, "category_id": i % 80, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
    )


def _numbers(i: int) -> str:
    return ", ".join(map(str, np.random.default_rng(i).random(10)))


def _json(folder: Path, name: str, before: str, after: str, megabytes: float, entry: Callable[[int], str]) -> Path:
    folder.mkdir()
    with (folder / name).open("w", encoding="utf-8") as stream:
        stream.write(before)
        for i in range(rows_for(megabytes, len(entry(1000)) + 2)):
            stream.write((", " if i else "") + entry(i))
        stream.write(after)
    return folder / name


def _curves(megabytes: float, bytes_a_row: int = 62) -> pd.DataFrame:
    n = rows_for(megabytes, bytes_a_row)
    values = np.random.default_rng(0).random((n, 3))
    return pd.DataFrame({"step": np.arange(n), "loss": values[:, 0], "accuracy": values[:, 1], "norm": values[:, 2]})


def _csv(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    _curves(megabytes).to_csv(folder / "log.csv", index=False)
    return folder / "log.csv"


def _jsonl(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    _curves(megabytes, 100).to_json(folder / "log.jsonl", orient="records", lines=True)
    return folder / "log.jsonl"


def _parquet(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    _curves(megabytes, 26).to_parquet(folder / "log.parquet", index=False, row_group_size=2**17)
    return folder / "log.parquet"


def _lightning(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    _curves(megabytes).to_csv(folder / "metrics.csv", index=False)
    return folder


def _predictions(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    n = rows_for(megabytes, 30)
    rng = np.random.default_rng(0)
    columns = {"target": rng.integers(10, size=n), "prediction": rng.integers(10, size=n), "confidence": rng.random(n)}
    light = np.array(["day", "night"])[rng.integers(2, size=n)]
    pd.DataFrame(columns | {"light": light}).to_csv(folder / "answers.csv", index=False)
    return folder / "answers.csv"


def _trackio(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    columns = "id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT, step INT, metrics TEXT"
    rows = (("2026-01-01T00:00:00", "a", i, _logged(i)) for i in range(rows_for(megabytes, 145)))
    with closing(sqlite3.connect(folder / "project.db")) as connection, connection:
        connection.execute(f"CREATE TABLE metrics ({columns})")
        connection.executemany("INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?)", rows)
    return folder / "project.db"


#: What a log is called -> what writes one of so many MB below a folder, and returns its path.
LOGS: Mapping[str, Callable[[Path, float], Path]] = {
    "Transformers trainer_state.json": _transformers,
    "COCO annotations": _coco,
    "Cockpit log": _cockpit,
    "Trackio project": _trackio,
    "Lightning metrics.csv": _lightning,
    "CSV of scalars": _csv,
    "JSONL of scalars": _jsonl,
    "Parquet of scalars": _parquet,
    "CSV of predictions": _predictions,
}
