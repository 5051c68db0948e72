"""The recipe scenes-three-datasets: what it asks, in which runs, what is claimed. Its training is in ``training``."""

from __future__ import annotations

from workbench.demos.recipe import Recipe
from workbench.demos.scenes_claims import CLAIMS, scene_variants

RECIPE = Recipe(
    name="scenes-three-datasets",
    question="A third dataset with other words for the same things: does what helped two datasets help three?",
    about=(
        "The road scenes of scenes-two-datasets with a third dataset, 'esplanade', which has one label for all that "
        "one walks or drives on, and words of its own: biker for rider, lorry for truck. One segmentation net is "
        "trained on all three, with labels merged by name or not at all, and scored on an unseen street in all three "
        "lists. Recorded: task gradients by layer and by label, scores."
    ),
    variants=scene_variants(800),
    method="uniseg",
    seeds=(10, 11, 12, 13, 14),
    tuning_seeds=(0, 1, 2),
    claims=CLAIMS,
)
