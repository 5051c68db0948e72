"""All runs of the folder, one a line; with the sample runs grouped by the question they answer."""

from __future__ import annotations

import pandas as pd
import streamlit as st

import opening
import parts
from choice import SAMPLES, current, look_at, look_later
from readings import board, reading_in_background
from widgets import one_of
from workbench.lenses import LENSES, LEVELS, MARKS
from workbench.lenses.board import frame, group_question, matching
from workbench.lenses.domains.sweep import sweep_table

STATES = ("live", "done", "failed", "stopped")


def columns(grouped: bool, asks: bool, opener: str) -> dict[str, object]:
    """How the table shows each column, in this order; None hides it."""
    marks = [f"{MARKS[level]} {level}" for level in LEVELS]
    colours = [parts.BADGES[level] for level in LEVELS]
    shown: dict[str, object] = {
        "run": st.column_config.TextColumn("Run", width=150 if grouped else 215),
        "open": st.column_config.ButtonColumn("", width=66, type="tertiary", on_click=open_clicked, key=opener),
    }
    for lens in LENSES:
        shown[lens.slug] = st.column_config.MultiselectColumn(
            parts.LENS_PAGES[lens.slug][0], options=marks, color=colours, width=98, help=lens.title
        )
    about = {"question": st.column_config.TextColumn("What it asks", width=260 if grouped else 420)}
    course = st.column_config.LineChartColumn(
        "Main metric", width=100, help="The course of the first summary value, an accuracy, or a loss."
    )
    rest = {
        "step": st.column_config.NumberColumn("Step", width=60, format="%d"),
        "state": st.column_config.TextColumn("State", width=64),
        "age": st.column_config.TextColumn("Changed", width=72, help="How long ago the run was last written to."),
        "method": st.column_config.TextColumn("Method", width=130),
        "seed": st.column_config.NumberColumn("Seed", width=50, format="%d"),
        "recipe": st.column_config.TextColumn("Recipe", width=120),
    }
    return shown | {"course": course} | (about if grouped and asks else {}) | rest | ({} if grouped else about)


def open_clicked() -> None:
    """Open the run whose button was clicked on its overview."""
    for opener, keys in st.session_state["runs shown"].items():
        click = st.session_state.get(opener)
        if click is not None and click.row < len(keys):
            look_at(keys[click.row])
            st.switch_page("views/overview.py")


def table(runs: pd.DataFrame, key: str, grouped: bool) -> list[str]:
    """One table of runs; the keys of the selected ones."""
    drawn = runs.assign(age=[parts.age(seconds) for seconds in runs["age"]], open="Open")
    if grouped:
        drawn["run"] = [key.rpartition("/")[2] for key in runs["run"]]
    for lens in LENSES:
        drawn[lens.slug] = [[f"{MARKS[level]} {level}"] if level in MARKS else [] for level in runs[lens.slug]]
    shown = columns(grouped, runs["question"].nunique() > 1, f"{key} open")
    keys = list(runs["run"])
    st.session_state["runs shown"][f"{key} open"] = keys
    event = st.dataframe(
        drawn[list(shown)],
        key=key,
        hide_index=True,
        column_config=shown,
        on_select="rerun",
        selection_mode="multi-row",
        height="content" if len(drawn) <= 18 else 640,
        placeholder="",
        alt="Runs with their verdicts",
    )
    return [keys[row] for row in event.selection.rows if row < len(keys)]


def comparison(selected: list[str], waiting: bool) -> None:
    """The button that compares two selected runs, and what to do next."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Compare", disabled=len(selected) != 2, icon=":material/compare_arrows:"):
            look_later(*selected)
            st.switch_page("views/compare.py")
        hints = ("Select two runs to compare them.", "Select a second run to compare.", "")
        words = hints[len(selected)] if len(selected) < 3 else "Only two runs can be compared: unselect some."
        st.caption(f"{words} {'Verdicts are being read…' if waiting else ''}", width="stretch")


choice = current()
with st.container(horizontal=True, vertical_alignment="center"):
    st.title("What went wrong in these runs?", anchor=False, width="stretch")
    some = "1 run" if len(choice.runs) == 1 else f"{len(choice.runs)} runs"
    st.caption(f"{some} in {parts.plain(str(choice.runs.folder))}", width="content")

opening.panel()
with st.container(horizontal=True, vertical_alignment="bottom"):
    text = st.text_input("Filter", key="filter", bind="query-params", placeholder="name, question, method…", width=320)
    states = st.pills("State", STATES, selection_mode="multi", key="state", bind="query-params")
    arrange = one_of(
        "Arrange", ["by question", "as a list"] if choice.folder == SAMPLES else ["as a list", "by question"], "arrange"
    )


@st.fragment(run_every=2 if st.session_state.get("verdicts due") else None)
def listing() -> None:
    runs = frame(choice.runs, board())
    waiting = bool(runs["due"].any()) and reading_in_background(choice.runs.folder, True)
    if waiting != bool(st.session_state.get("verdicts due")):
        st.session_state["verdicts due"] = waiting
        st.rerun(scope="app")
    found = matching(runs, text or "", states)
    st.session_state["runs shown"] = {}
    bar = st.container()
    selected: list[str] = []
    if arrange == "by question":
        for group, members in found.groupby(found["run"].map(lambda key: key.rpartition("/")[0]), sort=False):
            st.markdown(f"**{parts.plain(group or 'Runs')}** {parts.plain(group_question(members['question']))}")
            selected += table(members, f"runs {group}", grouped=True)
    elif len(found):
        selected = table(found, "runs", grouped=False)
    if not len(found):
        st.info("No run matches the filter." if len(runs) else "There are no runs in this folder yet.")
    with bar:
        comparison(selected, waiting)


sweep = sweep_table(dict(choice.runs.items()))
if len(sweep):
    st.subheader("Accuracy on each held-out environment", anchor=False)
    st.caption("DomainBed's three rules of choosing a model: percent, mean ± standard error over trials.")
    st.dataframe(sweep, hide_index=True, alt="Accuracy on each held-out environment under three rules")
listing()
for problem in choice.runs.problems:
    st.warning(parts.plain(str(problem)), icon=":material/warning:")
