"""The recipe gradsplit: what it asks, in which runs. Its training is in ``training``."""

from __future__ import annotations

from workbench.demos.recipe import Claim, Plane, Recipe, Variant

STEPS = 400
NO_FIGURES = "stated in its abstract, for several tasks on pictures of people; its figures were not found"

RECIPE = Recipe(
    name="gradsplit",
    question="Tasks with one data set each share a small net: does giving every task its own filters help them?",
    about=(
        "Two handwritten digits (MNIST) overlap in one small picture. Four tasks share a convolutional net, and each "
        "has its own training digits, labelled for it alone: name the left digit, name the right digit, say whether "
        "both are odd or both even, say how much they overlap. With five tasks it also rebuilds the picture. GradSplit "
        "is compared with plain sharing, a net a task, PCGrad, and a split by layers after Recon. Recorded: task "
        "gradients by owner of a filter, what a step on one task does for another, predictions on MNIST and on unseen "
        "UCI digits."
    ),
    variants=(
        Variant("shared", "all four tasks on one net, plain sum of losses", STEPS),
        Variant("gradsplit", "groups of filters take the gradients of tasks that were seen to help their owner", STEPS),
        Variant("gradsplit-trials", "as gradsplit; who may train a group was found by a short training a pair", STEPS),
        Variant("own-groups", "groups of filters take the gradients of their owner alone (A = I)", STEPS),
        Variant("pcgrad", "conflicting parts are projected away from the tasks' gradients", STEPS),
        Variant("recon", "the layer with the most conflicts is given to each task", STEPS),
        Variant("single-nets", "a net a task", STEPS),
        Variant("shared-loud", "plain sharing, the left digit's loss multiplied by 30", STEPS),
        Variant("own-groups-loud", "own groups (A = I), the left digit's loss multiplied by 30", STEPS),
        Variant("narrow-shared", "all four tasks on a net of half the width, plain sum of losses", STEPS),
        Variant("narrow-gradsplit", "as gradsplit, on a net of half the width", STEPS),
        Variant("wide-shared", "all four tasks on a net of twice the width, plain sum of losses", STEPS),
        Variant("wide-gradsplit", "as gradsplit, on a net of twice the width", STEPS),
        Variant("five-shared", "five tasks on one net, plain sum of losses", STEPS),
        Variant("five-gradsplit", "five tasks, groups of filters as in gradsplit", STEPS),
    ),
    method="gradsplit",
    seeds=(10, 11, 12, 13, 14),
    tuning_seeds=(100, 101, 102),
    plane=Plane(
        variants=(
            *("shared", "gradsplit", "gradsplit-trials", "pcgrad", "recon", "single-nets"),
            *("narrow-shared", "narrow-gradsplit", "wide-shared", "wide-gradsplit"),
        ),
        score="score",
        costs={"flops": "floating-point operations for one picture", "parameters": "parameters"},
        reference="single-nets",
    ),
    claims=(
        Claim(
            "beats-sharing",
            "With four tasks, GradSplit reaches a higher mean accuracy than plain sharing in the same net.",
            f"Better accuracy at the same cost than plain sharing, {NO_FIGURES}.",
            "score",
            method="gradsplit",
            baseline="shared",
        ),
        Claim(
            "beats-sharing-five",
            "With five tasks, GradSplit reaches a higher mean score than plain sharing in the same net.",
            f"Better accuracy at the same cost than plain sharing, {NO_FIGURES}.",
            "score",
            method="five-gradsplit",
            baseline="five-shared",
        ),
        Claim(
            "near-single-nets",
            "GradSplit's mean accuracy is at most 3 points below that of a net a task, at a quarter of the operations.",
            f"A small drop against single-task nets, {NO_FIGURES}.",
            "score",
            method="gradsplit",
            baseline="single-nets",
            margin=-3.0,
        ),
        *(
            Claim(
                f"keeps-up-{size}",
                f"On a net of {width} the width, GradSplit's mean accuracy is at most 3 points below plain sharing's.",
                "Not found at which widths the paper compares; a split leaves a task a share of every layer.",
                "score",
                method=f"{size}-gradsplit",
                baseline=f"{size}-shared",
                margin=-3.0,
            )
            for size, width in (("narrow", "half"), ("wide", "twice"))
        ),
        Claim(
            "trials-choose-better",
            "Who may train a group, found by a short training a pair, gives a higher mean accuracy than found by "
            "looking one step ahead.",
            "Not found: how the paper measures which tasks conflict could not be read.",
            "score",
            method="gradsplit-trials",
            baseline="gradsplit",
        ),
        Claim(
            "beats-pcgrad",
            "GradSplit reaches a higher mean accuracy than PCGrad.",
            "Not found: which methods the paper compares with could not be read.",
            "score",
            method="gradsplit",
            baseline="pcgrad",
        ),
        Claim(
            "near-recon",
            "GradSplit's mean accuracy is at most 1 point below that of a split by layers after Recon, which needs "
            "more operations.",
            "Not found: the paper and Recon appeared in the same year.",
            "score",
            method="gradsplit",
            baseline="recon",
            margin=-1.0,
        ),
        Claim(
            "crosses-datasets",
            "On UCI digits, never seen in training, GradSplit's mean accuracy is higher than plain sharing's.",
            f"Higher accuracy across data sets, {NO_FIGURES}.",
            "score on UCI",
            method="gradsplit",
            baseline="shared",
        ),
        Claim(
            "less-conflict",
            "The conflict that reaches a task's filters is lower under GradSplit than under plain sharing, as a share "
            "of the owner's squared gradient.",
            "Follows from the method's rule; the paper's own measure was not found.",
            "conflict",
            method="gradsplit",
            baseline="shared",
            lower_is_better=True,
        ),
        Claim(
            "deaf-to-a-loud-loss",
            "With one loss multiplied by 30, own groups (A = I) keep at least 5 points more mean accuracy than plain "
            "sharing.",
            "Not in the paper; it follows from the rule, for a blocked loss changes nothing at any size.",
            "score",
            method="own-groups-loud",
            baseline="shared-loud",
            margin=5.0,
        ),
    ),
)
