"""The recipe digit-biases: what it asks, in which runs. Its training is in ``training``."""

from __future__ import annotations

from workbench.demos.recipe import Recipe, Variant

RECIPE = Recipe(
    name="digit-biases",
    question="Which digits does the model misread, and which two factors together are worse than each alone?",
    about=(
        "Coloured digits that differ in colour, rotation, blur, occlusion and stroke. Training saw each rare level "
        "seldom, and something went wrong where two of them met; the test shows all combinations equally often. "
        "Recorded: predictions with all five factors, embeddings, GSNR of upright and tilted digits."
    ),
    variants=(Variant("skewed", "trained on the skewed mix", steps=700),),
)
