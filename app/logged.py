"""What a training logged beside numbers: distributions, pictures and text."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

import parts
from widgets import one_of
from workbench.core import Run
from workbench.lenses import gallery, histograms

#: Texts that are shown at once.
MOST_TEXTS = 20


def tabs(run: Run) -> dict[str, Callable[[], None]]:
    """A tab for each kind that the run has."""
    offers: dict[str, tuple[str, Callable[[Run], None]]] = {
        "histograms": ("Distributions", _distributions),
        "images": ("Pictures", _pictures),
        "texts": ("Text", _texts),
    }
    return {title: lambda draw=draw: draw(run) for table, (title, draw) in offers.items() if run.has(table)}


def _distributions(run: Run) -> None:
    tag = one_of("Logged as", histograms.tags_of(run), "distribution")
    stats = histograms.statistics(run, tag)
    fig = histograms.figure(stats)
    parts.chart(fig, "distribution figure", f"Distribution of {tag} over steps", file=f"{run.name}-{tag}")
    with st.container(horizontal=True, vertical_alignment="top", wrap=False):
        st.caption(" ".join((histograms.__doc__ or "").split("\n\n", 1)[1].split()), width="stretch")
        parts.figure_download(fig, f"{run.name}-{tag}")


def _pictures(run: Run) -> None:
    tags = gallery.image_tags(run)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        tag = one_of("Logged as", list(tags), "pictures")
        steps = tags[tag]
        if len(steps) > 1:
            step = st.select_slider("Step", steps, value=steps[-1], key=f"pictures of {tag}")
        else:
            step = steps[0]
    found = gallery.logged_images(run, tag, step)
    if not found:
        st.caption("The pictures of this step are damaged.")
    with st.container(horizontal=True):
        for place, picture in enumerate(found):
            st.image(
                picture, caption=f"step {step:,}, {place + 1} of {len(found)}", width=220, alt=f"{tag} at step {step}"
            )


def _texts(run: Run) -> None:
    tags = run.query("SELECT DISTINCT tag FROM texts ORDER BY tag")["tag"].astype(str).tolist()
    tag = one_of("Logged as", tags, "texts")
    found = run.query("SELECT step, text FROM texts WHERE tag = ? ORDER BY step DESC", [tag])
    for row in found.head(MOST_TEXTS).itertuples():
        st.caption(f"Step {row.step:,}")
        st.code(str(row.text), language=None, wrap_lines=True)
    if len(found) > MOST_TEXTS:
        st.caption(f"The last {MOST_TEXTS} of {len(found):,} are shown; all of them are in the table texts.")
