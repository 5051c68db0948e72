"""Which parameters carry signal, which carry noise?"""

from __future__ import annotations

import streamlit as st

from frame import lens_page
from widgets import one_of, switch
from workbench.lenses.gsnr.statistics import Gsnr

EVERY = "every module"

page = lens_page("gsnr")
stats: Gsnr = page.stats
modules = stats.parts[: 1 + stats.n_modules]

with st.sidebar:
    chosen = one_of("Module or parameter", [EVERY, *stats.parts], "part", hint="Modules first, then parameter tensors.")
    tensors = switch("Single tensors", "tensors", hint="Every parameter tensor instead of whole modules.")
with page.controls:
    style = one_of("Drawn as", ["heat map", "ridgeline"], "style")

part = None if chosen == EVERY else chosen
page.main(part=part, style=style, tensors=tensors and part in modules)
page.further(part=part, tensors=tensors)
