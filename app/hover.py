"""What the pointer finds in figures: the picture of a sample beside it, and the cell of a matrix that was clicked.

hover.pictures(run, ("domain", "class"), on_cell=take)
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from workbench.core import Run
from workbench.lenses.gallery import thumbnails

#: Samples that one question of the browser is answered for.
MOST = 64
KEY = "pictures on hover"
#: Whether a cell was just clicked, so that the page has to be drawn again.
CLICKED = "cell clicked"
#: What was found for the last question.
FOUND = "pictures found"
HTML = """<style class="box-style">
.box { position: fixed; left: 0; top: 0; z-index: 1000000; pointer-events: none; max-width: 240px; padding: 6px 8px;
  border-radius: 8px; font: 12px var(--st-font, sans-serif); white-space: pre-line; overflow-wrap: anywhere;
  color: var(--st-text-color, #333); background: var(--st-background-color, #fff);
  border: 1px solid var(--st-border-color, #ccc); box-shadow: 0 2px 10px rgb(0 0 0 / 25%); }
.box[hidden] { display: none; }
img { width: 96px; height: 96px; object-fit: contain; image-rendering: pixelated; display: block; }
.box div:not(:empty) { margin-top: 4px; }
img[hidden] { display: none; }
</style>
<div class="home"><div class="box" hidden><img alt="" hidden><div></div></div></div>"""


def pictures(run: Run, about: tuple[str, ...], on_cell: Callable[[str], None] | None = None) -> None:
    """Let the pointer ask for pictures and choose cells: put it once on a page, after the figures.

    Args:
        about: Columns of ``samples`` whose values are written under a picture.
        on_cell: Gets the name of a clicked cell (``meta`` of a heat map, under ``cells``), before the page runs again.
            What comes from a browser may be anything: look the name up.
    """
    if run.has("samples") or on_cell is not None:
        _answer(run, about, on_cell)


@st.fragment
def _answer(run: Run, about: tuple[str, ...], on_cell: Callable[[str], None] | None) -> None:
    """Runs alone, so that a question draws nothing else of the page again."""

    def asked() -> None:
        if run.has("samples"):
            st.session_state[FOUND] = found(run, st.session_state[KEY].get("near"), about)

    def clicked() -> None:
        if on_cell is not None:
            on_cell(str(st.session_state[KEY].get("cell")))
            st.session_state[CLICKED] = True

    component = st.components.v2.component(
        "workbench_pictures", html=HTML, js=Path(__file__).with_name("hover.js").read_text(encoding="utf-8")
    )
    data = {"run": run.path.as_posix(), "found": st.session_state.pop(FOUND, {})}
    component(data=data, key=KEY, height=1, on_near_change=asked, on_cell_change=clicked)
    if st.session_state.pop(CLICKED, False):
        st.rerun(scope="app")


def found(run: Run, near: Any, about: tuple[str, ...]) -> dict[str, dict[str, str | None]]:
    """Sample -> its picture as base64 and what is known of it; nothing for what is no list of numbers."""
    ids = [int(item) for item in near if isinstance(item, int | float)][:MOST] if isinstance(near, list) else []
    if not ids:
        return {}
    rows: pd.DataFrame = thumbnails(run, ids, about, MOST)
    answers = {
        str(row.sample): {"picture": b64encode(row.picture).decode() if row.picture else None, "words": row.words}
        for row in rows.itertuples()
    }
    return {str(sample): answers.get(str(sample), {"picture": None, "words": ""}) for sample in ids}
