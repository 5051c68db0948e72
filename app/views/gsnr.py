"""Which parameters carry signal, which carry noise?"""

from __future__ import annotations

import streamlit as st

import selection
from frame import lens_page
from widgets import one_of, switch
from workbench.lenses.gsnr.chosen import chosen_words
from workbench.lenses.gsnr.dropout_figures import GROUNDS
from workbench.lenses.gsnr.statistics import MASK_RATIOS, Gsnr

EVERY = "every module"

page = lens_page("gsnr")
stats: Gsnr = page.stats
modules = stats.parts[: 1 + stats.n_modules]

with st.sidebar:
    chosen = one_of("Module or parameter", [EVERY, *stats.parts], "part", hint="Modules first, then parameter tensors.")
    tensors = switch("Single tensors", "tensors", hint="Every parameter tensor instead of whole modules.")
with page.controls:
    style = one_of("Drawn as", ["heat map", "ridgeline"], "style")

if page.selected is not None:
    words = chosen_words(stats.domains, selection.about(page.run, page.selected))
    selection.explain(page.run, page.selected, words)
part = None if chosen == EVERY else chosen
page.main(part=part, style=style, tensors=tensors and part in modules)
masks = stats.dropout


def tensor() -> str | None:
    return one_of("Weights", list(masks.overlays), "tensor", first=masks.first) if masks.overlays else None


def at() -> int | None:
    steps = masks.mask_steps.tolist()
    return one_of("Step of the mask", steps, "mask_step", first=steps[-1]) if steps else None


def ground() -> str:
    return one_of("Inputs coloured by", GROUNDS, "ground")


def ratio() -> float:
    return float(one_of("Share of all weights taken", list(MASK_RATIOS), "ratio", first=0.05))


def against() -> str:
    return str(one_of("Against", ["training", "weight", "change"], "against"))


page.further(part=part, tensors=tensors, tensor=tensor, at=at, ground=ground, ratio=ratio, against=against)
