"""Do my tasks fight?

Two tasks that share parameters conflict when their gradients point apart: a small step that lowers one task's loss then
raises the other's. A cell is the cosine between two tasks' gradients: 1 is the same direction, 0 unrelated, and below 0
a conflict.

How it is measured. At every recorded step the batch is split into K mini-batches. Products of gradients from the same
samples hold the noise that the tasks share, which can turn even the sign; products across different mini-batches do
not.
G_ij = mean over k ≠ l of ⟨g_i^k, g_j^l⟩ is unbiased, and cos_ij = G_ij / √(G_ii G_jj). The 95 % interval leaves out one
mini-batch at a time (jackknife, Student's t). A conflict is called only where the whole interval lies below 0; it is
hatched as undetermined where the interval contains 0, and dark grey where a task's own gradient is not above its noise:
then no number is shown. Windows and the whole run pool steps so that each counts alike. Over many pairs and modules the
false discovery rate is held at 5 % (Benjamini-Hochberg), so on data without conflict a finding is rare.

How far to trust the interval. In simulations with planted cosines, 4 to 16 mini-batches and 1 to 12 pooled steps, it
holds the truth in 93 to 97 % of cases. With three mini-batches and fewer than five steps it cannot be made so narrow:
it holds the truth in up to 99 %, and real conflicts may stay undetermined. Where a gradient rises above its noise only
now and then, the few numbers that are shown are a selection, and hold the truth less often.

More than noise? Two halves of one task's own batch point apart too, now and then: that share stands beside each pair's,
and beside the share that the pair would show with its two names shuffled between mini-batches. Does it matter? The
share of conflicting steps after which a loss rose stands beside that of the others.

Where. The layer ladder shows the pooled cosine of a pair in every module, beside Recon's score: how many pairs a step
have a cosine below -0.1. On noisy batches the naive score counts noise; the filled bar counts intervals only. Where
layers were recorded in groups of channels, GradSplit's relation says whose gradient may train which group.

What to try. The replay board takes the recorded gradients and asks what known optimisers would have done: weights from
one half of the batches, judged on the other half, at equal step length, beside the plain sum of losses. Who should
train together follows from the same products divided by the losses, and, where trial steps were recorded, from true
steps; these also tell the curvature and how far first order is from the truth.

When it misleads. A conflict is a statement about one small plain gradient step; momentum and Adam change it, and a
replay says nothing about another trajectory. Conflict does harm when it comes with unequal lengths and high curvature,
and is harmless otherwise: compare what was lost against each task trained alone. Gradient lengths depend on how the
losses are scaled, cosines do not.

Sources: Yu et al. 2020, Gradient Surgery, arXiv:2001.06782, Definitions 1 to 3; Shi et al. 2023, Recon,
arXiv:2302.11289; Deng et al. 2023, GradSplit; Fifty et al. 2021, arXiv:2109.04617, for affinity; the
optimisers' papers are named in ``aggregators``; Wilson 1927 for intervals of shares. The unbiased estimate, the
pooling, the noise rule and the limits of the verdicts are this project's choices.
"""

from __future__ import annotations

from workbench.lenses.base import Lens, View
from workbench.lenses.conflict import (
    evidence_figures,
    figures,
    module_figures,
    remedy_figures,
    split_figures,
    who_decides,
)
from workbench.lenses.conflict.statistics import Conflict, statistics
from workbench.lenses.conflict.tables import tables
from workbench.lenses.conflict.verdicts import verdicts

__all__ = ["LENS", "Conflict", "statistics", "tables", "verdicts"]

LENS = Lens(
    slug="conflict",
    title="Do my tasks fight?",
    doc=__doc__,
    needs=("task_gradients",),
    statistics=statistics,
    verdicts=verdicts,
    views=(
        View(
            "matrix",
            "Cosine matrix",
            figures.matrix,
            "Each cell is a pair of tasks: orange pulls apart, blue together, hatched cannot be told from 0, dark grey "
            "has no signal. It says which pairs to separate, or that more must be recorded. Click a cell to follow "
            "that pair in the views below.",
        ),
        View(
            "share",
            "Conflicting share",
            figures.share,
            "In which share of what was recorded each state was found, over training and for every pair.",
        ),
        View(
            "pairs",
            "Pairs over training",
            figures.pairs,
            "Pairs down, windows of training across, the pairs with the most evidence of conflict first.",
        ),
        View(
            "over-time",
            "One pair over training",
            figures.over_time,
            "Marks are single recorded steps, boxes are windows of steps with their 95 % interval.",
        ),
        View(
            "ladder",
            "Layer ladder",
            module_figures.ladder,
            "Modules from the first layer down to the last: where a branch would part the two tasks.",
        ),
        View(
            "modules",
            "Pairs by module",
            module_figures.modules,
            "Every pair in every module: whether a conflict sits in one place or everywhere.",
        ),
        View(
            "routing",
            "Channel groups",
            module_figures.routing,
            "Rows are groups of a layer's channels, each owned by a task; a cell says whether another task's gradient "
            "may train it. The relation need not be mutual: a row is measured on the row's own channels.",
        ),
        View(
            "split",
            "Channel groups before and after",
            split_figures.before_after,
            "Rows are a task's own filters, columns whose gradient meets them. Left all gradients, right those that "
            "the split lets in (a cross: kept out); beside each task the conflict that reaches its filters, with "
            "a question mark where no conflict in its row is sure.",
            applies=lambda stats: stats.split is not None,
        ),
        View(
            "flows",
            "Gradient flows",
            split_figures.flows,
            "From tasks to the filters of tasks, as wide as the gradients are long; grey is kept out. A task that is "
            "let in everywhere with a wide band decides for all.",
            applies=lambda stats: stats.split is not None,
        ),
        View(
            "influence",
            "Influence",
            split_figures.influence,
            "Who helps whom, from which a split was chosen: what a step on the column's task took off the row's loss "
            "(a question mark where the interval contains 0). It need not be mutual.",
            applies=lambda stats: stats.split is not None and stats.split.influence is not None,
        ),
        View(
            "who-helps",
            "Who helps whom",
            who_decides.arrows,
            "Influences that are sure, as arrows from the task that is followed to the task whose loss is measured. "
            "One arrow without its return, or of another colour, is what a cosine cannot show.",
            applies=lambda stats: stats.split is not None and stats.split.influence is not None,
        ),
        View(
            "group-use",
            "Use of other tasks' features",
            split_figures.use,
            "Rows are heads, columns the owners of the last layer's features. Off the diagonal a task reads what "
            "another has trained: the sharing that a split leaves.",
            applies=lambda stats: stats.split is not None and stats.split.use is not None,
        ),
        View(
            "magnitude",
            "Gradient lengths",
            module_figures.magnitude,
            "A task whose gradient is many times longer decides the shared step alone.",
        ),
        View(
            "domination",
            "Who decides the step",
            who_decides.domination,
            "Each task's share of the sum of the gradients' lengths. A band that takes nearly all decides the shared "
            "step: weigh the losses, or scale the gradients, before blaming their directions.",
        ),
        View(
            "triad",
            "Triad",
            evidence_figures.triad,
            "Direction and length of one pair, and curvature along the sum of all tasks. All bad: gradient surgery or "
            "a split. Only lengths unequal: weigh the losses. Only curvature high: a smaller learning rate.",
        ),
        View(
            "noise-floor",
            "More than noise?",
            evidence_figures.noise_floor,
            "If a pair points apart hardly more often than a task with itself, or than when the names of its tasks are "
            "shuffled between mini-batches, its conflict is noise.",
        ),
        View(
            "matter",
            "Does it matter?",
            evidence_figures.matter,
            "Whether losses rose more often after conflicting steps. Equal bars: look for the cause elsewhere.",
        ),
        View(
            "replay",
            "Replay board",
            remedy_figures.replay,
            "Cells: cosine between the step an optimiser would have taken and each task's gradient on other samples; "
            "in brackets how often the task is harmed. Right: what peace costs in progress against the plain sum.",
        ),
        View(
            "peace",
            "Price of peace",
            remedy_figures.peace,
            "Each mark is an optimiser with its 95 % intervals: to the right it gives up progress in sum, upwards it "
            "serves the worst-off task better than the plain sum. Left above is best; right below costs without use.",
        ),
        View(
            "together",
            "Who should train together",
            remedy_figures.together,
            "Left: what a step on one task does for another's loss (a question mark where that is not sure). Right: "
            "the best groups for a number of networks.",
        ),
        View(
            "agreement",
            "Do affinities agree?",
            remedy_figures.agreement,
            "Kendall's tau between measures of who helps whom. Where they disagree, trust the true lookahead, and "
            "train the pair alone and together before deciding.",
        ),
        View(
            "planner",
            "Batches planner",
            evidence_figures.planner,
            "How many mini-batches a step make the interval as narrow as is needed.",
        ),
    ),
    tables=tables,
)
