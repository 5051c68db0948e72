"""Data, small nets, one trainer, recipes that record the sample runs, and the claims board.

from workbench.demos import find_recipe, train
train(find_recipe("digit-pairs"), Path("runs/pairs"), seed=1)

Nothing here imports torch before a recipe is trained.
"""

from __future__ import annotations

from workbench.core import ConfigError
from workbench.demos.claim import Claim
from workbench.demos.recipe import Job, Recipe, Stopped, Variant, train
from workbench.demos.recipes import (
    cdt,
    digit_biases,
    digit_domains,
    digit_pairs,
    faults,
    gradsplit,
    gsnr_dropout,
    gsnr_shortcut,
    mahalanobis_continual,
    mvcom,
    null,
    scenes_three_datasets,
    scenes_two_datasets,
)

__all__ = ["RECIPES", "Claim", "Job", "Recipe", "Stopped", "Variant", "find_recipe", "train"]

#: Every recipe, in the order of lists; each is a folder of ``workbench.demos.recipes``.
RECIPES: tuple[Recipe, ...] = (
    digit_pairs.RECIPE,
    digit_domains.RECIPE,
    digit_biases.RECIPE,
    scenes_two_datasets.RECIPE,
    scenes_three_datasets.RECIPE,
    faults.RECIPE,
    gsnr_dropout.RECIPE,
    gsnr_shortcut.RECIPE,
    gradsplit.RECIPE,
    mvcom.RECIPE,
    cdt.RECIPE,
    mahalanobis_continual.RECIPE,
    null.RECIPE,
)


def find_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises ConfigError with the known names otherwise."""
    for candidate in RECIPES:
        if candidate.name == name:
            return candidate
    known = ", ".join(candidate.name for candidate in RECIPES)
    raise ConfigError(f"There is no recipe '{name}'. Recipes: {known}.")
