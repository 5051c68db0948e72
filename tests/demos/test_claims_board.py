"""The claims board: rows from results, the files and their table, and the committed board itself."""

from __future__ import annotations

import math

import pytest

from workbench.core import ConfigError, WorkbenchError
from workbench.demos import RECIPES, Claim, Recipe, Variant
from workbench.demos.board import BOARD, find_rows, read_board, rows_of, table, write_board

CLAIMS = (
    Claim("more", "Ours beats plain.", "+3 points | on Digits", "accuracy", "ours", "plain"),
    Claim(
        "less", "Ours errs less.", "not reported", "error", "ours", "plain", lower_is_better=True, scale=1, unit="nats"
    ),
)
RECIPE = Recipe(
    "coin",
    "Heads?",
    "",
    (Variant("ours", "", 1), Variant("plain", "", 1)),
    method="toss",
    claims=CLAIMS,
    seeds=(1, 2, 3),
)


def results(seed):
    return {"ours": {"accuracy": 0.7 + seed / 100, "error": 0.2}, "plain": {"accuracy": 0.6, "error": 0.2}}


@pytest.fixture
def rows():
    return rows_of(RECIPE, {seed: results(seed) for seed in (3, 1, 2)}, [4.0, 2.0, 3.0])


def test_a_row_pairs_by_seed(rows):
    more, less = rows
    assert more.seeds == (1, 2, 3)
    assert more.differences == pytest.approx((11, 12, 13))
    assert (more.answer, less.answer) == ("holds", "does not hold at this scale")
    assert more.seconds == 3
    assert more.paired_runs[:2] == ["coin/seed-1/ours", "coin/seed-1/plain"]
    assert more.measured == "+12 (9.52 to 14.5) percentage points, 3 seeds"


def test_a_seed_without_all_its_variants_does_not_count():
    (more, _) = rows_of(RECIPE, {1: results(1), 2: {"ours": {"accuracy": 0.9, "error": 0.1}}})
    assert more.seeds == (1,)
    assert more.answer == "cannot tell"


def test_short_trainings_decide_nothing():
    assert {row.answer for row in rows_of(RECIPE, {s: results(s) for s in (1, 2, 3)}, short=True)} == {"cannot tell"}


def test_a_board_is_read_as_it_was_written(tmp_path, rows):
    write_board(tmp_path, rows)
    assert read_board(tmp_path) == rows
    write_board(tmp_path, rows_of(RECIPE, {}))
    assert [row.measured for row in read_board(tmp_path)] == ["not trained yet"] * 2
    diverged = rows_of(
        RECIPE, {s: {"ours": {"accuracy": math.nan, "error": 1}, "plain": results(s)["plain"]} for s in (1, 2)}
    )
    write_board(tmp_path, diverged)
    assert math.isnan(read_board(tmp_path)[0].differences[0])
    assert read_board(tmp_path)[0].answer == "cannot tell"


def test_the_table_keeps_its_columns(rows):
    lines = table(rows).splitlines()[-2:]
    assert [len(line.replace("\\|", "").split("|")) for line in lines] == [8, 8]


def test_a_damaged_file_is_named_with_its_remedy(tmp_path):
    (tmp_path / "coin.json").write_text("{")
    with pytest.raises(WorkbenchError, match=r"coin\.json is not a claims board .* workbench claims coin"):
        read_board(tmp_path)


def test_an_unknown_recipe_is_answered_with_those_on_the_board(rows):
    with pytest.raises(ConfigError, match="no row of 'dice'. It has: coin"):
        find_rows(rows, "dice")


def test_the_committed_board_shows_the_claims_that_the_recipes_make():
    board = read_board()
    stated = {(recipe.name, claim.name): claim for recipe in RECIPES for claim in recipe.claims}
    assert {(row.recipe, row.claim) for row in board} == set(stated)
    for row in board:
        claim = stated[row.recipe, row.claim]
        assert (row.sentence, row.reported, row.margin) == (claim.sentence, claim.reported, claim.margin)
        assert not row.short
    assert (BOARD / "README.md").read_text(encoding="utf-8") == table(board)


def test_the_committed_board_reports_all_seeds_and_none_that_was_tuned_on():
    for recipe in RECIPES:
        if recipe.claims:
            assert len(recipe.seeds) >= 5
            assert {row.seeds for row in find_rows(read_board(), recipe.name)} == {tuple(sorted(recipe.seeds))}
