"""The forecast among the sample runs: whole, and right about the domain that contradicts the others."""

from __future__ import annotations

from pathlib import Path

from workbench.core import Run, validate
from workbench.forecast import read_forecast

SAMPLE = Path(__file__).parents[2] / "sample_runs" / "forecast" / "domains"


def test_the_forecast_blames_the_domain_with_the_contradicting_labels():
    assert validate(SAMPLE) == []
    pairs = read_forecast(Run(SAMPLE)).pairs
    conflicts = pairs[pairs["call"] == "conflict"]
    assert len(conflicts)
    assert set(conflicts["task_b"]) == {"mirror"}


def test_it_names_no_folder_of_the_machine_it_was_made_on():
    assert Run(SAMPLE).info.config["forecast"]["source"] == "domains.py"
