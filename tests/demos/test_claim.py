"""Claims: the sign and the scale of a difference, and what an interval says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from workbench.core import ConfigError
from workbench.demos import Claim, Recipe, Variant
from workbench.demos.claim import judge

RESULTS = {"ours": {"accuracy": 0.75}, "ours-too": {"accuracy": 0.65}, "plain": {"accuracy": 0.60}}


def claim(**changed):
    given = {"name": "better", "sentence": "Better.", "reported": "+3 points", "result": "accuracy"}
    return Claim(**(given | {"method": "ours", "baseline": "plain"} | changed))


def test_difference_is_in_points_and_averages_over_several_variants():
    assert claim().difference(RESULTS) == pytest.approx(15)
    assert claim(method=("ours", "ours-too")).difference(RESULTS) == pytest.approx(10)
    assert claim(lower_is_better=True).difference(RESULTS) == pytest.approx(-15)
    assert claim(baseline=None, scale=1.0).difference(RESULTS) == pytest.approx(0.75)


def test_a_missing_result_is_named_with_what_there_is():
    with pytest.raises(ConfigError, match="'loss' of 'ours'; it gave: accuracy"):
        claim(result="loss").difference(RESULTS)


def test_the_interval_is_students():
    differences = [1.0, 2.0, 4.0, 3.0, 2.5]
    finding = judge(differences, 0.0)
    low, high = stats.t.interval(0.95, 4, np.mean(differences), stats.sem(differences))
    assert (finding.low, finding.high) == pytest.approx((low, high), rel=1e-3)
    assert finding.answer == "holds"


@pytest.mark.parametrize(
    ("differences", "margin", "answer"),
    [
        ([1.0, 1.1, 0.9], 0.0, "holds"),
        ([1.0, 1.1, 0.9], 2.0, "does not hold at this scale"),
        ([1.0, -1.1, 0.9], 0.0, "cannot tell"),
        ([0.0, 0.0, 0.0], 0.0, "does not hold at this scale"),
        ([5.0], 0.0, "cannot tell"),
        ([], 0.0, "cannot tell"),
        ([1.0, float("nan"), 1.0], 0.0, "cannot tell"),
    ],
)
def test_a_claim_holds_only_when_the_whole_interval_says_so(differences, margin, answer):
    assert judge(differences, margin).answer == answer


def test_under_no_difference_a_claim_holds_in_at_most_one_case_of_forty():
    rng = np.random.default_rng(0)
    answers = [judge(list(rng.normal(size=5)), 0.0).answer for _ in range(4000)]
    assert np.mean([answer == "holds" for answer in answers]) == pytest.approx(0.025, abs=0.008)


def test_a_recipe_must_not_report_the_seeds_it_was_tuned_on():
    variants = (Variant("ours", "", 1), Variant("plain", "", 1))
    with pytest.raises(ConfigError, match=r"tuned on: \[3\]"):
        Recipe("r", "?", "", variants, seeds=(1, 3), tuning_seeds=(3, 4))
    with pytest.raises(ConfigError, match="no variant 'other'"):
        Recipe("r", "?", "", variants, claims=(claim(baseline="other"),))
