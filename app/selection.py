"""The selection: samples chosen on one page that other pages show, as a chip beside the title and in the address.

selected = selection.chip(run)             # beside the title: what is selected, keep it, forget it, clear it
selection.offer("Select", {"a": find_a})   # a list whose choice becomes the selection
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pandas as pd
import streamlit as st

import parts
from workbench.core import Run, WorkbenchError
from workbench.lenses.gallery import thumbnails
from workbench.lenses.kept import forget
from workbench.lenses.makeup import in_words, makeup
from workbench.lenses.sample_sets import (
    KIND,
    MAX_UNNAMED,
    UNNAMED,
    SampleSet,
    name_it,
    named,
    recall,
    remember,
    sample_set,
)

#: Where the address of the selection stands, in the page's address and in the session.
KEY = "selection"
#: What could not be selected, and why, until the next rerun.
TROUBLE = "selection trouble"
#: Characters of the words that a chip shows.
CHIP = 32
#: Pictures of the selection that a page shows: two rows, so that the views below stay near.
PICTURES = 18


def current(run: Run) -> SampleSet | None:
    """The selection on this run. A link brings its own; one made in this session goes along from page to page."""
    address = st.query_params.get(KEY) or st.session_state.get(KEY)
    found = recall(run, address) if address else None
    st.session_state[KEY] = address if found is not None else None
    if found is not None:
        st.query_params[KEY] = address
    else:
        st.query_params.pop(KEY, None)
    return found


def select(run: Run, samples: Iterable[int], words: str) -> None:
    """Make samples the selection; for callbacks."""
    try:
        _go_to(remember(run, sample_set(samples, words)))
    except WorkbenchError as error:
        st.session_state[TROUBLE] = str(error)


def _go_to(address: str | None) -> None:
    st.session_state[KEY] = address
    if address is None:
        st.query_params.pop(KEY, None)
    else:
        st.query_params[KEY] = address


def offer(label: str, choices: Mapping[str, Callable[[], Iterable[int]]], run: Run, where: str) -> None:
    """A list of groups of samples. Choosing one makes it the selection.

    Args:
        choices: Words -> what finds the samples; called only for the choice.
        where: The rest of the words that the selection goes by, such as the lens and the task.
    """
    key = f"{where} {label}"

    def choose() -> None:
        words = st.session_state[key]
        st.session_state[key] = None
        if words is not None:
            try:
                select(run, choices[words](), f"{words} ({where})")
            except WorkbenchError as error:
                st.session_state[TROUBLE] = str(error)

    with st.container(width=260):
        st.selectbox(
            label, list(choices), index=None, key=key, on_change=choose, placeholder="a group of samples",
            help="The samples of the group become the selection, which other pages show too.",
        )  # fmt: skip


def chip(run: Run) -> SampleSet | None:
    """The selection and what can be done with it; nothing is drawn where there is none and none was kept."""
    chosen, known = current(run), named(run)
    trouble = st.session_state.pop(TROUBLE, None)
    if trouble:
        st.toast(parts.plain(trouble), icon=":material/block:")
    if chosen is None and not known:
        return None
    address = st.session_state[KEY]
    label = "Kept selections" if chosen is None else _short(address, chosen)
    with st.popover(parts.plain(label), icon=":material/filter_alt:", key="selection chip"):
        if chosen is not None:
            _keep_or_forget(run, address, chosen)
        for name, kept in known.items():
            if name != address:
                st.button(
                    f"{parts.plain(name)} :gray[{len(kept.samples):,} samples]", key=f"selection go {name}",
                    on_click=_go_to, args=(name,), type="tertiary", icon=":material/bookmark:",
                    help=parts.plain(kept.words),
                )  # fmt: skip
    if chosen is not None:
        st.button(
            "", key="selection clear", icon=":material/close:", type="tertiary", on_click=_go_to, args=(None,),
            help="Clear the selection",
        )  # fmt: skip
    return chosen


def _short(address: str, chosen: SampleSet) -> str:
    words = chosen.words if address.startswith(UNNAMED) else address
    if len(words) > CHIP:
        words = f"{words[: CHIP - 1]}…"
    return f"{words} · {len(chosen.samples):,} samples"


def _keep_or_forget(run: Run, address: str, chosen: SampleSet) -> None:
    """What is selected in full, a name to keep it under, and how to drop a name."""
    st.markdown(f"**{len(chosen.samples):,} samples**: {parts.plain(chosen.words)}")
    if not address.startswith(UNNAMED):
        st.button(
            f"Forget '{parts.plain(address)}'", key="selection forget", icon=":material/bookmark_remove:",
            on_click=_forget, args=(run, address, chosen), help="The samples stay selected, without the name.",
        )  # fmt: skip
        return
    st.text_input(
        "Keep as", key="selection name", placeholder="a name, then Enter", on_change=_name, args=(run, chosen)
    )
    st.caption(
        f"Kept with the analysis of this run, never in the run itself. Without a name it is one of the last "
        f"{MAX_UNNAMED} that the cache holds."
    )


def _name(run: Run, chosen: SampleSet) -> None:
    name = st.session_state["selection name"]
    try:
        if name:
            _go_to(name_it(run, chosen, name))
    except WorkbenchError as error:
        st.session_state[TROUBLE] = str(error)


def _forget(run: Run, name: str, chosen: SampleSet) -> None:
    forget(run, KIND, name)
    _go_to(remember(run, chosen))


@st.cache_data(max_entries=64, show_spinner=False)
def _makeup(path: Path, fingerprint: str, chosen: SampleSet, _run: Run) -> pd.DataFrame:
    return makeup(_run, chosen.samples)


def about(run: Run, chosen: SampleSet) -> pd.DataFrame:
    """What the selected samples are (see :func:`workbench.lenses.makeup.makeup`)."""
    return _makeup(run.path, run.fingerprint(), chosen, run)


def explain(run: Run, chosen: SampleSet, words: str) -> None:
    """What the selection holds and what the page's figures tell about it.

    Args:
        words: What they tell; text between backticks is code.
    """
    n = len(chosen.samples)
    held = in_words(about(run, chosen))
    line = f":material/filter_alt: **{n:,} selected samples**. {parts.plain(held)} {parts.prose(words)}"
    st.markdown(f":small[{line}]")


def pictures(run: Run, chosen: SampleSet, about: Iterable[str]) -> None:
    """The first samples of the selection as they were recorded."""
    parts.gallery(thumbnails(run, chosen.samples, tuple(about), PICTURES), len(chosen.samples))
