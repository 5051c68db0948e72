"""Which parameters carry signal, which carry noise?"""

from __future__ import annotations

import streamlit as st

from frame import Options, lens_page
from widgets import one_of, switch
from workbench.lenses.gsnr.statistics import Gsnr

EVERY = "every module"

page = lens_page("gsnr")
stats: Gsnr = page.stats
modules = stats.parts[: 1 + stats.n_modules]

with st.sidebar:
    part = one_of("Module or parameter", [EVERY, *stats.parts], "part", hint="Modules first, then parameter tensors.")
    tensors = switch("Single tensors", "tensors", hint="Every parameter tensor instead of whole modules.")
with page.controls:
    style = one_of("Drawn as", ["heat map", "ridgeline"], "style")


def of_part() -> Options:
    return {} if part == EVERY else {"part": part}


page.main(style=style, tensors=tensors and part in modules, **of_part())
page.further(
    {
        "quantiles": of_part,
        "modules": lambda: {"tensors": tensors},
        "domains": lambda: of_part() if part in modules else {},
    }
)
