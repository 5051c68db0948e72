"""The recipe scenes-two-datasets: what it asks, in which runs. Its training is in ``training``."""

from __future__ import annotations

from workbench.demos.claim import Claim
from workbench.demos.recipe import Recipe, Variant

_PAPER = "More than 8 points of mIoU on unseen KITTI, averaged over settings (abstract); tables not known to us"

RECIPE = Recipe(
    name="scenes-two-datasets",
    question="Two datasets of road scenes name things differently: do their labels fight in one net?",
    about=(
        "Drawn road scenes as two datasets: 'avenue' knows rider and vehicle and folds lane marking into road and "
        "sidewalk into background; 'boulevard' tells them all apart. One segmentation net is trained on both, with "
        "labels merged by name or not at all, and scored on a third, unseen style in both label spaces. Recorded: task "
        "gradients by layer and by label, label counts, classifier rows, mean cosines, embeddings."
    ),
    variants=(
        Variant("cross-entropy", "cross-entropy over the union of both label lists", steps=1200),
        Variant("foreign-as-negatives", "one binary loss per label; the other dataset's are negatives", steps=1200),
        Variant("per-class-bce", "one binary loss per label; silent about the other dataset's labels", steps=1200),
        Variant("class-relational", "as per-class-bce, plus labels found to be related after step 800", steps=1200),
        Variant("own-heads", "nothing merged: each dataset has its own outputs on the shared trunk", steps=1200),
    ),
    method="uniseg",
    seeds=(10, 11, 12, 13, 14),
    tuning_seeds=(0, 1, 2),
    claims=(
        Claim(
            "null-unseen",
            "On an unseen street, the null loss has a higher mIoU than cross-entropy over the union of the lists, by "
            "five points or more (mean over both lists).",
            _PAPER,
            "mIoU/unseen domain",
            "per-class-bce",
            "cross-entropy",
            margin=5.0,
        ),
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
