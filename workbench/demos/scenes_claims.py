"""What the recipes on road scenes have in common: the ways to share a classifier, and what is claimed of them."""

from __future__ import annotations

from workbench.demos.claim import Claim
from workbench.demos.recipe import Variant

UNSEEN = "mIoU/unseen domain"
_PAPER = "More than 8 points of mIoU on unseen KITTI, averaged over settings (abstract); tables not known to us"
_WAYS = {
    "cross-entropy": "cross-entropy over the union of the label lists",
    "foreign-as-negatives": "one binary loss per label; labels of other datasets are negatives",
    "per-class-bce": "one binary loss per label; silent about labels of other datasets",
    "class-relational": "as per-class-bce, plus labels found to be related after two thirds of the steps",
    "oracle-relations": "as class-relational, with the relations that hold in place of those found",
    "own-heads": "nothing merged: each dataset has its own outputs on the shared trunk",
}


def scene_variants(steps: int) -> tuple[Variant, ...]:
    """One run for each way to share a classifier."""
    return tuple(Variant(name, about, steps) for name, about in _WAYS.items())


#: Claimed wherever datasets with different label lists are merged.
CLAIMS = (
    Claim(
        "null-unseen",
        "On an unseen street, the null loss has a higher mIoU than cross-entropy over the union of the lists, by five "
        "points or more (mean over all lists).",
        _PAPER,
        UNSEEN,
        "per-class-bce",
        "cross-entropy",
        margin=5.0,
    ),
    Claim(
        "silence-not-bce",
        "The gain comes from being silent about foreign labels: binary losses that call them negatives have a lower "
        "mIoU on the unseen street.",
        "Not reported; a control",
        UNSEEN,
        "per-class-bce",
        "foreign-as-negatives",
    ),
    Claim(
        "null-over-own-heads",
        "Sharing the rows of equal names beats sharing none: the null loss has a higher mIoU on the unseen street than "
        "a head for each dataset.",
        "Not reported; a control",
        UNSEEN,
        "per-class-bce",
        "own-heads",
    ),
    Claim(
        "relational-unseen",
        "The class-relational loss has a higher mIoU on the unseen street than the null loss.",
        "Class-relational above the null loss (paper's ablation); figures not known to us",
        UNSEEN,
        "class-relational",
        "per-class-bce",
    ),
    Claim(
        "oracle-unseen",
        "Given the relations that hold in place of those it finds, the class-relational loss has a higher mIoU on the "
        "unseen street: wrong relations cost something.",
        "Not reported; an upper bound for finding relations",
        UNSEEN,
        "oracle-relations",
        "class-relational",
    ),
)
