"""Who is the model wrong about?

Samples are grouped by their attributes (factors), alone, in pairs and in triples. Each group has an accuracy with its
95 % interval (Wilson's) and is compared with all other samples by Fisher's exact test; tasks without right-or-wrong
answers use a mean instead (of IoU or Dice, of an error, of the loss), with normal intervals and Welch's test.

**How to read it.** A dot is a group, the line through it the interval. Filled dots differ from the rest after
correction for the number of tests (Benjamini and Hochberg: of the groups that are called different, 5 % are expected
not to be). Groups of one or two factors and the joint effects of two factors share one correction; groups of three
factors have their own. Groups of fewer than 20 samples are shown but not tested.

**Joint effects.** Two factors together are compared with what each costs alone: value with both − value with the first
only − value with the second only + value with neither. Below 0 the pair hurts more than the sum of its parts. This sum
is taken on the scale of the metric, so a pair that meets the floor of 0 % or the ceiling of 100 % can look better or
worse than it is.

**Why.** The gap between samples at the worst level of every factor and samples at none of them is shared out by Shapley
values: the mean over all orders of what removing one factor changes. At earlier steps the same levels are compared, so
that a share that opens late is one that training opens. Subgroups are searched on one half of the samples
and tested on the other, so that the search cannot flatter the test.

**Unnamed failures.** Neighbourhoods of the recorded embedding are searched on one half and tested on the other: they
may hold errors that no attribute describes. Where the most typical level of a neighbourhood is as bad outside it, the
level explains it.

**Classes.** Every class has its own rates in every group. Pixels of one picture are alike: their rates are as sure as
the number of pictures makes them, not the number of pixels. IoU and Dice of a picture are means over the classes that
it holds or was said to hold; those of a group pool all its pictures.

**Pairs.** Where a net accepts or rejects pairs by a score, the true accept rate of each level is read at the threshold
that lets 1 % of all impostor pairs pass, and at the level's own. What a level gains at its own threshold is a matter of
calibration, what remains is one of what the net has learned. Genuine pairs should form the split that is studied.

**Margins.** A method that learns a margin for every variation asks more of a level whose offset lies above 0. Offsets
of factors that occur together in training cannot be told apart: look at the balance first. One training may be luck:
where the folder holds trainings that differ in their seed alone, the mean over all of them and its 95 % band are drawn.

**When the gap opened.** Between two recorded steps if the interval of the gap holds 0 at the first and lies above 0
from the second on, and the gap grew surely, with a correction for the number of steps. Else nothing is said.

**Odds.** A pair's interaction can be there on the scale of accuracy and not on that of odds: then what each factor
costs alone explains the pair, given how hard the samples are. The table of costs in odds (a logistic regression, each
term tested by its likelihood ratio) says so.

**When it misleads.** The worst of many small groups always looks bad: even when all groups are alike, the gap between
the best and the worst of 8 groups of 50 samples with accuracy 80 % exceeds 24 points in 5 % of cases. The grey band
shows how far chance alone goes. A factor that occurs together with another one borrows its gap: compare the pair.
Accuracy on samples that were trained on hides gaps; a held-out split is used when there is one.

Sources: Wilson 1927; Fisher 1935; Benjamini and Hochberg 1995; Newcombe 1998 (difference from the rest); Price and
Bonett 2004 (joint effects); Shapley 1953; Hardt et al. 2016 (equalised odds); Tian et al. 2024 (equity-scaled
accuracy); Korn and Graubard 1998 (pixels); Chung et al. 2019 and Sagadeeva and Boehm 2021 (subgroup search). The
thresholds of the verdicts (10 points: problem; 2 points: too small to act on) are our choice.
"""

from __future__ import annotations

import pandas as pd

from workbench.lenses.base import Lens, View
from workbench.lenses.bias import (
    class_figures,
    depth_figures,
    figures,
    margin_figures,
    pair_figures,
    paired_verified,
    pocket_figure,
    share_figures,
    verified_figures,
)
from workbench.lenses.bias.statistics import Bias, statistics
from workbench.lenses.bias.verdicts import verdicts


def tables(stats: Bias) -> dict[str, pd.DataFrame]:
    """The numbers behind the figures."""
    return {
        "Groups": stats.groups,
        "Gap of each factor against chance": stats.spread,
        "When gaps opened": stats.openings,
        "Joint effects of two factors": stats.interactions,
        "Over training": stats.history,
        "Worst subgroups": stats.slices.found,
        "Metrics of each level": stats.metrics,
        "Fairness measures": stats.differences,
    } | _more_tables(stats)


def _more_tables(stats: Bias) -> dict[str, pd.DataFrame]:
    """What only some runs have."""
    found: dict[str, pd.DataFrame] = {}
    if len(stats.by_class):
        found["Rates of each class"] = stats.by_class
    if stats.attribution:
        found |= {
            "Shares of the gap": stats.attribution.parts,
            "Interactions in the gap": stats.attribution.pairs,
            "Costs in odds": stats.attribution.logistic,
            "Shares over training": stats.shares,
            "When shares opened": stats.share_openings,
        }
    if stats.pockets:
        found |= {"Unnamed failures": stats.pockets.found}
    if stats.verified:
        found |= {"Accept rates": stats.verified.rates, "Overlap of scores": stats.verified.overlap}
    if stats.margins:
        found |= {"Learned margins": stats.margins.offsets, "Balance of the splits": stats.margins.shares}
    return found


LENS = Lens(
    slug="bias",
    title="Who is the model wrong about?",
    doc=__doc__ or "",
    needs=("predictions", "samples"),
    statistics=statistics,
    verdicts=verdicts,
    views=(
        View(
            "groups",
            "Groups",
            figures.groups,
            "A dot is a group with its 95 % interval, the most harmed first; filled dots differ from all other "
            "samples. Decide which group to look at first.",
        ),
        View(
            "factors",
            "Gap against chance",
            figures.factors,
            "The best and the worst level of each factor over the gap that chance alone stays within. "
            "Decide which factors matter at all.",
        ),
        View(
            "pairs",
            "Pairs of factors",
            pair_figures.pairs,
            "Each cell is a group that two factors form, the last row and column one factor alone; grey numbers have "
            "too few samples. Decide whether a gap belongs to one factor or to the pair. Click a cell to select "
            "its samples.",
            pair_figures.has_two,
        ),
        View(
            "interaction",
            "Joint effects",
            pair_figures.interaction,
            "The diamond is what the two factors would cost if their costs added up, the dot what they cost together. "
            "Decide whether mending one factor alone can help.",
            pair_figures.has_two,
        ),
        View(
            "training",
            "Over training",
            figures.training,
            "Each line is a group over the recorded steps. Decide when the gap opens and whether longer training "
            "closes it.",
        ),
        View(
            "attribution",
            "What explains the gap",
            depth_figures.attribution,
            "From samples at the worst level of every factor to samples at none of them: each bar is a factor's "
            "average share (Shapley value). Decide which factor to mend first.",
        ),
        View(
            "shares",
            "Shares over training",
            share_figures.over_training,
            "The same shares at every recorded step, with 95 % intervals. Decide when a factor's share opens, and "
            "whether longer training closes it.",
            share_figures.has_course,
        ),
        View(
            "joint",
            "Shares of pairs",
            share_figures.interactions,
            "Right of 0 two factors at their worst cost more together than each alone (Shapley interaction). Decide "
            "whether mending one factor will disappoint.",
            share_figures.has_pairs,
        ),
        View(
            "slices",
            "Worst subgroups",
            depth_figures.slices,
            "Subgroups searched on one half of the samples; the filled dot is the other half, which the search never "
            "saw. Decide which subgroup to collect data for.",
        ),
        View(
            "pockets",
            "Unnamed failures",
            pocket_figure.pockets,
            "Neighbourhoods of the embedding that are wrong more often, searched on one half of the samples and tested "
            "on the other. Decide which pictures to look at: no attribute needs to describe them.",
            pocket_figure.has_embeddings,
        ),
        View(
            "classes",
            "By class",
            class_figures.classes,
            "One rate of every class in every level of a factor, with 95 % intervals; a class differs where its "
            "levels do after correction. Decide for which classes a group is misread: missed, invented, or drawn "
            "in the wrong place.",
            class_figures.has_classes,
        ),
        View(
            "metrics",
            "Further metrics",
            depth_figures.metrics,
            "One metric of every level; for the calibration error the bar shows what a calibrated model with as many "
            "samples would have. Decide whether accuracy hides something.",
        ),
        View(
            "fairness",
            "Fairness measures",
            depth_figures.differences,
            "Differences between the levels of each factor, with bootstrap intervals. Decide whether a required "
            "criterion is met.",
        ),
        View(
            "verification",
            "Accepted pairs",
            verified_figures.rates,
            "Share of genuine pairs accepted for each level of each factor, at one threshold and at the level's own. "
            "Decide whether another threshold is enough or the net must learn more.",
            verified_figures.has_scores,
        ),
        View(
            "roc",
            "Accept rates",
            verified_figures.roc,
            "Genuine pairs accepted over impostors accepted, each level at its own thresholds; thick lines were not "
            "trained on. Decide which false accept rate a level can afford.",
            verified_figures.has_scores,
        ),
        View(
            "scores",
            "Scores",
            verified_figures.score_histograms,
            "How far the scores of genuine and impostor pairs lie apart in each level, and what a threshold does to "
            "both. Decide on a threshold.",
            verified_figures.has_scores,
        ),
        View(
            "two-runs",
            "Accepted pairs of two runs",
            paired_verified.two_runs,
            "This run and the one it is compared with, on the same genuine pairs. Decide whether the change closes a "
            "gap or only moves it.",
            verified_figures.has_scores,
        ),
        View(
            "tasks",
            "Tasks by group",
            verified_figures.task_matrix,
            "Each row is a task (or a net trained on one group), each column a level it is tested on. Decide whether "
            "what was trained on serves the others.",
            verified_figures.has_scored_tasks,
        ),
        View(
            "margins",
            "Learned margins",
            margin_figures.offsets,
            "What each level adds to its samples' margin over training, beside its share of the training data. Decide "
            "whether the method pushes what is rare, or spares what harms.",
            margin_figures.has_offsets,
        ),
        View(
            "hardness",
            "Margin and hardness",
            margin_figures.hardness,
            "Each point is a training sample. Decide whether margins say more than that a sample is hard.",
            margin_figures.has_samples,
        ),
        View(
            "agreement",
            "Agreement with the meta set",
            margin_figures.agreement,
            "Whether single training samples pull the net the way the clean meta set does. Decide which level carries "
            "harmful labels: it lies furthest to the left.",
            margin_figures.has_samples,
        ),
        View(
            "balance",
            "Balance of the data",
            margin_figures.balance,
            "Share of each level in every split, and which factors occur together in training. Decide whether a gap "
            "could come from the mix alone.",
            margin_figures.has_splits,
        ),
        View(
            "gain",
            "Virtual steps",
            margin_figures.gain,
            "How much one step ahead lowers the meta loss. Decide whether the look-ahead still finds anything.",
            margin_figures.has_offsets,
        ),
    ),
    tables=tables,
)
