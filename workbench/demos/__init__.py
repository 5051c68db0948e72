"""Data, small nets, one trainer and recipes that record the sample runs.

from workbench.demos import find_recipe, train
train(find_recipe("digit-pairs"), Path("runs/pairs"), seed=1)

Nothing here imports torch before a recipe is trained.
"""

from __future__ import annotations

from workbench.core import ConfigError
from workbench.demos.recipe import Job, Recipe, Stopped, Variant, train

__all__ = ["RECIPES", "Job", "Recipe", "Stopped", "Variant", "find_recipe", "train"]

DIGIT_PAIRS = Recipe(
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
    module="workbench.demos.recipes.digit_pairs",
)

#: Every recipe, in the order of lists.
RECIPES: tuple[Recipe, ...] = (DIGIT_PAIRS,)


def find_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises ConfigError with the known names otherwise."""
    for candidate in RECIPES:
        if candidate.name == name:
            return candidate
    known = ", ".join(candidate.name for candidate in RECIPES)
    raise ConfigError(f"There is no recipe '{name}'. Recipes: {known}.")
