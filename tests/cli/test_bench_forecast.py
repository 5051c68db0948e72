"""workbench bench forecast: forecasts, trains, compares; what is done is not done again."""

from __future__ import annotations

import json

import pandas as pd
from click.testing import CliRunner

from workbench.cli import main


def test_quick_benchmark_compares_and_resumes(tmp_path):
    arguments = ["bench", "forecast", "--quick", "--folder", str(tmp_path)]
    done = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "report.md")])
    assert done.exit_code == 0, done.output
    report = (tmp_path / "report.md").read_text()
    assert "## Forecasts of the cost of sharing" in report
    assert "plug-in cosine at initialisation" in report
    problems = pd.read_csv(tmp_path / "problems.csv")
    assert problems["n_tasks"].tolist() == [2, 2, 2, 2, 3]
    kept = sorted((tmp_path / "trainings").iterdir())
    written = [file.stat().st_mtime_ns for file in kept]
    again = CliRunner().invoke(main, [*arguments, "--json"])
    assert again.exit_code == 0, again.output
    assert [file.stat().st_mtime_ns for file in kept] == written
    figures = json.loads(again.stdout[again.stdout.index("{") :])["forecast"]
    assert {row["problem"] for row in figures["problems"]} == set(problems["problem"])
