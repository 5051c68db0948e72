"""Do my datasets' label spaces agree?

Two datasets may use one name for different things, or different names for one thing. Where a head trained on dataset A
is run on dataset B's samples, each region that B annotates as b gets a label a. Both directions together give a table:
how much of b is a, and how much of a is b.

**How to read it.** Relations follow from the 95 % lower limits of these two shares. Both at least 70 %: the labels are
the *same*. Only one: the label that lies in the other is a *part of* it. It *contradicts* when the whole is the other
dataset's background, or when the part's own dataset also has a label of the whole's name, so that one name has two
meanings: a softmax over both lists is then trained in opposite directions. Both at least 20 %: they *overlap*. What the
estimates suggest but the limits do not yet support is listed as pending.

**Sample sizes.** The pixels of one image are not independent, so intervals count samples, not pixels: a share is a
ratio of weights summed over samples, its variance comes from the spread between samples, and Wilson's interval is
taken at the number of independent samples that has this variance. Where each sample holds one label this is the
ordinary Wilson interval.

**When it misleads.** A head can be wrong: that truck is called car may be an error and not a definition. A relation
does not count where the part's own head makes the same confusion on its own samples, or where the other head gives that
name as often to another label of its own dataset. Regions with several annotated labels cannot be assigned and are left
out. Names and co-presence are weak evidence and never decide. A share of a label that fewer than 10 samples hold
decides nothing.

**Pull.** Where gradients of both datasets' losses on each label's output were recorded, their cosine shows directly
whether one loss undoes the other. Losses that stay silent about labels they do not annotate have no gradient there.

**What a loss would teach.** A region that dataset A's head calls u and dataset B calls t pushes u down in a softmax
over the union: a wrong lesson. Its share is weighed against the regions annotated u, each dataset drawn equally often.
What the head calls u wrongly at home is listed beside it. A head that was itself trained by such a softmax has learnt
to keep silent, so the shares of such a run are too small.

**Relations by cosine.** A cosine classifier over the union of names gives every label's pixels a mean cosine with
every output. An output is related to a label where this exceeds both the cosine with the label's own output and τ. A
label whose own cosine is low collects wrong relations: read it beside the planted ones, where these are known.

**Co-presence.** Within a dataset, two labels share samples more (log odds ratio above 0) or less often than chance. A
context that one dataset has and another lacks is a shortcut that fails there; pairs are compared by a z-test of the log
odds ratios, corrected by Benjamini and Hochberg.

Sources: Wilson 1927; Bouma 2009 (NPMI); Korn and Graubard 1998 (effective sample size); Kim et al. 2022,
arXiv:2202.14030 (label shifts between datasets and the class-relational loss). The thresholds of 70 % and 20 % are our
choice and can be changed.
"""

from __future__ import annotations

import pandas as pd

from workbench.lenses.base import Lens, View
from workbench.lenses.labels import figures, list_figures, map_figure
from workbench.lenses.labels.lesson_figure import lesson_figure
from workbench.lenses.labels.relatedness_figure import relatedness_figure
from workbench.lenses.labels.statistics import Labels, statistics
from workbench.lenses.labels.verdicts import verdicts


def tables(stats: Labels) -> dict[str, pd.DataFrame]:
    """The numbers behind the figures."""
    found = {} if stats.relatedness is None else {"Relations by mean cosine": stats.relatedness.table()}
    return {
        "Relations between labels": stats.relations,
        "Conflicting labels": stats.conflicts,
        "Pull on outputs": stats.gradients,
        "Lessons of each loss": stats.lessons,
        "Proposed label space": stats.unified.labels,
        "Mapping to the proposed space": stats.unified.mapping,
        "Own head's confusion": stats.own,
        "Contexts that differ": stats.contexts,
        "Labels that share samples": stats.copresence,
        "Scores by label list": stats.scores,
        "Terms of each loss": stats.terms,
    } | found


LENS = Lens(
    slug="labels",
    title="Do my datasets' label spaces agree?",
    doc=__doc__ or "",
    needs=(),
    statistics=statistics,
    verdicts=verdicts,
    views=(
        View(
            "matrix",
            "Co-occurrence",
            figures.matrix,
            "Each cell is a share of the row's label (left) or of the column's label (right). Two bright cells at one "
            "place: the same thing; one bright cell: a part of the other. Decide what to merge.",
        ),
        View(
            "graph",
            "Relations",
            figures.graph,
            "Labels in one column a dataset; thicker lines are more certain. Decide which names to merge, nest or keep "
            "apart.",
        ),
        View(
            "conflicts",
            "Conflicts",
            figures.conflicts,
            "How much of a label the other dataset calls by another name, and by which. Decide which labels to mask or "
            "to train with a loss that stays silent about them.",
        ),
        View(
            "pull",
            "Pull on outputs",
            figures.pull,
            "Cosine between the gradients of two datasets' losses on a label's output: below 0, each dataset undoes "
            "what the other teaches. Decide which labels to take out of a shared softmax.",
        ),
        View(
            "cosines",
            "Relations by cosine",
            relatedness_figure,
            "How much closer a label's pixels lie to each output than to their own: blue closer, orange further. "
            "Frames are relations at this τ. Where the truth is known, a frame without a ring is a wrong relation and "
            "a ring without a frame one that was missed. Decide on τ before relations are trained.",
            applies=lambda stats: stats.relatedness is not None,
        ),
        View(
            "lists",
            "Label lists",
            list_figures.lists,
            "Which dataset annotates which name, and with how much of its annotation. About a name that is in one list "
            "only, a loss over the union has to be silent elsewhere.",
        ),
        View(
            "terms",
            "What a loss speaks about",
            list_figures.terms,
            "How much of what each loss says is yes, no, or nothing. A softmax says no wherever a list is silent.",
        ),
        View(
            "scoreboard",
            "Scores across lists",
            list_figures.scoreboard,
            "Each domain's pictures read in each list of labels. The own list is the usual validation; what falls off "
            "beside it is what does not carry over.",
            applies=lambda stats: len(stats.scores) > 0,
        ),
        View(
            "pictures",
            "Pictures",
            map_figure.strip,
            "Pictures beside what is true of each pixel in every list, and what the net said. Where a whole object "
            "changes its name between the lists, the names differ; where its edge frays, the net is wrong.",
            applies=lambda stats: stats.maps is not None,
        ),
        View(
            "lessons",
            "What a loss would teach",
            lesson_figure,
            "Each label's share of wrong lessons under a softmax over all labels, and under one binary loss a class "
            "that stays silent about labels a dataset does not annotate; right: what relations between labels would "
            "add. "
            "Decide which loss to train the union with. Best read from heads that were trained apart.",
        ),
        View(
            "contexts",
            "Contexts",
            figures.contexts,
            "Log odds ratio of two labels sharing a sample, in each dataset. Decide which contexts may be shortcuts.",
        ),
    ),
    tables=tables,
)
