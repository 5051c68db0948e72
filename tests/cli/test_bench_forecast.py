"""workbench bench forecast: forecasts, trains, compares; what is done is not done again."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd


def run(*arguments: str) -> str:
    """The command in a process of its own: it starts children, which import the program that they come from."""
    command = [sys.executable, "-m", "workbench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_quick_benchmark_compares_and_resumes(tmp_path):
    arguments = ["bench", "forecast", "--quick", "--folder", str(tmp_path)]
    run(*arguments, "--out", str(tmp_path / "report.md"))
    report = (tmp_path / "report.md").read_text()
    assert "## Forecasts of the cost of sharing" in report
    assert "plug-in cosine at initialisation" in report
    problems = pd.read_csv(tmp_path / "problems.csv")
    assert problems["n_tasks"].tolist() == [2, 2, 2, 2, 3]
    kept = sorted((tmp_path / "trainings").iterdir())
    written = [file.stat().st_mtime_ns for file in kept]
    again = run(*arguments, "--json")
    assert [file.stat().st_mtime_ns for file in kept] == written
    figures = json.loads(again[again.index("{") :])["forecast"]
    assert {row["problem"] for row in figures["problems"]} == set(problems["problem"])
