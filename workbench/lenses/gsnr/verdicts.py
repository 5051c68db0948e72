"""What the GSNR lens says in words. The limits below are our choice; the numbers are in every sentence."""

from __future__ import annotations

import numpy as np

from workbench.core.gramian import student95
from workbench.lenses.base import Verdict
from workbench.lenses.gsnr.dropout import dropout_verdicts
from workbench.lenses.gsnr.statistics import Gsnr, Span

#: Best one-step generalisation ratio below which updates are called mostly or wholly noise.
WEAK, NOISE = 0.2, 0.05
#: A late ratio below this is worth saying.
HALF = 0.5
#: Mean cosine between domains below which they are said to agree little.
LITTLE = 0.5
#: Share of broken entries that makes a problem of them.
BROKEN = 0.25
#: A prediction of the generalisation ratio that exceeds what was measured by more than this is worth saying.
TOO_HIGH = 0.1
#: Recorded steps needed to say anything about training.
ENOUGH_STEPS = 3
#: Samples needed for the correction to be defined, and to be of use.
ENOUGH_SAMPLES = 8
#: Sentences about modules; the table holds the rest.
MAX_NAMED = 3


def verdicts(stats: Gsnr) -> list[Verdict]:
    """Worst first by level when sorted; never empty."""
    found = [*_nonfinite(stats), *dropout_verdicts(stats.dropout)]
    n_samples = int(stats.samples[:, 0].max())
    if n_samples < ENOUGH_SAMPLES or len(stats.steps) < ENOUGH_STEPS:
        return [*found, _too_little(stats, n_samples)]
    return [*found, _generalisation(stats), *_domains(stats), *_collapses(stats), *_measured(stats)]


def _too_little(stats: Gsnr, n_samples: int) -> Verdict:
    steps = f"{len(stats.steps)} recorded step{'s' if len(stats.steps) != 1 else ''}"
    return Verdict(
        "cannot tell",
        f"The gradients of {n_samples} samples at {steps} "
        f"are too few: at least {ENOUGH_SAMPLES} samples at {ENOUGH_STEPS} steps are needed.",
        "Call Recorder.gsnr at more steps, with 64 samples or more.",
    )


def _nonfinite(stats: Gsnr) -> list[Verdict]:
    if not stats.nonfinite:
        return []
    share = stats.nonfinite / max(1, stats.nonfinite + stats.n_finite)
    return [
        Verdict(
            "problem" if share >= BROKEN else "watch",
            f"{stats.nonfinite} of {stats.nonfinite + stats.n_finite} recorded entries held NaN or infinite gradients; "
            "they are left out.",
            "Look at the losses around those steps; a smaller learning rate or clipping the gradient's norm usually "
            "ends it.",
            value=share,
        )
    ]


def _text(span: Span) -> str:
    return f"{span.value:.2f} (95 % interval {span.low:.2f} to {span.high:.2f})".replace("-", "\u2212")


def _generalisation(stats: Gsnr) -> Verdict:
    """Whether any phase of training learnt something that new data share, and how it is at the end."""
    best, last = stats.osgr_best, stats.osgr_last
    size = f"{stats.n_train:,}".replace(",", "\u202f")
    basis = f"for {size} training samples" if stats.n_train_known else f"for the {size} samples measured"
    options = {"view": "generalisation"}
    if np.isnan(best.value):
        return Verdict("cannot tell", "No recorded step has a gradient: every mean and variance is 0.", options=options)
    start = (
        f"A step is predicted to keep at best {_text(best)} of its gain on data it was not trained on "
        f"(steps {best.first} to {best.last}, {basis})"
    )
    ending = f", and {_text(last)} at the end of training"
    if best.high < NOISE:
        return Verdict(
            "problem",
            f"{start}{ending}: at no time do updates follow more than noise.",
            "Check the labels (a share of random labels looks like this), the loss and the learning rate.",
            best.value, best.low, best.high, options,
        )  # fmt: skip
    if best.high < WEAK:
        return Verdict(
            "watch",
            f"{start}{ending}: most of each update fits single samples.",
            "Look for label noise, or train with larger batches.",
            best.value, best.low, best.high, options,
        )  # fmt: skip
    if best.low < NOISE:
        return Verdict(
            "cannot tell", f"{start}: the interval is too wide.", "Record more steps or more samples a step.",
            best.value, best.low, best.high, options,
        )  # fmt: skip
    late = last.high < HALF and last.value < best.value
    hint = "The end of training mostly fits single samples: stopping earlier would cost little." if late else ""
    return Verdict("fine", f"{start}{ending}.", hint, best.value, best.low, best.high, options)


def _domains(stats: Gsnr) -> list[Verdict]:
    """Modules whose gradients differ in direction between domains."""
    if len(stats.domains) < 2:
        return []
    whole, *modules = stats.agreement_mean
    if np.isnan(whole.value):
        return []
    apart = sorted((i for i, span in enumerate(modules) if span.high < 0), key=lambda i: modules[i].value)
    named = ", ".join(f"{stats.modules[i]} {_text(modules[i])}" for i in apart[:MAX_NAMED])
    more = f" and {len(apart) - MAX_NAMED} more" if len(apart) > MAX_NAMED else ""
    start = (
        f"The mean gradients of the {len(stats.domains)} domains have a cosine of {_text(whole)} with one another, "
        f"pooled over {whole.n} recorded steps"
    )
    options = {"view": "domains"} | ({"part": stats.modules[apart[0]]} if apart else {})
    advice = (
        "Compare the domains' accuracies; where they differ, try the domain-level GSNR mask, or normalisation "
        "per domain in those modules."
    )
    if whole.high < 0:
        return [Verdict("problem", f"{start}: they pull apart.", advice, whole.value, whole.low, whole.high, options)]
    if whole.high < LITTLE:
        inside = f"; they pull apart in {named}{more}" if apart else ""
        hint = f"Domains that should agree and do not: look for wrong labels in one of them. {advice}"
        return [
            Verdict("watch", f"{start}: they agree little{inside}.", hint, whole.value, whole.low, whole.high, options)
        ]
    if apart:
        sentence = f"{start}, but they pull apart in {named}{more}."
        worst = modules[apart[0]]
        return [Verdict("watch", sentence, advice, worst.value, worst.low, worst.high, options)]
    excess = "; above 1 it is so by noise alone" if whole.value > 1 else ""
    return [Verdict("fine", f"{start}{excess}.", "", whole.value, whole.low, whole.high, options)]


def _collapses(stats: Gsnr) -> list[Verdict]:
    """The fall of GSNR is normal when training converges; a module that falls alone and early is worth a look."""
    found = stats.collapses
    if not len(found):
        return []
    first = found[found["alone"]].iloc[0] if found["alone"].any() else found.iloc[0]
    after = f"{100 * first['after']:.1f} % (95 % interval {100 * first['low']:.1f} to {100 * first['high']:.1f} %)"
    after = after.replace("-", "\u2212")
    start = (
        f"The GSNR of {first['part']} falls below a tenth of its peak (step {first['peak_step']}) at step "
        f"{first['step']} and stays there, on average at {after} of it"
    )
    options = {"view": "modules"}
    alone = found[found["alone"]]
    if not len(alone) or len(found) > stats.n_modules / 2:
        others = f"{len(found)} of {stats.n_modules} modules do so"
        end = (
            f"; {others}, as when training converges."
            if len(found) > stats.n_modules / 2
            else f"; {others}, not further than the other modules beyond noise."
        )
        return [Verdict("fine", start + end, "", float(first["step"]), options=options)]
    others = f"; so do {len(found) - 1} other of {stats.n_modules} modules" if len(found) > 1 else ""
    return [
        Verdict(
            "watch",
            f"{start}{others}, further than the other modules beyond noise.",
            f"Compare the losses around step {first['step']}; freezing the module from there on, or a smaller learning "
            "rate for it, shows whether it still learns.",
            float(first["step"]), options=options,
        )
    ]  # fmt: skip


def _measured(stats: Gsnr) -> list[Verdict]:
    """Whether true steps gave what the gradients foretold."""
    found = stats.detail.measured
    if found is None or len(found.both) < ENOUGH_STEPS:
        return []
    ratio, predicted = found.ratio[found.both], found.predicted[found.both]
    n = len(ratio)
    gap = predicted - ratio
    half = student95(n - 1) * float(gap.std(ddof=1)) / n**0.5
    mean, low, high = float(gap.mean()), float(gap.mean()) - half, float(gap.mean()) + half
    other = "held-out" if found.held_out else "other"
    numbers = f"{mean:.2f} (95 % interval {low:.2f} to {high:.2f})".replace("-", "\u2212")
    sentence = (
        f"In true steps on {found.samples} samples, {other} samples saw {float(ratio.mean()):.2f} of the gain on "
        f"average over {n} recorded steps, where GSNR predicts {float(predicted.mean()):.2f}: the prediction is too "
        f"high by {numbers}"
    ).replace(" -", " \u2212")
    options = {"view": "measured"}
    if low > TOO_HIGH:
        hint = "The samples measured may be memorised; measure GSNR on samples that training did not see."
        return [Verdict("watch", f"{sentence}.", hint, mean, low, high, options)]
    return [Verdict("fine", f"{sentence}.", "", mean, low, high, options)]
