"""What the bias lens says."""

from __future__ import annotations

import pytest
from bias_runs import write_run, write_table

from workbench.lenses.bias import LENS
from workbench.lenses.bias.words import points, points_range
from workbench.lenses.words import percent, percent_range


def test_the_joint_factor_is_named_first_with_numbers(tmp_path):
    stats = LENS.statistics(write_run(tmp_path / "run", n=3000))
    first = LENS.verdicts(stats)[0]
    assert first.level == "problem"
    assert first.sentence.startswith("Samples with blur = strong and rotation = 90 are predicted right in ")
    assert "points below what blur and rotation cost alone (95 % interval" in first.sentence
    row = stats.interactions.iloc[0]
    assert f"{percent(row['value'])} of cases" in first.sentence
    assert f"{row['n']} samples" in first.sentence
    assert (first.value, first.low, first.high) == pytest.approx((row["value"], row["low"], row["high"]))
    assert first.options["view"] == "interaction"


def test_equal_groups_are_fine_and_small_ones_cannot_be_told(tmp_path):
    many = LENS.verdicts(LENS.statistics(write_run(tmp_path / "many", n=4000, seed=5, probability=0.9)))
    assert [verdict.level for verdict in many] == ["fine"]
    few = LENS.verdicts(LENS.statistics(write_run(tmp_path / "few", n=150, seed=5, probability=0.7)))
    assert [verdict.level for verdict in few] == ["cannot tell"]
    assert "cannot be told from chance" in few[0].sentence


def test_runs_without_groups_say_what_to_record(tmp_path):
    stats = LENS.statistics(write_table(tmp_path / "run", {}, [1] * 50, [1] * 50))
    (verdict,) = LENS.verdicts(stats)
    assert verdict.level == "cannot tell"
    assert "carry no attribute" in verdict.sentence
    tiny = LENS.statistics(write_table(tmp_path / "tiny", {"side": ["a", "b"] * 5}, [1] * 10, [1] * 10))
    assert "No group reaches 20 samples" in LENS.verdicts(tiny)[0].sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (percent(0.412), "41 %"),
        (percent(0.9731), "97.3 %"),
        (percent(1.0), "100 %"),
        (percent_range(0.36, 0.46), "36–46 %"),
        (points(-0.22), "22 points"),
        (points(0.013), "1.3 points"),
        (points_range(-0.29, -0.15), "15 to 29 points"),
        (points_range(-0.01, 0.03), "-1 to 3 points"),
    ],
)
def test_words(text, expected):
    assert text == expected
