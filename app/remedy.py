"""Against a found conflict: what to train next, a button that trains the demo so, and the two runs side by side."""

from __future__ import annotations

import shutil

import streamlit as st

import parts
import training
from choice import TRAINED, collection, look_later, trained
from widgets import one_of
from workbench.core import Run
from workbench.demos import RECIPES
from workbench.lenses.conflict import Conflict
from workbench.lenses.conflict.remedy import remedies

#: Folder, beside the run with the remedy, that holds the run it is compared with.
BEFORE = "before"


def panel(run: Run, stats: Conflict) -> None:
    """Nothing where no conflict is called; the advice alone for a run that is no demo of ours."""
    found = {remedy.rule: remedy for remedy in remedies(stats)}
    if not found:
        return
    name, _, variant = run.info.name.partition("/")
    recipe = next((one for one in RECIPES if one.name == name == run.info.recipe), None)
    with st.container(border=True):
        st.markdown("**Train it with a remedy**")
        rule = str(one_of("Remedy", list(found), "remedy"))
        st.markdown(parts.prose(found[rule].reason))
        if recipe is None or variant not in [one.name for one in recipe.variants]:
            st.caption("Demo runs can be trained again from here; in your own loop, use the rule of that name.")
            return
        st.code(f"workbench remedy {run.path} --rule {rule}", language="bash")
        seed = run.info.seed or 0
        training.run_variants(recipe, [variant], seed, gradients=rule)
        folder = f"{name}-seed-{seed}-{rule.lower()}"
        if (trained() / folder / variant / "run.json").is_file():
            icon = ":material/compare_arrows:"
            if st.button("Both runs side by side", key=f"beside {folder}", icon=icon, type="primary"):
                _beside(run, folder, variant)
                st.switch_page("views/compare.py")


def _beside(run: Run, folder: str, variant: str) -> None:
    """Put a copy of the run beside the one with the remedy: only runs of one folder are compared."""
    place = trained() / folder / BEFORE
    if not (place / "run.json").is_file():
        shutil.copytree(run.path, place, dirs_exist_ok=True)
    collection.clear()
    look_later(f"{folder}/{BEFORE}", f"{folder}/{variant}", folder=TRAINED)
