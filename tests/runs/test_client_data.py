"""Small logs that the real programs wrote and that lie beside this test: Trackio, LibMTL, Cockpit."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from workbench import open_run, open_runs
from workbench.core import validate
from workbench.lenses import histograms
from workbench.runs import format_of

DATA = Path(__file__).with_name("data")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def test_a_trackio_project_opens_with_every_run_also_of_the_same_name(tmp_path):
    with closing(sqlite3.connect(tmp_path / "digits.db")) as connection:
        connection.executescript((DATA / "trackio-0.43.sql").read_text(encoding="utf-8"))
    runs = dict(open_runs(tmp_path).items())
    assert list(runs) == ["digits.db/first", "digits.db/second", "digits.db/second (2)"]
    for key, rate in (("first", 0.1), ("second", 0.01)):
        run = runs[f"digits.db/{key}"]
        assert run.info.config == {"lr": rate, "net": {"depth": 3}}
        table = run.table("scalars")
        np.testing.assert_allclose(table.query("tag == 'loss'")["value"], 1 / np.arange(1, 6))
        assert table.query("tag == 'acc/left'")["step"].tolist() == list(range(5))
        assert table.query("tag == 'bad'")["value"].isna().tolist() == [False, False, False, True, False]
    again = runs["digits.db/second (2)"]
    assert again.info.config == {"lr": 0.5}
    assert again.table("scalars")["value"].tolist() == [10.0, 11.0, 12.0, 13.0, 14.0]
    assert all(run.problems == [] and validate(run.path) == [] for run in runs.values())


def test_libmtl_output_opens_in_full(tmp_path):
    shutil.copy(DATA / "libmtl-1.1.5.txt", tmp_path / "train.log")
    run = open_run(tmp_path / "train.log")
    table = run.table("scalars")
    assert len(table) == 3 * 3 * 5
    assert table.query("tag == 'train/digit_LOSS'")["value"].tolist() == [2.0334, 2.0792, 2.0514]
    assert table.query("tag == 'test/rel_err'")["value"].tolist() == [0.5, 0.5, 0.5]
    assert run.problems == []


def test_a_cockpit_log_opens_with_numbers_by_layer_and_histograms(tmp_path):
    shutil.copy(DATA / "cockpit-1.0.2.json", tmp_path / "cockpit.json")
    found = format_of(tmp_path / "cockpit.json")
    assert found is not None
    assert found.slug == "cockpit"
    run = open_run(tmp_path / "cockpit.json")
    table = run.table("scalars")
    assert table.query("tag == 'Loss'")["step"].tolist() == [0, 2, 4, 6]
    assert table.query("tag == 'GradNorm/3' and step == 0")["value"].tolist() == [0.3879617154598236]
    assert table.query("tag == 'valid_accuracy'")[["step", "value"]].to_numpy().tolist() == [[8.0, 0.8]]
    stats = histograms.statistics(run)
    assert stats.tag == "GradHist1d"
    assert stats.steps.tolist() == [0, 2, 4, 6]
    assert stats.counts.sum() == 688  # 43 parameters of 16 samples
    assert run.problems == []
