"""The recipe digit-domains: what it asks, in which runs. Its training is in ``training``."""

from __future__ import annotations

from workbench.demos.recipe import Recipe, Variant

RECIPE = Recipe(
    name="digit-domains",
    question="Trained on five kinds of digit pictures: how far away is the sixth, and where in the net?",
    about=(
        "The digits 0 to 9 in six domains: MNIST, UCI digits, and MNIST inverted, rotated by 40 degrees, blurred, and "
        "blended over photographs. Each run leaves one domain out of training and minimises the plain risk on the "
        "other five. Recorded: embeddings of all domains from the initialisation on, GSNR and gradients per domain, "
        "predictions."
    ),
    variants=(
        Variant("without-photographs", "trained without the digits over photographs", steps=500),
        Variant("without-inverted", "trained without the inverted digits", steps=500),
        Variant("without-uci", "trained without the UCI digits", steps=500),
    ),
)
