"""Rank correlations, calls and misses on tables whose answers are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from workbench.core import ConfigError
from workbench.forecast.truth import statistics, words

numbers = arrays(float, 12, elements=st.integers(-5, 5).map(float))


def table(rng: np.random.Generator, n: int = 24, slope: float = 1.0) -> pd.DataFrame:
    """Problems whose cost follows the forecast up to noise; the last four are larger sets."""
    forecast = np.linspace(-0.2, 0.5, n)
    cost = 40 * slope * forecast + rng.normal(size=n)
    return pd.DataFrame(
        {
            "problem": [f"p{k}" for k in range(n)],
            "n_tasks": [2] * (n - 4) + [4] * 4,
            "cost": cost,
            "cost_low": cost - 1,
            "cost_high": cost + 1,
            "once": cost,
            "others": cost,
            "forecast": forecast,
            "forecast_low": forecast - 0.05,
            "forecast_high": forecast + 0.05,
            "call": np.where(forecast > 0.07, "conflict", np.where(forecast < -0.05, "help", "undetermined")),
            "cosine": rng.normal(size=n),
            "affinity": -forecast,
        }
    )


@given(numbers, numbers)
def test_rank_correlation_is_scipy_s(x, y):
    expected = spearmanr(x, y).statistic if np.ptp(x) and np.ptp(y) else np.nan
    assert float(statistics.spearman(x, y)) == pytest.approx(expected, nan_ok=True)


@given(numbers, numbers)
def test_it_sees_only_the_order(x, y):
    value = float(statistics.spearman(x, y))
    assert float(statistics.spearman(np.exp(x), 3 * y + 1)) == pytest.approx(value, nan_ok=True)
    assert float(statistics.spearman(-x, y)) == pytest.approx(-value, nan_ok=True)


def test_a_small_case_by_hand():
    # Ranks 1 2 3 4 against 2 1 4 3: 1 - 6 · 4 / (4 · 15) = 0.6.
    found = statistics.correlate(np.array([1.0, 2, 3, 4, np.nan]), np.array([20.0, 10, 40, 30, 5]))
    assert found.value == pytest.approx(0.6)
    assert found.n == 4


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    # A normal pair with correlation r has rank correlation 6 / pi · arcsin(r / 2).
    rng, r, n = np.random.default_rng(0), 0.7, 40
    truth = 6 / np.pi * np.arcsin(r / 2)
    held = 0
    for seed in range(150):
        x = rng.normal(size=n)
        found = statistics.correlate(x, r * x + np.sqrt(1 - r**2) * rng.normal(size=n), draws=400, seed=seed)
        held += found.low <= truth <= found.high
    assert 0.88 <= held / 150 <= 0.99


def test_an_advantage_is_paired():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=60)
    good, bad = truth + 0.1 * rng.normal(size=60), rng.normal(size=60)
    found = statistics.advantage(good, bad, truth, draws=500)
    assert found.low > 0.3
    same = statistics.advantage(good, good, truth, draws=200)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_every_forecaster_is_judged_on_pairs_sets_and_all():
    found = statistics.correlations(table(np.random.default_rng(2))).set_index(["forecaster", "on"])
    assert found["n"].unstack().iloc[0].to_dict() == {"all": 24, "pairs": 20, "sets": 4}
    assert found.loc[("this forecast, before training", "pairs"), "value"] > 0.9
    assert found.loc[("TAG, after the joint training", "pairs"), "value"] < -0.9
    assert found.loc[("the training itself, once", "all"), "value"] == pytest.approx(1)


def test_calls_are_counted_against_what_happened():
    rows = [("conflict", 5, 4, 6), ("conflict", 1, -1, 3), ("conflict", -2, -3, -1), ("help", -3, -4, -2)]
    frame = pd.DataFrame(rows, columns=["call", "cost", "cost_low", "cost_high"])
    found = statistics.calls(frame).set_index("call")
    assert found.loc["conflict", ["n", "lost", "surely_lost", "surely_gained"]].tolist() == [3, 2, 1, 1]
    # Wilson for 2 of 3.
    assert found.loc["conflict", "low"] == pytest.approx(0.2077, abs=1e-3)
    assert found.loc["conflict", "high"] == pytest.approx(0.9385, abs=1e-3)
    assert found.loc["help", "lost"] == 0
    assert np.isnan(found.loc["neither", "share"])


def test_misses_are_what_trainings_contradict():
    rows = [
        ("a", "conflict", -1, -2, 1),
        ("b", "undetermined", 9, 8, 10),
        ("c", "help", 0.5, -1, 2),
        ("d", "help", 4, 3, 5),
        ("e", "conflict", 9, 8, 10),
        ("f", "neither", 1, -1, 3),
    ]
    frame = pd.DataFrame(rows, columns=["problem", "call", "cost", "cost_low", "cost_high"]).assign(forecast=0.0)
    found = statistics.misses(frame)
    assert found[["problem", "kind"]].to_numpy().tolist() == [
        ["b", "missed"],
        ["d", "missed"],
        ["a", "false alarm"],
        ["c", "wrong help"],
    ]


def test_bins_hold_all_problems_in_order_of_the_forecast():
    frame = table(np.random.default_rng(3))
    found = statistics.reliability(frame.sample(frac=1, random_state=0), n_bins=5)
    assert found["n"].sum() == len(frame)
    assert found["forecast"].is_monotonic_increasing
    assert found["share"].iloc[0] == 0
    assert found["share"].iloc[-1] == 1
    with pytest.raises(ConfigError, match="24 problems cannot fill 30 bins"):
        statistics.reliability(frame, 30)


def test_lengths_are_correlated_one_by_one():
    frame = table(np.random.default_rng(4))
    rows = [
        {"problem": p, "n_tasks": n, "steps": steps, "forecast": f if steps == 50 else -f}
        for p, n, f in zip(frame["problem"], frame["n_tasks"], frame["forecast"], strict=True)
        for steps in (10, 50)
    ]
    found = statistics.by_length(pd.DataFrame(rows), frame).set_index("steps")
    assert found.loc[50, "value"] > 0.9
    assert found.loc[10, "value"] == pytest.approx(-found.loc[50, "value"])
    assert (found["n"] == 20).all()


def test_sentences_say_the_numbers():
    frame = table(np.random.default_rng(5))
    said = " ".join(words.sentences(frame))
    assert "On 20 pairs of tasks" in said
    conflicts = int((frame["call"] == "conflict").sum())
    assert f"Conflict was called for {conflicts} of 24 problems" in said
    lengths = pd.DataFrame({"problem": frame["problem"], "n_tasks": 2, "steps": 10, "forecast": frame["forecast"]})
    text = words.markdown(frame, lengths)
    assert text.count("### ") == 5
    assert "| this forecast, before training | pairs | " in text
