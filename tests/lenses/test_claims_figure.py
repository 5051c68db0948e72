"""The figure of claims: one row each, the mean with its interval, every verdict with a mark of its own."""

from __future__ import annotations

from math import nan

from workbench.lenses.claims_figure import LOOKS, Measured, claims_figure


def measured(answer, mean=2.0, low=1.0, high=3.0, words="Better than plain."):
    return Measured(words, (mean - 1, mean + 1), mean, low, high, 0.5, "points", answer)


def test_each_verdict_has_its_own_mark_and_interval():
    fig = claims_figure([measured(answer, mean) for mean, answer in enumerate(LOOKS)])
    traces = {trace.name: trace for trace in fig.data}
    assert len({trace.marker.symbol for name, trace in traces.items() if name in LOOKS}) == 3
    assert [list(traces[answer].x) for answer in LOOKS] == [[0], [1], [2]]
    assert list(traces["holds"].error_x.array) == [3.0]
    assert list(traces["one seed"].x) == [-1, 1, 0, 2, 1, 3]
    assert list(traces["must be above"].x) == [0.5] * 3
    assert "points" in fig.layout.xaxis.title.text


def test_long_words_are_folded_and_a_single_seed_has_no_interval():
    fig = claims_figure([measured("cannot tell", low=nan, high=nan, words="very long words " * 30)])
    assert fig.layout.yaxis.ticktext[0].count("<br>") == 2
    assert fig.data[1].error_x.array[0] != fig.data[1].error_x.array[0]


def test_nothing_measured_draws_an_empty_figure():
    assert len(claims_figure([]).data) == 2
