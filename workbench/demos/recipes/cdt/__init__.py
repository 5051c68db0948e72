"""The recipe cdt: what it asks, in which runs, and what it claims. Its training is in ``training``."""

from __future__ import annotations

from workbench.demos.claim import Claim
from workbench.demos.recipe import Recipe, Variant

STEPS = 200
#: Groups that the net of ``one-group`` is trained on, one after the other, and then all of them.
ROUNDS = 5
_ABLATION = (
    "RFW, Caucasian faces unseen, TAR at FAR 0.001 / 0.01 / 0.1: full 65.20 / 78.80 / 91.87 %, without the "
    "cross-domain term 63.75 / 75.90 / 89.84 %."
)
_AGAINST_COSFACE = (
    "RFW, TAR at FAR 0.01, one group unseen: Caucasian 78.80 against 70.74 % (CosFace), African 91.17 against 83.40 %, "
    "Asian 82.60 against 80.04 %, Indian 86.70 against 80.17 %."
)

RECIPE = Recipe(
    name="cdt",
    question="Trained on three groups of faces: how well does a net tell people of an unseen group apart?",
    about=(
        "Drawn faces in four groups that differ in proportions, tone and light; the net is trained on 16 people each "
        "of three groups and tested on pairs of new people, of the fourth group above all (which one changes with the "
        "seed). Every variant sees the same triplets and the same sum of source and target losses. Recorded: every "
        "pair's score by group, embeddings of people never trained on, covariances, hinge activity."
    ),
    variants=(
        Variant("cdt", "cross-domain triplets and look-ahead", steps=STEPS),
        Variant("cosface", "one cosine margin, nothing else", steps=STEPS),
        Variant("softmax", "no margin, nothing else", steps=STEPS),
        Variant("triplet", "cosine margin and triplets", steps=STEPS),
        Variant("local-triplet", "as triplet, plus triplets of places, measured by length alone", steps=STEPS),
        Variant("cdt-without-look-ahead", "cross-domain triplets, no look-ahead", steps=STEPS),
        Variant("turned-metrics", "as cdt-without-look-ahead, directions of the covariances random", steps=STEPS),
        Variant("mldg", "look-ahead episodes of the triplet losses, no cross-domain term", steps=STEPS),
        Variant(
            "one-group",
            "one net a group and one for all, cosine margin and triplets",
            steps=ROUNDS * STEPS,
            question="Trained on one group only: how well does a net serve the others?",
        ),
    ),
    method="cdt",
    seeds=(10, 11, 12, 13, 14),
    tuning_seeds=(100, 101, 102, 103),
    claims=(
        Claim(
            "cross-domain triplets against triplets",
            "In the unseen group, cross-domain triplets find the right person first more often than plain triplets, "
            "both without look-ahead.",
            _ABLATION,
            "unseen/rank-1",
            "cdt-without-look-ahead",
            "triplet",
        ),
        Claim(
            "the whole method against CosFace",
            "In the unseen group, cross-domain triplets with look-ahead accept more genuine pairs (false accept rate "
            "1 %) than CosFace.",
            _AGAINST_COSFACE,
            "unseen/tar/far 0.01",
            "cdt",
            "cosface",
        ),
        Claim(
            "the cross-domain term inside look-ahead",
            "With look-ahead, the cross-domain term raises rank-1 in the unseen group (the paper's ablation).",
            _ABLATION,
            "unseen/rank-1",
            "cdt",
            "mldg",
        ),
        Claim(
            "directions of the other domain matter",
            "The covariances' own directions do better in the unseen group than random ones with the same eigenvalues.",
            "Not reported; our control.",
            "unseen/rank-1",
            "cdt-without-look-ahead",
            "turned-metrics",
        ),
        Claim(
            "the cross-domain metric against plain length",
            "The cross-domain metric does better in the unseen group than the same local triplets measured by length.",
            "Not reported; our control.",
            "unseen/rank-1",
            "cdt-without-look-ahead",
            "local-triplet",
        ),
        Claim(
            "look-ahead",
            "The look-ahead raises the whole method's rank-1 in the unseen group over the same losses without it.",
            "Not reported separately.",
            "unseen/rank-1",
            "cdt",
            "cdt-without-look-ahead",
        ),
        Claim(
            "training on all groups serves each",
            "Trained on one group, a net finds people of the other groups first less often than a net trained on all.",
            "Identification, CosFace trained on one group and tested on the others: 60.4 to 75.7 %; on all: 84.0 to "
            "90.2 %.",
            "one group/all minus others",
            "one-group",
        ),
    ),
)
