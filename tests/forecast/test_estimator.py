"""From losses to costs, intervals and calls: closed forms, and how often the intervals cover."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.forecast.estimator import (
    calls,
    default_estimator,
    lookahead_cost,
    loss_cost,
    over_seeds,
    seeds_to_settle,
    together_cost,
)
from workbench.forecast.measured import Measured


def measured(alone, paired=None, together=None, lookahead=None) -> Measured:
    alone = np.asarray(alone, dtype=float)
    n_seeds, n_marks, n_tasks = alone.shape
    n_pairs = n_tasks * (n_tasks - 1) // 2
    unknown = np.full((n_seeds, n_marks, n_pairs, 2), np.nan)
    return Measured(
        np.arange(n_marks, dtype=float),
        alone,
        unknown if paired is None else np.asarray(paired, dtype=float),
        alone if together is None else np.asarray(together, dtype=float),
        np.zeros((n_seeds, 1, n_tasks, n_tasks)) if lookahead is None else np.asarray(lookahead, dtype=float),
    )


def test_cost_is_the_difference_of_the_lowest_losses_over_the_loss_at_the_start():
    # Alone task 0 falls from 2 to 1 (its lowest, at the second mark), task 1 from 4 to 1. With the other: 1.5 and 0.8.
    found = loss_cost(measured([[[2, 4], [1, 2], [1.2, 1]]], together=[[[2, 4], [1.7, 2], [1.5, 0.8]]]))
    assert found[0, 1, 0] == pytest.approx((1.5 - 1) / 2)
    assert found[0, 0, 1] == pytest.approx((0.8 - 1) / 4)
    assert np.isnan(found[0, 0, 0])


def test_pairs_land_in_their_cells():
    alone = np.ones((1, 2, 3))
    paired = np.ones((1, 2, 3, 2))
    paired[0, 1] = [[0.9, 0.8], [0.7, 0.6], [0.5, 0.4]]  # pairs 01, 02, 12
    found = loss_cost(measured(alone, paired))[0]
    np.testing.assert_allclose(found[1, 0], -0.1)  # what 1 does for 0
    np.testing.assert_allclose(found[0, 1], -0.2)
    np.testing.assert_allclose(found[2, 0], -0.3)
    np.testing.assert_allclose(found[1, 2], -0.6)


def test_negative_losses_have_a_scale_too():
    found = loss_cost(measured([[[0, 1], [-2, 1]]], together=[[[0, 1], [-1, 1]]]))
    assert found[0, 1, 0] == pytest.approx((-1 + 2) / 2)


def test_losses_that_stop_being_finite_count_up_to_there():
    alone = [[[2, 2], [1, np.inf], [np.nan, np.inf]]]
    assert loss_cost(measured(alone, together=[[[2, 2], [1, 1], [1, 1]]]))[0, 1, 0] == 0
    assert np.isnan(loss_cost(measured([[[np.nan, 2], [np.nan, 1]]]))[0, 1, 0])


def test_without_pairs_lookahead_stands_in_in_shares_of_ones_own_progress():
    table = [[[[0.02, -0.01, 0.0], [0.005, 0.02, 0.0], [0.0, 0.0, 0.0]]]]
    given = measured(np.ones((1, 2, 3)), lookahead=table)
    assert default_estimator(given) is lookahead_cost
    found = lookahead_cost(given)[0]
    assert found[0, 1] == pytest.approx(0.5)  # task 0's step undoes half of what task 1's own step gains
    assert found[1, 0] == pytest.approx(-0.25)
    assert np.isnan(found[0, 2])  # task 2's own step gains nothing: no unit
    assert default_estimator(measured(np.ones((1, 2, 2)))) is loss_cost


def test_together():
    assert together_cost(measured([[[2, 1], [1, 1]]], together=[[[2, 1], [1.4, 1]]]))[0].tolist() == pytest.approx(
        [0.2, 0]
    )


def test_interval_is_students():
    # Values 1, 2, 3: mean 2, standard error 1 / sqrt(3), t(2) = 4.3027.
    found = over_seeds(np.array([[1.0], [2.0], [3.0]]))
    assert found.value[0] == 2
    assert found.high[0] - 2 == pytest.approx(4.302652729911275 / np.sqrt(3))
    assert np.isinf(over_seeds(np.array([[1.0]])).high[0])
    assert np.isnan(over_seeds(np.empty((0, 1))).value[0])


@pytest.mark.parametrize("n_seeds", [2, 4, 8])
def test_intervals_cover_as_they_say(n_seeds: int):
    rng = np.random.default_rng(n_seeds)
    truth = rng.normal(0, 0.1, 4000)
    found = over_seeds(truth + rng.normal(0, 0.05, (n_seeds, 4000)))
    covered = ((found.low <= truth) & (truth <= found.high)).mean()
    assert 0.935 < covered < 0.965


def test_without_any_cost_few_pairs_are_called():
    rng = np.random.default_rng(0)
    said = [call for _ in range(300) for call in [calls(rng.normal(0, 0.03, (4, 10)))]]
    families = np.mean([any(call in ("conflict", "help") for call in one) for one in said])
    assert families <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_calls():
    spread = np.array([-1, 1, -1, 1.0])[:, None] * 0.001
    centre = np.array([[0.2, -0.1, 0.01, 0.03]])
    assert calls(centre + spread) == ["conflict", "help", "neither", "conflict"]
    assert calls(centre + 300 * spread) == ["undetermined"] * 4
    assert calls(centre) == ["undetermined"] * 4  # one seed
    assert calls(np.zeros((3, 1))) == ["neither"]
    assert calls(np.full((3, 1), 0.5)) == ["conflict"]
    assert calls(np.full((3, 1), np.nan)) == ["undetermined"]


def test_seeds_to_settle_is_the_first_number_whose_interval_is_narrow_enough():
    # Deviation 0.1 around 0.12: a half-width below 0.1 above the margin of 0.02.
    values = 0.12 + 0.1 * np.array([[-1.0], [1.0]]) / np.sqrt(2)
    n = int(seeds_to_settle(values)[0])
    from scipy.stats import t

    assert t.ppf(0.975, n - 1) * 0.1 / np.sqrt(n) < 0.1 <= t.ppf(0.975, n - 2) * 0.1 / np.sqrt(n - 1)
