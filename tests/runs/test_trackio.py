"""A Trackio project is one SQLite file with several runs."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import open_run, open_runs
from workbench.core import RunFormatError, validate


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))


def _project(file, runs=("first", "second")):
    """A project as Trackio lays it out."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, "
            "run_name TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL)"
        )
        connection.execute("CREATE TABLE configs (id INTEGER PRIMARY KEY, run_name TEXT, config TEXT, created_at TEXT)")
        for run in runs:
            for step in range(3):
                logged = json.dumps({"loss": step / 2, "note": "text", "bad": "NaN"})
                stored = logged.encode() if run == "second" else logged
                row = (f"2026-01-01T00:00:0{step}", run, step, stored)
                connection.execute("INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?)", row)
            connection.execute("INSERT INTO configs (run_name, config) VALUES (?, ?)", (run, json.dumps({"lr": 0.1})))
        connection.execute("INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES ('x', 'first', 9, '{oops')")
    return file


def test_every_run_of_a_project_opens(tmp_path):
    _project(tmp_path / "mine.db")
    runs = open_runs(tmp_path)
    assert list(runs) == ["mine.db/first", "mine.db/second"]
    for run in (runs["mine.db/first"], runs["mine.db/second"]):
        table = run.table("scalars")
        assert table.query("tag == 'loss'")["value"].tolist() == [0, 0.5, 1]
        assert np.isnan(table.query("tag == 'bad'")["value"]).all()
        assert run.info.config == {"lr": 0.1}
        assert validate(run.path) == []
    assert "1 record(s) could not be understood" in str(runs["mine.db/first"].problems[0])
    assert list(open_runs(tmp_path / "mine.db")) == ["mine.db/first", "mine.db/second"]


def test_one_of_several_must_be_chosen(tmp_path):
    with pytest.raises(RunFormatError, match=r"holds 2 runs \(first, second\)"):
        open_run(_project(tmp_path / "mine.db"))
    assert open_run(_project(tmp_path / "one.db", runs=("first",))).name == "first"


def test_another_database_is_not_taken_for_a_project(tmp_path):
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection, connection:
        connection.execute("CREATE TABLE people (name TEXT)")
    assert len(open_runs(tmp_path)) == 0


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_damage_ends_in_data_or_in_a_clear_error(tmp_path_factory, place, flip):
    file = _project(tmp_path_factory.mktemp("damage") / "mine.db")
    data = bytearray(file.read_bytes())
    data[place % len(data)] ^= flip
    file.write_bytes(bytes(data))
    try:
        for _, run in open_runs(file).items():
            run.query("SELECT count(*) FROM scalars")
    except RunFormatError as error:
        assert "mine.db" in str(error)
