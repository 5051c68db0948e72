"""The recipe faults: what it asks, in which runs. Its training is in ``training``."""

from __future__ import annotations

from workbench.demos.faults import FAULTS
from workbench.demos.recipe import Recipe, Variant

RECIPE = Recipe(
    name="faults",
    question="Something may be wrong with this training: what?",
    about=(
        "Seven trainings of one small net on three tasks: name a digit, say whether it is odd, say whether it is five "
        "or above. The digits come from two sorting offices, were written down by four annotators and lie on paper of "
        "four colours. In each case one thing was done wrong, in one case nothing; run.json says which, under planted."
    ),
    variants=tuple(Variant(case, "find out what is wrong", steps=300) for case in FAULTS),
)
