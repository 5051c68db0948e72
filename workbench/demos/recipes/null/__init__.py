"""The recipe null: what it asks, in which runs. Its training is in ``training``."""

from __future__ import annotations

from workbench.demos.recipe import Recipe, Variant

RECIPE = Recipe(
    name="null",
    question="Nothing is wrong here: does any lens cry wolf?",
    about=(
        "One net reads digits from two sorting offices that differ in name only, as two tasks, two domains and two "
        "datasets with one label space; annotators and paper are random. Everything is recorded. Whatever a lens calls "
        "a problem here is a false alarm."
    ),
    variants=(Variant("identical", "two tasks, domains and datasets that are the same", steps=300),),
)
