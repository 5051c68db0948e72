"""workbench claims: the quick check of everything, and what the command says when it is used wrongly."""

from __future__ import annotations

import json
import subprocess
import sys

from click.testing import CliRunner

from workbench.cli import main
from workbench.demos import RECIPES
from workbench.demos.board import read_board


def test_the_quick_check_trains_every_method_and_baseline(tmp_path):
    command = ["claims", "--quick", "--jobs", "2", "--out", str(tmp_path), "--json"]
    done = subprocess.run([sys.executable, "-m", "workbench", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    assert said["failures"] == []
    board = read_board(tmp_path / "quick" / "board")
    stated = {(recipe.name, claim.name) for recipe in RECIPES for claim in recipe.claims}
    assert {(row.recipe, row.claim) for row in board} == stated
    assert {len(row.seeds) for row in board} == {1}
    # One seed and short trainings decide nothing, and the board says so.
    assert {row.answer for row in board} == {"cannot tell"}
    assert all(row.short for row in board)


def test_wrong_names_are_answered_with_the_right_ones(tmp_path):
    said = CliRunner().invoke(main, ["claims", "null", "--out", str(tmp_path)])
    assert said.exit_code == 1
    assert "makes no claims. These do: " in said.output
    said = CliRunner().invoke(main, ["claims", "gradsplit", "--seeds", "99", "--out", str(tmp_path)])
    assert "reports 5 seeds; 99 were asked for" in said.output
