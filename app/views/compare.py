"""Two runs side by side: what differs between them, where they ended, what each lens says of either."""

from __future__ import annotations

import pandas as pd
import streamlit as st

import parts
from choice import chosen_run, current
from readings import reading
from widgets import one_of
from workbench.core import Run, WorkbenchError
from workbench.lenses import LENSES, Lens, Reading
from workbench.lenses.bias import paired
from workbench.lenses.compare import differences, metrics, same_scales
from workbench.lenses.gsnr import paired as with_and_without
from workbench.lenses.labels import map_figure
from workbench.lenses.labels import paired as by_label
from workbench.lenses.links import first_verdict


def verdicts(first: Run, second: Run) -> list[Lens]:
    """What each lens says first of either run. Returns the lenses that could read both."""
    both = []
    for lens in LENSES:
        question, *sides = st.columns([2, 5, 5])
        question.markdown(f"**{lens.title}**")
        read = []
        for side, run in zip(sides, (first, second), strict=True):
            verdict, found = first_verdict(run, lens, reading)
            side.markdown(f"{parts.mark(verdict.level)} {parts.prose(verdict.sentence)}")
            read.append(found is not None)
        if all(read):
            both.append(lens)
    return both


def figures(first: Run, second: Run, lens: Lens) -> None:
    """The main figure of a lens for both runs, on the same scales."""
    a, b = reading(first, lens.slug), reading(second, lens.slug)
    drawn = same_scales(a.figure(), b.figure())
    for side, found, fig, place in zip(st.columns(2), (a, b), drawn, ("first", "second"), strict=True):
        with side:
            st.markdown(f"**{parts.plain(found.run.name)}**")
            parts.chart(fig, f"{place} {lens.slug}", found.verdict.sentence, parts.MAIN_HEIGHT)
    if lens.slug == "bias":
        sample_by_sample(first, second)
    if lens.slug == "gsnr":
        parameter_by_parameter(a, b)
    if lens.slug == "labels":
        label_by_label(a, b)


def label_by_label(first: Reading, second: Reading) -> None:
    """IoU of single labels in both runs, and the pictures that both kept."""
    compared = by_label.compare(first.stats, second.stats)
    if not len(compared):
        return
    names = (first.run.name, second.run.name)
    places = {f"{pictures} in {labels}'s labels": (pictures, labels) for pictures, labels in by_label.places(compared)}
    pictures, labels = places[one_of("Pictures of", list(places), "place")]
    parts.chart(by_label.figure(compared, names, pictures, labels), "by_label", "IoU of every label in both runs")
    if first.stats.maps is not None and second.stats.maps is not None:
        try:
            drawn = map_figure.strip_of_two(first.stats, second.stats, names, labels)
        except WorkbenchError as error:
            st.caption(parts.prose(str(error)))
            return
        parts.chart(drawn, "pictures", "The same pictures with what is true and what both nets said")


def parameter_by_parameter(first: Reading, second: Reading) -> None:
    """GSNR of single parameters in both runs, at a step that both recorded."""
    steps = with_and_without.common_steps(first.stats, second.stats)
    if not steps:
        st.caption("The two runs recorded their GSNR at different steps.")
        return
    at = one_of("Step", steps, "both_step", first=steps[-1])
    names = (first.run.name, second.run.name)
    parts.chart(with_and_without.figure(first.stats, second.stats, names, at), "both", "GSNR in both runs, overlaid")


def sample_by_sample(first: Run, second: Run) -> None:
    """Which groups gained and which lost, on the samples that both runs predicted."""
    try:
        found = paired.compare(first, second)
    except WorkbenchError as error:
        st.caption(parts.prose(str(error).splitlines()[0]))
        return
    parts.verdict_lines(paired.verdicts(found))
    parts.chart(paired.figure(found), "paired", "Both runs' value of every group, joined")


def numbers(title: str, frame: pd.DataFrame, otherwise: str) -> None:
    """A small table with its title, or a sentence where it is empty."""
    st.subheader(title, anchor=False)
    if len(frame):
        height = "content" if len(frame) <= 7 else 300
        st.dataframe(frame, hide_index=True, alt=title, placeholder="", height=height)
    else:
        st.caption(otherwise)


first, choice = chosen_run(), current()
with st.container(horizontal=True):
    st.title("How do these two runs differ?", anchor=False)
if choice.other is None:
    st.info("Choose a second run under Compare with in the sidebar, or select two runs on the Runs page.")
    st.stop()
second = choice.other
st.markdown(f"**First** {parts.plain(str(choice.key))}  \n**Second** {parts.plain(str(choice.other_key))}")

left, right = st.columns(2)
with left:
    numbers("Options that differ", differences(first, second), "All recorded options are the same.")
with right:
    numbers("Last logged values", metrics(first, second), "Neither run logged scalars.")

st.subheader("Verdict by verdict: first, second", anchor=False)
both = {lens.slug: lens for lens in verdicts(first, second)}
st.subheader("The same figure on the same scales", anchor=False)
if both:
    slug = one_of("Lens", list(both), "lens", name=lambda slug: parts.LENS_PAGES[slug][0])
    figures(first, second, both[slug])
else:
    st.caption("No lens could read both runs.")
