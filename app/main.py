"""Entry of the app: which pages there are, and the pickers in the sidebar."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

import live
from choice import choose
from parts import LENS_PAGES
from workbench.lenses import LENSES

# A picture of our own: a named icon would be fetched from another machine.
ICON = str(Path(__file__).with_name("icon.png"))
st.set_page_config("UR-Learn workbench", page_icon=ICON, layout="wide", initial_sidebar_state=264)
st.logo(ICON, size="large")

pages = {
    "": [
        st.Page(
            "views/runs.py", title="Runs", icon=":material/folder_open:", default=True, help="All runs, one a line."
        ),
        st.Page(
            "views/overview.py",
            title="Overview",
            icon=":material/dashboard:",
            help="One run: what is wrong, worst first.",
        ),
        st.Page("views/compare.py", title="Compare", icon=":material/compare_arrows:", help="Two runs side by side."),
    ],
    "What went wrong": [
        st.Page(f"views/{lens.slug}.py", title=LENS_PAGES[lens.slug][0], icon=LENS_PAGES[lens.slug][1], help=lens.title)
        for lens in LENSES
    ],
    "Look inside": [
        st.Page(
            "views/attribution.py",
            title="Attribution",
            icon=":material/center_focus_strong:",
            help="Where does the net look?",
        ),
    ],
    "What to expect": [
        st.Page(
            "views/before_training.py",
            title="Before training",
            icon=":material/query_stats:",
            help="Which tasks will fight, before any long training.",
        ),
    ],
    "What helps": [
        st.Page(
            "views/methods.py",
            title="Methods",
            icon=":material/science:",
            help="Published remedies, small trainings of them, and what held.",
        ),
    ],
}
page = st.navigation(pages, expanded=True)
with st.sidebar:
    choice = choose()
st.session_state["choice"] = choice
page.run()
live.watch(choice.run)
