"""Class lists of well-known public datasets, names only, as a run that the labels lens opens."""

from __future__ import annotations

from hashlib import sha256

import streamlit as st

import parts
from choice import TRAINED, collection, look_later, trained
from workbench.core import RunWriter
from workbench.demos.label_spaces import LABEL_SPACES, published

#: Chosen at the start: lists of street scenes.
STREETS = ("cityscapes", "bdd100k", "camvid", "idd", "wilddash2")
FOLDER = "published class lists"


def panel() -> None:
    """Choose lists in the sidebar, and open them as a run."""
    with st.sidebar.expander("Published class lists"):
        st.caption("Names alone, without any sample: what a merge by name would start from.")
        chosen = st.multiselect(
            "Datasets", list(LABEL_SPACES), default=STREETS, key="published lists", label_visibility="collapsed",
            format_func=lambda name: f"{name} ({len(LABEL_SPACES[name])})",
        )  # fmt: skip
        st.button(
            "Compare their names", key="open lists", icon=":material/label:", on_click=_open, args=(tuple(chosen),),
            disabled=len(chosen) < 2, help=None if len(chosen) > 1 else "At least two lists.",
        )  # fmt: skip


def _open(names: tuple[str, ...]) -> None:
    """Write a run of these lists, once, and go to it."""
    key = f"{FOLDER}/{parts.file_name('-'.join(names))[:60]}-{sha256('/'.join(names).encode()).hexdigest()[:6]}"
    folder = trained() / key
    if not (folder / "run.json").is_file():
        with RunWriter(
            folder, name=", ".join(names), datasets=published(*names), question="Do these label lists agree by name?",
            notes=("Published class lists, names only: no sample, no prediction, no training.",),
        ):  # fmt: skip
            pass
        collection.clear()
    look_later(key, folder=TRAINED)
