"""Pages of a run that is being written refresh by themselves, without losing the reader's place."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from workbench.core import Run, RunFormatError

#: How often a run that is being written is looked at.
SECONDS = 3


def watch(run: Run | None) -> None:
    """Run the page again as soon as a live run changed on disk."""
    if run is not None and run.is_live:
        _look(run.path, run.fingerprint())


@st.fragment(run_every=SECONDS)
def _look(path: Path, seen: str) -> None:
    try:
        changed = Run(path).fingerprint() != seen
    except RunFormatError:
        changed = True
    if changed:
        st.rerun(scope="app")
