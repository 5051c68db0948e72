"""Train a demo from a page: which runs, with which seed and gradient rule; live curves; then side by side."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

import background
import parts
from choice import TRAINED, collection, look_later, trained
from readings import scalars
from workbench.core import Run, WorkbenchError
from workbench.demos import Recipe
from workbench.lenses import scalars as curves

#: Curves of a training that are drawn while it runs, at most.
MAX_LIVE = 6


def panel(recipe: Recipe) -> None:
    """The options that matter, the button, and what comes of it."""
    with st.container(border=True):
        st.markdown(f"**Train it** {parts.plain(recipe.question)}")
        first = [name for claim in recipe.claims[:1] for name in (*claim.methods[:1], *claim.baselines[:1])]
        chosen = st.multiselect(
            "Runs",
            [variant.name for variant in recipe.variants],
            default=first or [variant.name for variant in recipe.variants[:2]],
            key=f"variants {recipe.name}",
            format_func=lambda name: f"{name}: {recipe.variant(name).about}",
        )
        seed = int(st.number_input("Seed", 0, 10**6, 1, key=f"seed {recipe.name}", width=140))
        run_variants(recipe, chosen, seed)


def run_variants(recipe: Recipe, variants: list[str], seed: int, gradients: str = "") -> None:
    """A button that trains these variants, progress while it does, and the way to the runs when they are there."""
    name = f"{recipe.name}-seed-{seed}" + (f"-{gradients.lower()}" if gradients else "")
    title = f"{name} {' '.join(variants)}"
    work = background.find(title)
    if work is None or work.state != "running":
        label = "Train" if work is None else "Train again"
        if st.button(label, key=f"train {title}", icon=":material/play_arrow:", disabled=not variants, type="primary"):
            background.start(title, _command(recipe, variants, seed, gradients, trained() / name))
            st.rerun()
    if work is not None and background.follow(work, lambda: _live(trained() / name, variants)) == "done":
        _after(name, variants)


def _command(recipe: Recipe, variants: list[str], seed: int, gradients: str, out: Path) -> list[str]:
    only = [part for variant in variants for part in ("--only", variant)]
    rule = ["--gradients", gradients] if gradients else []
    return ["train", recipe.name, *only, "--seed", str(seed), "--out", str(out), "--overwrite", *rule]


def _live(folder: Path, variants: list[str]) -> None:
    """The losses so far of the run that is being written."""
    for variant in reversed(variants):
        try:
            run = Run(folder / variant)
            tags = [tag for tag in curves.summary(run)["tag"] if tag.startswith(("loss", "accuracy"))][:MAX_LIVE]
            if tags:
                fig = curves.figure(scalars(run, tuple(tags)))
                parts.chart(fig, f"live {folder.name} {variant}", f"Losses of {variant} so far", 320)
                return
        except WorkbenchError:
            continue  # not begun yet


def _after(name: str, variants: list[str]) -> None:
    collection.clear()
    keys = [f"{name}/{variant}" for variant in variants]
    with st.container(horizontal=True):
        if len(keys) > 1 and st.button(
            "Compare with the baseline", key=f"compare {name}", icon=":material/compare_arrows:"
        ):
            look_later(keys[0], keys[1], folder=TRAINED)
            st.switch_page("views/compare.py")
        for key in keys:
            if st.button(f"Open {parts.plain(key.rpartition('/')[2])}", key=f"see {key}", icon=":material/dashboard:"):
                look_later(key, folder=TRAINED)
                st.switch_page("views/overview.py")


def first_seed(recipe: str) -> None:
    """A button that trains one seed of everything a recipe's claims compare."""
    title = f"first seed of {recipe}"
    work = background.find(title)
    if work is None or work.state != "running":
        out, jobs = str(trained()), str(max(1, (os.cpu_count() or 2) // 2))
        label = f"Train the first seed of all that the claims of {recipe} compare"
        if st.button(label, key=f"claims {recipe}", icon=":material/play_arrow:", type="tertiary"):
            background.start(title, ["claims", recipe, "--seeds", "1", "--out", out, "--jobs", jobs])
            st.rerun()
    if work is not None and background.follow(work) == "done":
        st.caption("Done. The runs are offered under each claim.")
