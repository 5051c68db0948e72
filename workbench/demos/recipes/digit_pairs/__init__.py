"""The recipe digit-pairs: what it asks, in which runs. Its training is in ``training``."""

from __future__ import annotations

from workbench.demos.recipe import Recipe, Variant

RECIPE = Recipe(
    name="digit-pairs",
    question="Two digits in one picture: do four tasks on one trunk help or fight one another?",
    about=(
        "Two handwritten digits (MNIST) overlap in one picture. Four tasks share a small convolutional trunk: name the "
        "left digit, name the right digit, say whether both are odd or both even, and rebuild the picture. One more "
        "run per task trains it alone on the same pictures, so that the price of sharing is known. Recorded: task "
        "gradients, GSNR, embeddings, predictions."
    ),
    variants=(
        Variant("joint", "all four tasks on one trunk", steps=600),
        Variant("left-alone", "only the left digit", steps=600, question="How well does the left digit do alone?"),
        Variant("right-alone", "only the right digit", steps=600, question="How well does the right digit do alone?"),
        Variant("parity-alone", "only same parity", steps=600, question="How well does same parity do alone?"),
        Variant("rebuild-alone", "only the rebuilt picture", steps=600, question="How well does rebuilding do alone?"),
    ),
)
