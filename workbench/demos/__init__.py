"""Data, small nets, one trainer and recipes that record the sample runs.

from workbench.demos import find_recipe, train
train(find_recipe("digit-pairs"), Path("runs/pairs"), seed=1)

Nothing here imports torch before a recipe is trained.
"""

from __future__ import annotations

from workbench.core import ConfigError
from workbench.demos.faults import FAULTS as CASES
from workbench.demos.recipe import Job, Recipe, Stopped, Variant, train

__all__ = ["RECIPES", "Job", "Recipe", "Stopped", "Variant", "find_recipe", "train"]

DIGIT_PAIRS = Recipe(
    name="digit-pairs",
    question="Two digits in one picture: do four tasks on one trunk help or fight one another?",
    about=(
        "Two handwritten digits (MNIST) overlap in one picture. Four tasks share a small convolutional trunk: name the "
        "left digit, name the right digit, say whether both are odd or both even, and rebuild the picture. One more "
        "run per task trains it alone on the same pictures, so that the price of sharing is known. Recorded: task "
        "gradients, GSNR, embeddings, predictions."
    ),
    variants=(
        Variant("joint", "all four tasks on one trunk", steps=600),
        Variant("left-alone", "only the left digit", steps=600, question="How well does the left digit do alone?"),
        Variant("right-alone", "only the right digit", steps=600, question="How well does the right digit do alone?"),
        Variant("parity-alone", "only same parity", steps=600, question="How well does same parity do alone?"),
        Variant("rebuild-alone", "only the rebuilt picture", steps=600, question="How well does rebuilding do alone?"),
    ),
    module="workbench.demos.recipes.digit_pairs",
)

DIGIT_DOMAINS = Recipe(
    name="digit-domains",
    question="Trained on five kinds of digit pictures: how far away is the sixth, and where in the net?",
    about=(
        "The digits 0 to 9 in six domains: MNIST, UCI digits, and MNIST inverted, rotated by 40 degrees, blurred, and "
        "blended over photographs. Each run leaves one domain out of training and minimises the plain risk on the "
        "other five. Recorded: embeddings of all domains from the initialisation on, GSNR and gradients per domain, "
        "predictions."
    ),
    variants=(
        Variant("without-photographs", "trained without the digits over photographs", steps=500),
        Variant("without-inverted", "trained without the inverted digits", steps=500),
        Variant("without-uci", "trained without the UCI digits", steps=500),
    ),
    module="workbench.demos.recipes.digit_domains",
)

SCENES_TWO_DATASETS = Recipe(
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
    module="workbench.demos.recipes.scenes_two_datasets",
)

DIGIT_BIASES = Recipe(
    name="digit-biases",
    question="Which digits does the model misread, and which two factors together are worse than each alone?",
    about=(
        "Coloured digits that differ in colour, rotation, blur, occlusion and stroke. Training saw each rare level "
        "seldom, and something went wrong where two of them met; the test shows all combinations equally often. "
        "Recorded: predictions with all five factors, embeddings, GSNR of upright and tilted digits."
    ),
    variants=(Variant("skewed", "trained on the skewed mix", steps=700),),
    module="workbench.demos.recipes.digit_biases",
)

FAULTS = Recipe(
    name="faults",
    question="Something may be wrong with this training: what?",
    about=(
        "Seven trainings of one small net on three tasks: name a digit, say whether it is odd, say whether it is five "
        "or above. The digits come from two sorting offices, were written down by four annotators and lie on paper of "
        "four colours. In each case one thing was done wrong, in one case nothing; run.json says which, under planted."
    ),
    variants=tuple(Variant(case, "find out what is wrong", steps=300) for case in CASES),
    module="workbench.demos.recipes.faults",
)

NULL = Recipe(
    name="null",
    question="Nothing is wrong here: does any lens cry wolf?",
    about=(
        "One net reads digits from two sorting offices that differ in name only, as two tasks, two domains and two "
        "datasets with one label space; annotators and paper are random. Everything is recorded. Whatever a lens calls "
        "a problem here is a false alarm."
    ),
    variants=(Variant("identical", "two tasks, domains and datasets that are the same", steps=300),),
    module="workbench.demos.recipes.null",
)

#: Every recipe, in the order of lists.
RECIPES: tuple[Recipe, ...] = (DIGIT_PAIRS, DIGIT_DOMAINS, DIGIT_BIASES, SCENES_TWO_DATASETS, FAULTS, NULL)


def find_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises ConfigError with the known names otherwise."""
    for candidate in RECIPES:
        if candidate.name == name:
            return candidate
    known = ", ".join(candidate.name for candidate in RECIPES)
    raise ConfigError(f"There is no recipe '{name}'. Recipes: {known}.")
