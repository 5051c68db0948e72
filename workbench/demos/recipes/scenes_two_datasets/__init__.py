"""The recipe scenes-two-datasets: what it asks, in which runs. Its training is in ``training``."""

from __future__ import annotations

from workbench.demos.claim import Claim
from workbench.demos.recipe import Recipe
from workbench.demos.scenes_claims import CLAIMS, scene_variants

RECIPE = Recipe(
    name="scenes-two-datasets",
    question="Two datasets of road scenes name things differently: do their labels fight in one net?",
    about=(
        "Drawn road scenes as two datasets: 'avenue' knows rider and vehicle and folds lane marking into road and "
        "sidewalk into background; 'boulevard' tells them all apart. One segmentation net is trained on both, with "
        "labels merged by name or not at all, and scored on a third, unseen style in both label spaces. Recorded: task "
        "gradients by layer and by label, label counts, classifier rows, mean cosines, embeddings."
    ),
    variants=scene_variants(1200),
    method="uniseg",
    seeds=(10, 11, 12, 13, 14),
    tuning_seeds=(0, 1, 2),
    claims=(
        *CLAIMS,
        Claim(
            "null-other-list",
            "Asked for one dataset's pictures in the other's list, the null loss has a higher mIoU than cross-entropy, "
            "by five points or more.",
            "Not reported as such; what one model for all lists is for",
            "mIoU/other labels",
            "per-class-bce",
            "cross-entropy",
            margin=5.0,
        ),
        Claim(
            "null-own-list",
            "On each dataset in its own list, the null loss is within five points of mIoU of cross-entropy, or better.",
            "Not reported in what we know; a check that nothing is paid at home",
            "mIoU/own labels",
            "per-class-bce",
            "cross-entropy",
            margin=-5.0,
        ),
        Claim(
            "relations-found",
            "The relation rule finds that car and truck are vehicles.",
            "Released tables hold 22 relations for four datasets, such as bicyclist with rider",
            "relations/car and truck",
            "class-relational",
            margin=90.0,
            unit="% of the two relations",
        ),
        Claim(
            "private-rows",
            "Under cross-entropy, the datasets' gradients on classifier rows of labels that only one of them has point "
            "apart: a mean cosine below -0.2 in steps 50 to 250.",
            "Not reported; the conflict that the derivative of cross-entropy implies",
            "private rows",
            "cross-entropy",
            margin=0.2,
            lower_is_better=True,
            scale=1.0,
            unit="below 0, mean cosine",
        ),
    ),
)
