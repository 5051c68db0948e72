"""Which parameters carry a consistent signal, which carry noise?

The gradient of one parameter is a little different for every sample. Its signal-to-noise ratio (GSNR) is the square
of the mean over samples divided by their variance: above 1 the samples agree, near 0 they cancel. Each column of the
picture is a recorded step, each row a band of GSNR on a logarithmic scale, and the colour is the share of parameters
in it; the white line is the median. The lowest row, "none", holds parameters whose estimate is not above 0.

How it is measured. From n samples the raw ratio r = m² / s² is too large by about 1/n, so that pure noise looks like
signal. Shown is (n - 3) / (n - 1) · r - 1/n, which is exactly unbiased for Gaussian gradients, and so comparable
between runs with different numbers of samples; for heavy-tailed gradients it is close when n is large. It may be
negative. Quantiles and the edges of the recorded histogram go through the same map. A module "as a whole" is the
ratio of sums Σ (m² - s²/n) / Σ s², which single noisy parameters do not sway.

What it predicts. For one small step on a training set of N samples, the share of the gain that an independent set of
the same size would share is R = Σ (m² - s²/n) / Σ (m² - s²/n + s²/N): near 1 the step learns what generalises, near 0
it fits single samples. Negative terms are kept; cutting them at 0 would bring the bias back. Intervals are Student's
t over recorded steps.

Between domains. The mean cosine between domains' mean gradients follows without bias from the recorded squared norms:
1 the domains agree, below 0 they pull a module apart.

When it misleads. GSNR falls everywhere as training converges; that alone is no fault. Early in training a shortcut
has a high GSNR too: a strong, consistent signal need not be the right one. Batch normalisation in training mode mixes
samples, so that a per-sample gradient is not defined.

What was measured. True steps of the run's own length say what held-out samples gain (view Predicted and measured).

Below tensors. Single filters, parameters on which two domains have opposite signs, and the overlap of the mask of GSNR
dropout from record to record are recorded with ``detail=True``.

Sources: Liu et al. 2020, arXiv:2001.07384 (GSNR and the one-step generalisation ratio R); Michalkiewicz et al. 2023,
arXiv:2310.07361 (GSNR for domain generalisation). The correction for n, the module as a whole, the cosine between
domains, the rule for a collapse (below a tenth of the peak to the end; alone where it falls beyond noise twice as far
as the other modules) and the verdicts' limits are this project's
choices.
"""

from __future__ import annotations

from workbench.lenses.base import Lens, View
from workbench.lenses.gsnr import detail_figures, dropout_figures, figures
from workbench.lenses.gsnr.statistics import Gsnr, statistics
from workbench.lenses.gsnr.tables import tables
from workbench.lenses.gsnr.verdicts import verdicts

__all__ = ["LENS", "Gsnr", "statistics", "tables", "verdicts"]

LENS = Lens(
    slug="gsnr",
    title="Which parameters carry signal, which carry noise?",
    doc=__doc__,
    needs=("gsnr",),
    statistics=statistics,
    verdicts=verdicts,
    views=(
        View(
            "distribution",
            "Distribution per layer",
            figures.distribution,
            "Steps across, GSNR up, colour the share of a module's parameters; the white line is the median. A module "
            "whose mass sinks to the bottom has stopped learning anything that samples share.",
        ),
        View(
            "quantiles",
            "Quantiles",
            figures.quantiles,
            "The median of every module, or the middle 50 and 90 % of one module's parameters.",
        ),
        View(
            "modules",
            "All modules",
            figures.modules,
            "Every module over training at a glance, first layer on top; a triangle marks where one falls below a "
            "tenth of its peak for good.",
        ),
        View(
            "domains",
            "Domains",
            figures.domains,
            "Left: how consistent the gradient is within each domain. Right: whether the domains' gradients agree.",
        ),
        View(
            "generalisation",
            "Generalisation",
            figures.generalisation,
            "The share of a step's gain that new data would share, and which modules take it away.",
        ),
        View(
            "measured",
            "Predicted and measured",
            detail_figures.measured,
            "The line is foretold from GSNR alone, the diamonds are true steps judged on other samples. Diamonds well "
            "below the line: the samples were memorised, or the step is too long for first order.",
            applies=lambda stats: stats.detail.measured is not None,
        ),
        View(
            "filters",
            "Single filters",
            detail_figures.filters,
            "Every filter of a layer over training, or against the size or the change of its weights: whether the "
            "filters that move are those with a signal.",
            applies=lambda stats: len(stats.detail.filters) > 0,
        ),
        View(
            "signs",
            "Where domains disagree",
            detail_figures.signs,
            "The share of parameters whose mean gradients have opposite signs in two domains, both beyond noise: which "
            "domains and which modules a mask or a normalisation per domain would concern.",
            applies=lambda stats: len(stats.detail.signs) > 0,
        ),
        View(
            "mask",
            "Mask preview",
            figures.mask,
            "What GSNR dropout would take from each module at a ratio, with all weights ranked together. Where one "
            "module loses most of its weights, rank per module instead.",
        ),
        View(
            "mask-stability",
            "Mask stability",
            detail_figures.churn,
            "How much of the mask is that of the record before. Near the dotted line the mask is drawn by noise; near "
            "1 the same weights are kept out all the time.",
            applies=lambda stats: len(stats.detail.masks) > 0,
        ),
        View(
            "micro",
            "Micro-batches",
            detail_figures.micro,
            "What a training that cannot afford per-sample gradients would see: too large as it comes, right on "
            "average once the bias is taken off, and how far it still ranks the parameters.",
            applies=lambda stats: len(stats.detail.micro) > 0,
        ),
        View(
            "timeline",
            "Shortcut timeline",
            dropout_figures.timeline,
            "Share of the first-layer weights with the highest GSNR that read each group of inputs; dotted, the "
            "group's share of all weights. A group far above its dotted line is what the net is learning just now.",
            applies=lambda stats: bool(stats.dropout.shortcut),
        ),
        View(
            "overlay",
            "Mask overlay",
            dropout_figures.overlay,
            "Orange: the weights that the last step left out, on the ground of what ranked them (empty: no gradient at "
            "all). Beside it, where the inputs are a picture: the same by input, and by group of inputs.",
            applies=lambda stats: bool(stats.dropout.overlays),
        ),
        View(
            "churn",
            "Mask over training",
            dropout_figures.churn,
            "Left: 1 is the same mask as one step before. Right: if the net does better without what was left out, it "
            "has learnt to do without weights that it gets back at test time.",
            applies=lambda stats: len(stats.dropout.overlap.steps) > 0,
        ),
        View(
            "cliff",
            "Ratio cliff",
            dropout_figures.cliff,
            "Many trainings side by side: accuracy of the whole net by rule and by ratio of masked weights; the dotted "
            "line is guessing.",
            applies=lambda stats: stats.dropout.cliff is not None,
        ),
    ),
    tables=tables,
)
