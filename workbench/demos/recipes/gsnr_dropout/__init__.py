"""The recipe gsnr-dropout: what it asks, in which runs. Its training is in ``training``."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.demos.claim import Claim
from workbench.demos.recipe import Recipe, Variant

STEPS = 400
#: Way of training -> what it is, in one line.
WAYS: Mapping[str, str] = {
    "erm": "plain risk minimisation",
    "dropout": "plain dropout of features",
    "rsc": "RSC: without the features that matter most to the answer",
    "fixed": "GSNR dropout, 5 % of the weights in the first quarter of the steps",
    "learned": "GSNR dropout with a learned ratio",
}
#: Short name -> the domain that takes no part in training.
HELD_OUT: Mapping[str, str] = {"photographs": "photographs", "inverted": "inverted", "uci": "uci"}
UNSEEN = "accuracy/unseen"


def all_of(way: str) -> tuple[str, ...]:
    """The runs of one way of training, one for every domain left out."""
    return tuple(f"{way}-without-{name}" for name in HELD_OUT)


RECIPE = Recipe(
    name="gsnr-dropout",
    question="Does masking the weights on which all training domains agree help on a domain that none of them is?",
    about=(
        "The digits 0 to 9 in six domains (MNIST, UCI, inverted, rotated, blurred, over photographs), one of which is "
        "left out of training. One small convolutional net a run is trained plainly (ERM), with plain dropout, with "
        "RSC, and with GSNR dropout with a fixed and with a learned ratio, on the same batches. The test is all digits "
        "of the domain left out, after the last step."
    ),
    variants=tuple(
        Variant(name, f"{about}; trained without: {held_out}", steps=STEPS)
        for way, about in WAYS.items()
        for name, held_out in zip(all_of(way), HELD_OUT.values(), strict=True)
    ),
    method="gsnr_dropout",
    seeds=(10, 11, 12, 13, 14),
    tuning_seeds=(100, 101),
    claims=(
        Claim(
            "beats plain training",
            "GSNR dropout with a fixed ratio reads more digits of a domain left out than plain training (ERM), on "
            "average over three domains left out.",
            "Competitive on domain generalisation benchmarks; figures not found.",
            UNSEEN, all_of("fixed"), all_of("erm"),
        ),
        Claim(
            "beats plain dropout",
            "GSNR dropout with a fixed ratio reads more of them than plain dropout.",
            "GSNR is proposed in place of a random mask; figures not found.",
            UNSEEN, all_of("fixed"), all_of("dropout"),
        ),
        Claim(
            "beats RSC",
            "GSNR dropout with a fixed ratio reads more of them than RSC.",
            "RSC is a baseline of the paper; figures not found. Elsewhere (ResNet-50), RSC stands at 84.5 % on PACS "
            "and 44.5 % on TerraIncognita, ERM at 85.5 and 46.1 %.",
            UNSEEN, all_of("fixed"), all_of("rsc"),
        ),
        Claim(
            "learning the ratio beats plain training",
            "GSNR dropout with a learned ratio reads more of them than plain training (ERM).",
            "The ratio is learnt by meta-learning in place of a search; figures not found.",
            UNSEEN, all_of("learned"), all_of("erm"),
        ),
        Claim(
            "learning the ratio beats fixing it",
            "GSNR dropout with a learned ratio reads more of them than with a fixed one.",
            "The learned ratio is proposed as better than a searched one; figures not found.",
            UNSEEN, all_of("learned"), all_of("fixed"),
        ),
        Claim(
            "learned ratio fades",
            "The learned ratio, which starts at 5 %, ends below 1 %: the look one step ahead is short-sighted.",
            "The learned ratio is proposed as better than a searched one; its values were not found.",
            "ratio", all_of("learned"), None, margin=-1.0, lower_is_better=True,
        ),
    ),
)  # fmt: skip
