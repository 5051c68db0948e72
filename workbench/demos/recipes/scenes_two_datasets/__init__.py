"""The recipe scenes-two-datasets: what it asks, in which runs. Its training is in ``training``."""

from __future__ import annotations

from workbench.demos.recipe import Recipe, Variant

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
)
