"""The recipe scenes-three-datasets: what it asks, in which runs, what is claimed. Its training is in ``training``."""

from __future__ import annotations

from workbench.demos.claim import Claim
from workbench.demos.recipe import Recipe, Variant

_STEPS = 800
_PAPER = "More than 8 points of mIoU on unseen KITTI, averaged over settings (abstract); tables not known to us"

RECIPE = Recipe(
    name="scenes-three-datasets",
    question="A third dataset with other words for the same things: does what helped two datasets help three?",
    about=(
        "The road scenes of scenes-two-datasets with a third dataset, 'esplanade', which has one label for all that "
        "one walks or drives on, and words of its own: biker for rider, lorry for truck. One segmentation net is "
        "trained on all three, with labels merged by name or not at all, and scored on an unseen street in all three "
        "lists. Recorded: task gradients by layer and by label, scores."
    ),
    variants=(
        Variant("cross-entropy", "cross-entropy over the union of the label lists", _STEPS),
        Variant("foreign-as-negatives", "one binary loss per label; labels of other datasets are negatives", _STEPS),
        Variant("per-class-bce", "one binary loss per label; silent about labels of other datasets", _STEPS),
        Variant("class-relational", "as per-class-bce, plus labels found to be related after two thirds", _STEPS),
        Variant("own-heads", "nothing merged: each dataset has its own outputs on the shared trunk", _STEPS),
    ),
    method="uniseg",
    seeds=(10, 11, 12, 13, 14),
    tuning_seeds=(0, 1, 2),
    claims=(
        Claim(
            "null-unseen",
            "On an unseen street, the null loss has a higher mIoU than cross-entropy over the union of three lists, by "
            "five points or more (mean over the lists).",
            _PAPER,
            "mIoU/unseen domain",
            "per-class-bce",
            "cross-entropy",
            margin=5.0,
        ),
        Claim(
            "silence-not-bce",
            "The gain comes from being silent about foreign labels: binary losses that call them negatives have a "
            "lower mIoU on the unseen street.",
            "Not reported; a control",
            "mIoU/unseen domain",
            "per-class-bce",
            "foreign-as-negatives",
        ),
        Claim(
            "null-over-own-heads",
            "Sharing the rows of equal names beats sharing none: the null loss has a higher mIoU on the unseen street "
            "than a head for each dataset.",
            "Not reported; a control",
            "mIoU/unseen domain",
            "per-class-bce",
            "own-heads",
        ),
        Claim(
            "relational-unseen",
            "The class-relational loss has a higher mIoU on the unseen street than the null loss.",
            "Class-relational above the null loss (paper's ablation); figures not known to us",
            "mIoU/unseen domain",
            "class-relational",
            "per-class-bce",
        ),
    ),
)
