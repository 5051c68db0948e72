"""Two runs side by side: what differs between them, where they ended, what each lens says of either."""

from __future__ import annotations

import streamlit as st

import parts
from choice import chosen_run, current
from readings import reading
from widgets import one_of
from workbench.core import Run, WorkbenchError
from workbench.lenses import LENSES, Lens
from workbench.lenses.compare import differences, metrics, same_scales
from workbench.lenses.links import first_verdict


def verdicts(first: Run, second: Run) -> None:
    """What each lens says first of either run."""
    for lens in LENSES:
        st.markdown(f"**{lens.title}**")
        for side, run in zip(st.columns(2), (first, second), strict=True):
            verdict, _found = first_verdict(run, lens, reading)
            side.markdown(f"{parts.mark(verdict.level)} {parts.prose(verdict.sentence)}")


def figures(first: Run, second: Run, lens: Lens) -> None:
    """The main figure of a lens for both runs, on the same scales."""
    try:
        a, b = reading(first, lens.slug), reading(second, lens.slug)
    except WorkbenchError as error:
        st.info(parts.prose(str(error).splitlines()[0]), icon=":material/info:")
        return
    drawn = same_scales(a.figure(), b.figure())
    for side, found, fig, place in zip(st.columns(2), (a, b), drawn, ("first", "second"), strict=True):
        with side:
            st.markdown(f"**{parts.plain(found.run.name)}**")
            parts.chart(fig, f"{place} {lens.slug}", found.verdict.sentence, parts.MAIN_HEIGHT)


first, choice = chosen_run(), current()
st.title("How do these two runs differ?", anchor=False)
if choice.other is None:
    st.info("Choose a second run under Compare with in the sidebar, or select two runs on the Runs page.")
    st.stop()
second = choice.other
names = {"first": str(choice.key), "second": str(choice.other_key)}
st.caption(f"First: {parts.plain(names['first'])}. Second: {parts.plain(names['second'])}.")

left, right = st.columns([3, 2])
with left:
    st.subheader("Options that differ", anchor=False)
    differing = differences(first, second).rename(columns=names)
    if len(differing):
        st.dataframe(differing, hide_index=True, alt="Options that differ", height=min(36 * (len(differing) + 1), 300))
    else:
        st.caption("All recorded options are the same.")
with right:
    st.subheader("Last logged values", anchor=False)
    values = metrics(first, second).rename(columns=names)
    if len(values):
        st.dataframe(values, hide_index=True, alt="Last values of both runs", height=min(36 * (len(values) + 1), 300))
    else:
        st.caption("Neither run logged scalars.")

st.subheader("Verdict by verdict", anchor=False)
verdicts(first, second)
st.subheader("The same figure on the same scales", anchor=False)
titles = {lens.slug: lens for lens in LENSES}
slug = one_of("Lens", list(titles), "lens", name=lambda slug: parts.LENS_PAGES[slug][0])
figures(first, second, titles[slug])
