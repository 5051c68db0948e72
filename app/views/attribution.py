"""Where does the net look, through which units, for which concepts, and which training data taught it that?"""

from __future__ import annotations

import streamlit as st

import asked
import concepts
import conductance
import influence
import maps
import parts
from choice import chosen_run
from frame import heading
from widgets import one_of

#: What is asked on this page.
MAPS, LAYERS, CONCEPTS, TRAINING = "pixels", "layers", "concepts", "training data"
HELP = {MAPS: maps.HELP, LAYERS: conductance.HELP, CONCEPTS: concepts.HELP, TRAINING: influence.HELP}
SECTIONS = {
    MAPS: maps.section,
    LAYERS: conductance.section,
    CONCEPTS: concepts.section,
    TRAINING: influence.section,
}

run = chosen_run()
heading("Where does the net look?", run, selects=True)
net = asked.choose(run)
view = one_of("Ask about", list(SECTIONS), "ask")
SECTIONS[view](run, net)
with st.expander("How to read this", icon=":material/help:"):
    st.markdown(HELP[view])
parts.problems(run)
