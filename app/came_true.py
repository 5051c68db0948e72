"""How often forecasts came true: the published benchmark, on the page of the forecast."""

from __future__ import annotations

import pandas as pd
import streamlit as st

import parts
from widgets import one_of
from workbench.forecast.truth import figures, statistics, table, words

VIEWS = {
    "against": "Forecast and cost",
    "ranking": "Against others",
    "lengths": "Length of probe",
    "numbers": "Numbers",
}
#: Steps of the trainings of the benchmark.
TRAINING = 600
ABOUT = f"""
Pairs and larger sets of tasks on real digits (MNIST, UCI): related and unrelated questions, contradictions, unequal
scales of loss, noisy answers, two datasets, renderings of one digit, few pictures. Each was forecast by a short probe
and then trained for {TRAINING} steps from other seeds, every task alone and all together, in a network too narrow for
everything. **Cost** is what the score loses by sharing, in points of accuracy or of variance explained, mean over
tasks. None of these problems was used to develop the forecast. `workbench bench forecast` repeats all of it.
"""


@st.cache_data(show_spinner=False)
def published() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, list[str]]:
    """Problems of the reported half, correlations of all forecasters, those by length, and the findings in words."""
    problems = table.published()
    problems = problems[problems["half"] == "reported"].reset_index(drop=True)
    lengths = table.published("lengths")
    by_length = statistics.by_length(lengths[lengths["half"] == "reported"], problems)
    return problems, statistics.correlations(problems), by_length, words.sentences(problems)


def section() -> None:
    """Folded: findings first, then one picture at a time."""
    with st.expander("Do such forecasts come true?", icon=":material/fact_check:"):
        problems, correlations, by_length, said = published()
        for sentence in said:
            st.markdown(parts.plain(sentence))
        view = one_of("Show", list(VIEWS), "truth", VIEWS.__getitem__)
        misses = statistics.misses(problems)
        if view == "against":
            parts.chart(figures.against(problems, misses), "against", said[0])
        elif view == "ranking":
            parts.chart(figures.correlations(correlations), "ranking", said[0])
        elif view == "lengths":
            parts.chart(figures.lengths(by_length, TRAINING), "lengths", "Rank correlation by length of the probe")
        else:
            numbers = {"Misses": misses, "Calls": statistics.calls(problems), "Problems": problems}
            parts.tables(numbers, "forecast-truth")
        st.caption(ABOUT)
