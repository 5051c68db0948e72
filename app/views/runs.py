"""All runs of the folder, one a line; with the sample runs grouped by the question they answer."""

from __future__ import annotations

import pandas as pd
import streamlit as st

import parts
from choice import SAMPLES, current, look_later
from readings import board, reading_in_background
from widgets import one_of
from workbench.lenses import LENSES, LEVELS, MARKS
from workbench.lenses.board import frame, matching

STATES = ("live", "done", "failed", "stopped")


def columns(grouped: bool) -> dict[str, object]:
    """How the table shows each column; None hides it."""
    marks = [f"{MARKS[level]} {level}" for level in LEVELS]
    colours = [parts.BADGES[level] for level in LEVELS]
    shown: dict[str, object] = {
        "run": st.column_config.TextColumn("Run", pinned=True, width=190),
        "question": None if grouped else st.column_config.TextColumn("Question", width=240),
        "method": st.column_config.TextColumn("Method", width=120),
        "recipe": None if grouped else st.column_config.TextColumn("Recipe", width=110),
        "seed": st.column_config.NumberColumn("Seed", width=50, format="%d"),
        "step": st.column_config.NumberColumn("Step", width=60, format="%d"),
        "state": st.column_config.TextColumn("State", width=65),
        "age": st.column_config.TextColumn("Changed", width=65, help="How long ago the run was last written to."),
        "course": st.column_config.LineChartColumn(
            "Main metric", width=110, help="The course of the first summary value, an accuracy, or a loss."
        ),
    }
    for lens in LENSES:
        shown[lens.slug] = st.column_config.MultiselectColumn(
            parts.LENS_PAGES[lens.slug][0], options=marks, color=colours, width=104, help=lens.title
        )
    return shown


def table(runs: pd.DataFrame, key: str, grouped: bool) -> list[str]:
    """One table of runs; the keys of the selected ones."""
    drawn = runs.copy()
    drawn["age"] = [parts.age(seconds) for seconds in runs["age"]]
    for lens in LENSES:
        drawn[lens.slug] = [[f"{MARKS[level]} {level}"] if level else [] for level in runs[lens.slug]]
    shown = columns(grouped)
    order = [
        "run",
        "question",
        *(lens.slug for lens in LENSES),
        "course",
        "step",
        "method",
        "recipe",
        "seed",
        "state",
        "age",
    ]
    event = st.dataframe(
        drawn[order],
        key=key,
        hide_index=True,
        column_config=shown,
        on_select="rerun",
        selection_mode="multi-row",
        height=min(35 * (len(drawn) + 1) + 3, 640),
        alt="Runs with their verdicts",
    )
    return [drawn["run"].iloc[row] for row in event.selection.rows if row < len(drawn)]


def actions(selected: list[str], waiting: bool) -> None:
    """What can be done with the selected runs."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Open", disabled=len(selected) != 1, icon=":material/open_in_full:", type="primary"):
            look_later(selected[0])
            st.switch_page("views/overview.py")
        if st.button("Compare", disabled=len(selected) != 2, icon=":material/compare_arrows:"):
            look_later(*selected)
            st.switch_page("views/compare.py")
        hint = {0: "Select one run to open it, or two to compare them.", 1: "Select a second run to compare."}
        words = hint.get(len(selected), "" if len(selected) == 2 else "Only two runs can be compared: unselect some.")
        st.caption(words + (" Verdicts are being read…" if waiting else ""), width="stretch")


choice = current()
with st.container(horizontal=True, vertical_alignment="center"):
    st.title("What went wrong in these runs?", anchor=False, width="stretch")
    st.caption(f"{len(choice.runs)} runs in {parts.plain(str(choice.runs.folder))}", width="content")

with st.container(horizontal=True, vertical_alignment="bottom"):
    text = st.text_input("Filter", key="filter", bind="query-params", placeholder="name, question, method…", width=320)
    states = st.pills("State", STATES, selection_mode="multi", key="state", bind="query-params")
    arrange = one_of("Arrange", ["question", "list"] if choice.folder == SAMPLES else ["list", "question"], "arrange")


@st.fragment(run_every=2 if st.session_state.get("verdicts due") else None)
def listing() -> None:
    runs = frame(choice.runs, board())
    waiting = bool(runs["due"].any()) and reading_in_background(choice.runs.folder, True)
    if waiting != bool(st.session_state.get("verdicts due")):
        st.session_state["verdicts due"] = waiting
        st.rerun(scope="app")
    found = matching(runs, text or "", states)
    bar = st.container()
    selected: list[str] = []
    if arrange == "question":
        for number, (question, members) in enumerate(found.groupby(found["question"].fillna(""), sort=False)):
            st.markdown(f"**{parts.plain(question or 'Other runs')}**")
            selected += table(members, f"runs {number}", grouped=True)
    elif len(found):
        selected = table(found, "runs", grouped=False)
    if not len(found):
        st.info("No run matches the filter." if len(runs) else "There are no runs in this folder yet.")
    with bar:
        actions(selected, waiting)


listing()
for problem in choice.runs.problems:
    st.warning(parts.plain(str(problem)), icon=":material/warning:")
