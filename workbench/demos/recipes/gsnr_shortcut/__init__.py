"""The recipe gsnr-shortcut: what it asks, in which runs. Its training is in ``training``."""

from __future__ import annotations

from workbench.demos.claim import Claim
from workbench.demos.recipe import Recipe, Variant

STEPS = 500
UNSEEN = "accuracy/unseen"
_NOT_REPORTED = "not reported: the setting is a small trial of ours"

RECIPE = Recipe(
    name="gsnr-shortcut",
    question="A cue gives the label away until it breaks: does masking the weights that agree most keep a net from it?",
    about=(
        "Small digits with a cue beside them that names the digit nearly always in three training domains, and hardly "
        "ever in the domain kept for testing. A small net is trained plainly, with random masks on its weights, and "
        "with masks on the weights of the highest gradient signal-to-noise ratio (GSNR) between domains, between "
        "samples, between steps, or of the largest gradient; as a control, without a cue on digits that are turned. "
        "Recorded: how much of the highest GSNR lies on the cue, masks, GSNR, predictions. One more run sweeps the "
        "ratio of masked weights."
    ),
    variants=(
        Variant("erm", "nothing is masked", steps=STEPS),
        Variant("random", "5 % of the weights masked at random", steps=STEPS),
        Variant("domains", "the 5 % with the highest GSNR between domains", steps=STEPS),
        Variant("domains-gradient", "the same 5 %, but only their gradients are masked", steps=STEPS),
        Variant("early", "the 10 % with the highest GSNR between domains, in the first 50 steps", steps=STEPS),
        Variant("learned", "as domains, with a learned ratio that starts at 5 %", steps=STEPS),
        Variant("lowest", "control: the 5 % with the lowest GSNR between domains", steps=STEPS),
        Variant("samples", "control: the 5 % with the highest GSNR between samples", steps=STEPS),
        Variant("size", "control: the 5 % with the largest gradient", steps=STEPS),
        Variant("steps", "control: the 5 % with the highest GSNR between steps, from running means", steps=STEPS),
        Variant("turned-erm", "no cue, tested on digits turned by 55 degrees: nothing is masked", steps=STEPS),
        Variant("turned-domains", "the same without cue: the 5 % with the highest GSNR between domains", steps=STEPS),
        Variant(
            "ratio-sweep",
            "three rules at six ratios, three nets each, trained side by side",
            steps=300,
            question="From which ratio of masked weights on does the net collapse?",
        ),
    ),
    method="gsnr_dropout",
    seeds=(10, 11, 12, 13, 14, 15),
    tuning_seeds=(100, 101, 102, 103),
    claims=(
        Claim(
            "beats plain training",
            "Masking the 5 % of weights with the highest GSNR between domains reads more digits whose cue is broken "
            "than plain training (ERM).",
            "Competitive with the state of the art on domain generalisation benchmarks; figures not found.",
            UNSEEN, "domains", "erm",
        ),
        Claim(
            "beats random masks",
            "It also reads more of them than masking 5 % at random.",
            "GSNR is proposed in place of a random mask; figures not found.",
            UNSEEN, "domains", "random",
        ),
        Claim(
            "helps early",
            "Masking 10 % in the first 50 steps alone, when the cue is learnt, already helps against plain training.",
            _NOT_REPORTED,
            UNSEEN, "early", "erm",
        ),
        Claim(
            "masked gradients help",
            "Masking the gradients of these 5 % instead of the weights helps against plain training, too.",
            "Which of the two the paper masks was not found.",
            UNSEEN, "domains-gradient", "erm",
        ),
        Claim(
            "learned ratio helps",
            "With a ratio that is learnt, GSNR dropout reads more digits whose cue is broken than plain training.",
            "The ratio is learnt by meta-learning instead of a search; figures not found.",
            UNSEEN, "learned", "erm",
        ),
        Claim(
            "learned ratio fades",
            "The learned ratio, which starts at 5 %, ends below 3 %: the look one step ahead is short-sighted.",
            "The learned ratio is proposed as better than a fixed one; its values were not found.",
            "ratio", "learned", None, margin=-3.0, lower_is_better=True,
        ),
        Claim(
            "sample-level masks collapse",
            "Ranking by GSNR between samples instead of domains collapses: more than 20 points below plain training.",
            "Whether the variance runs over samples or domains was not found.",
            UNSEEN, "erm", "samples", margin=20.0,
        ),
        Claim(
            "masks between steps collapse",
            "So does ranking by GSNR between steps, the cheap estimate from running means: it sees the noise of the "
            "batches, not of the domains.",
            "Running means stand in for GSNR in a later method (GENIE), which scales steps by it and masks nothing.",
            UNSEEN, "erm", "steps", margin=20.0,
        ),
        Claim(
            "masks of large gradients collapse",
            "Masking the 5 % of weights with the largest gradient collapses: more than 20 points below plain training.",
            "RSC, which masks the largest gradients of features, is a baseline of the paper; figures not found.",
            UNSEEN, "erm", "size", margin=20.0,
        ),
        Claim(
            "the lowest do not matter",
            "Masking the 5 % with the lowest GSNR between domains costs less than 1 point against plain training.",
            _NOT_REPORTED,
            UNSEEN, "lowest", "erm", margin=-1.0,
        ),
        Claim(
            "helps where digits are turned",
            "Where no cue breaks and digits are only turned further than in training (55 degrees), masking the 5 % of "
            "weights with the highest GSNR between domains reads more digits than plain training.",
            _NOT_REPORTED,
            UNSEEN, "turned-domains", "turned-erm",
        ),
        Claim(
            "the shortcut shows early",
            "At step 0 or 20 of plain training the cue holds at least 1.5 times its share of the 10 % of first-layer "
            "weights with the highest GSNR.",
            _NOT_REPORTED,
            "cue share early", "erm", None, margin=1.5, scale=1.0, unit="times its share of all weights",
        ),
        Claim(
            "the shortcut hides late",
            "From step 150 on the cue holds less than its share: once learnt, it has no gradient signal any more.",
            _NOT_REPORTED,
            "cue share late", "erm", None, margin=-1.0, lower_is_better=True, scale=1.0,
            unit="times its share of all weights",
        ),
    ),
)  # fmt: skip
