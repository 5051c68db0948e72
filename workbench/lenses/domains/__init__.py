"""How far apart are my domains inside the model?

Every number compares two sets of embeddings of the same layer at the same checkpoint: a domain with the training
domains (or with all others when none is held out), and every pair of domains.

- **MMD²** (kernel distance, Gretton et al. 2012): 0 when two clouds are the same; any kind of difference counts.
- **Fréchet distance** (Dowson and Landau 1982): difference of means and covariances, on the first principal components,
  in units of the variance within domains.
- **Proxy A-distance** (Ben-David et al. 2007): how well a linear classifier recognises the domain of samples it has not
  seen; 0 = not at all, 2 = always. Across layers it shows where domain information dies.
- **Mixing**: share of a sample's nearest neighbours that come from other domains; 1 = as by chance, 0 = apart. High
  mixing overall with low mixing *within* classes means that classes land on other classes.
- **Class shift**: how far a class's centre moves, in radii of the class.
- **CORAL** (Sun and Saenko 2016): difference of covariances only; high MMD² with low CORAL is a shift of the mean, for
  which batch-norm statistics can be re-estimated.
- **Sliced Wasserstein** (Rabin 2011): mean distance of the projections on random lines.
- **Evidence**: the samples with the largest and smallest witness of MMD², those that make the difference.
- **Kind of shift**: the change of accuracy as another mix of classes plus other answers within classes (Kitagawa 1955,
  Oaxaca 1973); the mix is also estimated without labels (BBSE, Lipton et al. 2018), unless classes look different.
- **Without labels**: accuracy guessed from confidences (ATC, Garg et al. 2022; DoC, Guillory et al. 2021), from how
  often the model agrees with the nearest class mean of its last layer (after Chuang et al. 2020), and from the
  distances of labelled domains (after Deng and Zheng 2021). A model that is wrong and sure fools the first two, one
  whose classes land on other classes the third.
- **Limits**: source error, half the proxy A-distance and the joint error of one classifier (Ben-David et al. 2010), as
  a diagnosis and not as a certificate.
- **CKA** (Kornblith et al. 2019, debiased): how alike two checkpoints or layers arrange the same samples.
- **Pairs** (after Faraki et al. 2021): covariance of the differences between two samples of one class, and between two
  classes, in each domain. Separation compares their sizes; agreement and angle say whether what varies within classes
  is the same in two domains, which is what a metric learned in one needs to serve the other.
- **Arrows**: the centre of each domain, class or level at one checkpoint and at another, or in two runs, after the
  best turn and stretch of the whole; in radii of the group, grey where random signs move it as far.
- **Kept and forgotten**: where tasks were learned one after the other, the accuracy on each after each further one,
  in seen and unseen domains; forgetting (Chaudhry et al. 2018) is what was lost since a task's best. Record it with an
  ordered attribute `stream_stage` and predictions after every task, or open a log that has an accuracy per task.

How sure: each distance stands beside its null, what it becomes when domain labels are shuffled within classes, with
a p-value corrected for the number of comparisons (Benjamini and Hochberg). The proxy A-distance has a 95 % interval.
A shift is harmful only if accuracy falls with it: a domain that is easy to recognise and well classified can be left
alone.

When it misleads: distances are between *these* samples, so a domain recorded with other classes, or with training
samples where the others hold test samples, looks shifted. Samples made from the same originals, or in groups (one
writer, one video), make p-values too small or too large. Fréchet, MMD and centroids mean nothing across checkpoints,
because the axes there are arbitrary: compare the numbers, not the clouds. A map in two dimensions hides and invents
gaps: its trustworthiness and neighbour recall are printed on it, and the points it places worst are faint. It holds up
to 100,000 samples; of more than 3,000, each is judged among 1,000 random ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from workbench.core import Run
from workbench.lenses.base import Lens, Verdict, View
from workbench.lenses.domains.arrow_figures import class_moves_figure, has_shared_classes, moves_figure
from workbench.lenses.domains.depth_figures import (
    bound_figure,
    class_mix_figure,
    estimates_figure,
    similarity_figure,
    split_figure,
    witness_figure,
)
from workbench.lenses.domains.figures import class_bars, distance_matrix, mixing_figure, over_layers, over_training
from workbench.lenses.domains.map_figure import aligned_figure, colour_options, map_figure
from workbench.lenses.domains.measure import MEASURES, REFERENCE
from workbench.lenses.domains.pair_figures import (
    agreement_figure,
    has_pairs,
    has_triplets,
    hinge_figure,
    separation_figure,
    spectrum_figure,
)
from workbench.lenses.domains.statistics import DomainShift
from workbench.lenses.domains.statistics import statistics as shift_statistics
from workbench.lenses.domains.stream import Stream, is_stream, stream_of
from workbench.lenses.domains.stream_figures import stream_in
from workbench.lenses.domains.stream_verdicts import stream_verdicts
from workbench.lenses.domains.stream_views import STREAM_VIEWS, stream_tables
from workbench.lenses.domains.verdicts import verdicts as shift_verdicts

__all__ = [
    "LENS",
    "MEASURES",
    "REFERENCE",
    "DomainShift",
    "Stream",
    "colour_options",
    "map_figure",
    "statistics",
    "verdicts",
]


class _DomainLens(Lens):
    """Also reads tasks learned one after the other, which need no embeddings."""

    def check(self, run: Run) -> Run:
        return run if is_stream(run) else super().check(run)


def statistics(run: Run, **options: Any) -> DomainShift | Stream:
    """Everything about the domains; a stream of tasks alone where the run recorded no embeddings.

    Args:
        **options: See :func:`workbench.lenses.domains.statistics.statistics`.
    """
    if not (run.has("embeddings") and run.has("samples")):
        stream = stream_of(run)
        if stream is not None:
            return stream
    return shift_statistics(run, **options)


def verdicts(stats: DomainShift | Stream) -> list[Verdict]:
    """Worst first."""
    return stream_verdicts(stats) if isinstance(stats, Stream) else shift_verdicts(stats)


def tables(stats: DomainShift | Stream) -> dict[str, pd.DataFrame]:
    """The numbers behind the figures."""
    stream = stream_in(stats)
    return (_shift_tables(stats) if isinstance(stats, DomainShift) else {}) | (stream_tables(stream) if stream else {})


def _has_shift(stats: DomainShift | Stream) -> bool:
    return isinstance(stats, DomainShift)


def _shift_tables(stats: DomainShift) -> dict[str, pd.DataFrame]:
    return {
        "Distances": stats.comparisons,
        "Neighbour mixing": stats.mixing,
        "Shift per class": stats.class_shift,
        "Accuracy per domain": stats.accuracy,
        "Kind of shift": stats.depth.split,
        "Shift of the mean": stats.depth.mean_split,
        "Mix of classes": stats.depth.class_mix,
        "Accuracy without labels": stats.depth.estimates,
        "Terms of the bound": stats.depth.bound,
        "Similarity of layers and steps": stats.depth.similarity,
        "Evidence": stats.depth.witness,
        "Separation of classes": stats.pairs.separation,
        "Agreement of same-class pairs": stats.pairs.agreement,
        "Spectra of pairs": stats.pairs.spectrum,
    }


_VIEWS = (
    View("map", "Map", map_figure,
         "Each point is a sample; near points are alike inside the model. Faint points and a low recall mean that "
         "the flat picture misleads there."),
    View("matrix", "Distances", distance_matrix,
         "Every pair of domains with its distance and corrected p-value; grey cells are no different from chance. "
         "Click a cell to select the samples of both."),
    View("training", "Over training", over_training,
         "Distance of each domain from the training domains at every recorded checkpoint; above the shaded band it "
         "is more than chance."),
    View("layers", "Through the network", over_layers,
         "The same along the layers: high first and low last means that the network removes the domain by itself."),
    View("mixing", "Mixing", mixing_figure,
         "Whether nearest neighbours come from other domains, over all samples and within classes."),
    View("classes", "Per class", class_bars,
         "How far each class of a domain lies from the same class elsewhere; hatched bars: only chance."),
    View("witness", "Evidence", witness_figure,
         "The samples that make the difference: typical of the domain to the right, of its reference to the left."),
    View("split", "Kind of shift", split_figure,
         "The change of accuracy, split into another mix of classes and other answers within the same classes."),
    View("mix", "Mix of classes", class_mix_figure,
         "Shares of the classes in a domain, and what would be guessed without its labels."),
    View("estimates", "Without labels", estimates_figure,
         "Accuracy guessed from confidences and distances without a domain's labels, beside the true accuracy."),
    View("bound", "Limits", bound_figure,
         "Error in the reference, domain distance and joint error: the largest term is what to work on."),
    View("similarity", "Layers and steps", similarity_figure,
         "Which layers moved during training, and which layers resemble each other (CKA)."),
    View("aligned", "Map over training", aligned_figure,
         "The same samples at every checkpoint, turned onto one another, as an animation."),
    View("moves", "Arrows over training", moves_figure,
         "From where to where the centre of each group moves between two checkpoints, or from this run to the one it "
         "is compared with. Decide which group training carried away; grey arrows are no longer than chance."),
)  # fmt: skip

_PAIR_VIEWS = (
    View("class-moves", "Arrows of classes", class_moves_figure,
         "From each class's centre in the other domains to its centre in one domain. Decide whether the domain moves "
         "all classes alike, which statistics can undo, or each its own way.", has_shared_classes),
    View("spectrum", "Pair covariances", spectrum_figure,
         "How much two samples of one class differ along each direction, and two of different classes. Separation "
         "near 1 means that classes do not stand apart in that domain.", has_pairs),
    View("separation", "Separation", separation_figure,
         "Whether classes come apart in every domain while the net trains, also in the held-out one.", has_pairs),
    View("agreement", "Directions of pairs", agreement_figure,
         "Whether same-class pairs vary along the same directions in two domains: 1 and small angles mean that what "
         "one domain learned to ignore serves the other.", has_pairs),
    View("hinges", "Triplets at work", hinge_figure,
         "Share of triplets whose cross-domain loss is above 0; a line at 0 has nothing left to teach. Below, where it "
         "was logged: whether classes come apart in the batches, and whether domains differ along the same directions.",
         has_triplets),
)  # fmt: skip

LENS = _DomainLens(
    slug="domains",
    title="How far apart are my domains inside the model?",
    doc=__doc__,
    needs=("embeddings", "samples"),
    statistics=statistics,
    verdicts=verdicts,
    views=(*(replace(view, applies=_has_shift) for view in _VIEWS), *_PAIR_VIEWS, *STREAM_VIEWS),
    tables=tables,
)
