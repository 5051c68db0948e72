"""Every command speaks JSON, in one way, and valid JSON at that."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from workbench.cli import COMMANDS, main
from workbench.cli.output import plain
from workbench.core import RunWriter
from workbench.runs import open_run


def _json(*arguments):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code in (0, 1), done.output

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(done.stdout, parse_constant=refuse)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_same_option(name):
    command = main.get_command(click.Context(main), name)
    (option,) = [item for item in command.params if item.name == "as_json"]
    assert option.opts == ["--json"]
    assert option.is_flag


def test_what_json_lacks_is_null_or_text():
    @dataclass(frozen=True)
    class Point:
        x: float
        place: Path

    frame = pd.DataFrame({"a": [1.0, np.nan], "b": ["x", None]})
    data = {("k", 1): Point(np.inf, Path("p")), "f": frame, "n": np.int64(3), "v": np.array([1.5, np.nan]), "t": True}
    assert plain(data) == {
        "k / 1": {"x": None, "place": "p"},
        "f": [{"a": 1.0, "b": "x"}, {"a": None, "b": None}],
        "n": 3,
        "v": [1.5, None],
        "t": True,
    }


def test_import_lists_what_it_read_and_skipped(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "metrics.csv").write_text("step,loss\n0,nan\n1,oops\n")
    data = _json("import", tmp_path / "log", "--out", tmp_path / "run", "--json")
    assert data["format"] == "PyTorch Lightning CSV log"
    assert "no numbers" in data["problems"][0]["reason"]
    assert open_run(data["run"]).has("scalars")


def test_train_lists_recipes_and_bench_and_list_are_json(tmp_path):
    recipes = {item["recipe"]: item for item in _json("train", "--json")}
    assert "joint" in recipes["digit-pairs"]["variants"]
    with RunWriter(tmp_path / "runs" / "mine") as rec:
        rec.scalars(0, {"loss": float("nan")})
    (row,) = _json("list", tmp_path / "runs", "--json")["runs"]
    assert row["seed"] is None
    assert _json("validate", tmp_path / "runs", "--json") == {"mine": []}


def test_bench_prints_the_figures_behind_its_table(monkeypatch, tmp_path):
    from workbench.cli import bench

    monkeypatch.setitem(bench.BENCHMARKS, "readers", ("Readers", lambda rounds: ({"parse": (1.0, 2.0)}, "| table |\n")))
    assert _json("bench", "readers", "--json", "--out", tmp_path / "b.md") == {"readers": {"parse": [1.0, 2.0]}}
    assert (tmp_path / "b.md").read_text() == "## Readers\n\n| table |\n"
