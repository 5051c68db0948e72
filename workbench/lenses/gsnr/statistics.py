"""From the recorded GSNR table to distributions, signal shares, and the one-step generalisation ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from workbench.core import Run
from workbench.core.gramian import jackknife_se, student95
from workbench.core.schema import GSNR_MASK_RATIOS, GSNR_QUANTILES
from workbench.lenses.gsnr.correction import (
    corrected,
    corrected_density,
    histogram_quantiles,
    noise_limit,
    share_up_to,
)
from workbench.lenses.gsnr.detail import Detail, read_detail
from workbench.lenses.gsnr.dropout import Dropout, read_dropout
from workbench.lenses.gsnr.reading import Axes, Sums, read_histograms, read_sums

#: Rows of the table that are read; beyond, recorded steps are taken evenly spaced.
MAX_ROWS = 100_000
ALL_PARAMETERS = "all parameters"
#: Ratios at which the mask of GSNR dropout is previewed.
MASK_RATIOS = GSNR_MASK_RATIOS
#: A module has collapsed when it stays below this share of its highest value for at least so many recorded steps.
COLLAPSE_SHARE, COLLAPSE_STEPS = 0.1, 3
#: The highest value must stand out of the step-to-step scatter by this factor.
COLLAPSE_CLEAR = 5.0
#: A module falls alone when, beyond noise at 5 % over all modules and split points, it keeps less than this share of
#: what the other modules keep.
ALONE_SHARE, ALONE_LEVEL = 0.5, 0.05


@dataclass(frozen=True)
class Span:
    """The mean of a number over some recorded steps with its 95 % interval (Student's t or jackknife over steps)."""

    first: int
    last: int
    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Gsnr:
    """All numbers of the lens. S steps; parts R: all parameters, then modules, then parameter tensors; D domains.

    Attributes:
        n_modules: Parts 1 … n_modules are modules in the order of the forward pass; the rest are parameter tensors.
        module_of: For every part the index of its module's part (0 for all parameters).
        count: Parameters in the part. samples: behind a step's numbers; 0 where nothing was recorded.
        density: Shares of parameters by corrected GSNR, at or below 1e-5 first, then in the bins of
            ``correction.LOG10_EDGES``.
        quantiles: Corrected GSNR at ``core.schema.GSNR_QUANTILES``; may be negative.
        signal_share: Estimated share of parameters whose mean gradient is not 0: (share beyond the 95 % limit of pure
            noise - 5 %) / 95 %; may be slightly negative.
        snr: Σ (m² - s²/n) / Σ s²: the GSNR of the part as a whole, weighted by gradient noise.
        osgr: One-step generalisation ratio per step for ``n_train`` training samples; NaN where the estimated signal
            is so far below 0 that the ratio means nothing.
        loss_share: What every module takes away from it; sums to 1 - osgr over modules.
        osgr_best, osgr_last: Pooled over the best run of consecutive steps, and over the last ones; in [0, 1].
        domain_snr: As ``snr``, within one domain, for all parameters and for modules.
        agreement: Mean cosine between the mean gradients of different domains, for all parameters and for modules:
            1 the same direction, below 0 pulling apart. NaN without several domains.
        agreement_mean: Pooled over steps (each weighted by its signal over noise) for all parameters and each module.
        masked: Share of each module's weights that GSNR dropout would take, at every one of ``MASK_RATIOS``, when all
            weights are ranked together (biases are never taken); NaN for a module without weights.
        collapses: One row a collapsed module: part, step, peak_step, peak, after, low, high (``after`` over ``peak``),
            alone (whether it falls further than the other modules, beyond noise).
        nonfinite: Recorded (step, tensor) entries with NaN or infinite moments; they are left out. ``n_finite``: the
            others.
        detail: What was recorded below the level of tensors, and measured beside the prediction.
        dropout: What was recorded of GSNR dropout at work; empty in most runs.
    """

    parts: tuple[str, ...]
    n_modules: int
    module_of: Int[np.ndarray, " R"]
    count: Int[np.ndarray, " R"]
    steps: Int[np.ndarray, " S"]
    n_recorded: int
    samples: Int[np.ndarray, "S R"]
    density: Float[np.ndarray, "S R 37"]
    quantiles: Float[np.ndarray, "S R 5"]
    signal_share: Float[np.ndarray, "S R"]
    snr: Float[np.ndarray, "S R"]
    n_train: int
    n_train_known: bool
    osgr: Float[np.ndarray, " S"]
    loss_share: Float[np.ndarray, "S M"]
    osgr_best: Span
    osgr_last: Span
    domains: tuple[str, ...]
    domain_snr: Float[np.ndarray, "S D M1"]
    agreement: Float[np.ndarray, "S M1"]
    agreement_mean: tuple[Span, ...]
    masked: Float[np.ndarray, "S G M"]
    collapses: pd.DataFrame
    nonfinite: int
    n_finite: int
    detail: Detail
    dropout: Dropout

    @property
    def modules(self) -> tuple[str, ...]:
        return self.parts[1 : 1 + self.n_modules]

    @property
    def parameters(self) -> tuple[str, ...]:
        return self.parts[1 + self.n_modules :]

    @property
    def mostly_noise(self) -> int | None:
        """The step from which on the ratio is known to stay below one half; None where it ends at or above it."""
        known = np.flatnonzero(np.isfinite(self.osgr))
        above = known[self.osgr[known] >= 0.5]
        rest = known[known > above[-1]] if len(above) else known
        return int(self.steps[rest[0]]) if len(rest) else None


def statistics(run: Run, n_train: int | None = None, max_rows: int = MAX_ROWS) -> Gsnr:
    """Read the recorded GSNR of a run.

    Args:
        n_train: Size of the training set, for the generalisation ratio. By default ``n_train`` of the run's config,
            else the number of samples with split "train", else the number of samples measured.
        max_rows: When the table holds more rows, only evenly spaced steps are read (``n_recorded`` tells).

    Raises:
        MissingTable: the run recorded no GSNR.
    """
    run.require("gsnr")
    axes = Axes.of(run)
    sizes = run.query("SELECT step, count(*) AS n FROM gsnr GROUP BY step ORDER BY step")
    recorded = sizes["step"].to_numpy()
    n_read = max(1, min(len(recorded), int(max_rows / max(1.0, sizes["n"].mean()))))
    steps = recorded[np.unique(np.linspace(0, len(recorded) - 1, n_read).round().astype(int))]
    sums = read_sums(run, axes, steps)
    histogram, tensor_quantiles = read_histograms(run, axes, steps)
    pooled_mean, pooled_var, pooled_n = (array[:, :, 0] for array in (sums.mean_sq, sums.var, sums.samples))
    samples = axes.widest(pooled_n)
    signal = axes.gathered(pooled_mean - pooled_var / np.maximum(pooled_n, 1))
    noise = axes.gathered(pooled_var)
    size, known = _training_size(run, n_train, samples)
    counts = axes.gathered(histogram)
    n = samples.astype(float)
    beyond = 1 - share_up_to(counts, np.log10(noise_limit(n))[..., None])[..., 0]
    module = slice(1, 1 + len(axes.modules))
    whole = np.maximum(signal[:, 0] + noise[:, 0] / size, 0.0)
    osgr = _divided(signal[:, 0], whole)
    ratio = _divided(signal, noise)
    top, bottom = _agreement(axes, sums)
    agreement = _divided(top, np.maximum(bottom, 0.0))
    return Gsnr(
        parts=(ALL_PARAMETERS, *axes.modules, *axes.tensors),
        n_modules=len(axes.modules),
        module_of=np.concatenate([[0], np.arange(1, 1 + len(axes.modules)), 1 + axes.module_of]),
        count=axes.gathered(axes.count[None].astype(float))[0].astype(np.int64),
        steps=steps,
        n_recorded=len(recorded),
        samples=samples,
        density=corrected_density(counts, n),
        quantiles=_quantiles(axes, counts, tensor_quantiles, n),
        signal_share=(beyond - 0.05) / 0.95,
        snr=ratio,
        n_train=size,
        n_train_known=known,
        osgr=osgr,
        loss_share=_divided(noise[:, module] / size, whole[:, None]),
        osgr_best=generalising(best_span(steps, ratio[:, 0]), size),
        osgr_last=generalising(span_of(steps, ratio[:, 0], slice(-window_length(len(steps)), None)), size),
        domains=axes.domains,
        domain_snr=_domain_snr(axes, sums),
        agreement=agreement,
        agreement_mean=tuple(pooled_ratio(steps, top[:, i], bottom[:, i]) for i in range(top.shape[1])),
        masked=_masked(axes, histogram),
        collapses=_collapses(steps, signal, noise, axes.modules),
        nonfinite=sums.nonfinite,
        n_finite=int((sums.samples > 0).sum()),
        detail=read_detail(run, steps, ratio[:, 0]),
        dropout=read_dropout(run),
    )


def _quantiles(
    axes: Axes,
    counts: Float[np.ndarray, "S R 48"],
    tensor: Float[np.ndarray, "S Q 5"],
    samples: Float[np.ndarray, "S R"],
) -> Float[np.ndarray, "S R 5"]:
    """Recorded ones for tensors; from the summed histograms (bins a quarter of a decade wide) for larger parts."""
    larger = histogram_quantiles(counts[:, : 1 + len(axes.modules)], GSNR_QUANTILES)
    return corrected(np.concatenate([larger, tensor], axis=1), samples[..., None])


def _masked(axes: Axes, histogram: Float[np.ndarray, "S Q 48"]) -> Float[np.ndarray, "S G M"]:
    """Share of every module above the GSNR that the wanted share of all weights exceeds; from the histograms."""
    weights = np.array([not tensor.endswith("bias") for tensor in axes.tensors])
    counts = axes.gathered(np.where(weights[:, None], histogram, 0.0))[:, : 1 + len(axes.modules)]
    limits = np.log10(histogram_quantiles(counts[:, :1], tuple(1 - ratio for ratio in MASK_RATIOS)))  # [S, 1, G]
    above = 1 - share_up_to(counts[:, 1:], np.broadcast_to(limits, (len(counts), len(axes.modules), limits.shape[-1])))
    return np.swapaxes(above, 1, 2)


def _domain_snr(axes: Axes, sums: Sums) -> Float[np.ndarray, "S D M1"]:
    signal = sums.mean_sq - sums.var / np.maximum(sums.samples, 1)
    part = slice(0, 1 + len(axes.modules))
    ratio = _divided(axes.gathered(signal), axes.gathered(sums.var))  # [S, R, D1]
    return np.moveaxis(ratio[:, part, 1:], 1, 2)


def _agreement(axes: Axes, sums: Sums) -> tuple[Float[np.ndarray, "S M1"], Float[np.ndarray, "S M1"]]:
    """Mean inner product between the mean gradients of different domains, and their mean squared norm.

    With weights w_d = n_d / n the pooled mean is Σ w_d m_d, so |m|² - Σ w_d² |m_d|² = Σ_{d≠e} w_d w_e ⟨m_d, m_e⟩, and
    those products come from different samples, hence are unbiased; divided by Σ_{d≠e} w_d w_e. The squared norm is
    Σ w_d (|m_d|² - s_d²/n_d). Both over the part's gradient noise Σ s², so that steps can be pooled; NaN without
    several domains that make up all samples.
    """
    part = slice(0, 1 + len(axes.modules))
    if len(axes.domains) < 2:
        unknown = np.full((len(sums.samples), part.stop), np.nan)
        return unknown, unknown
    n = sums.samples[..., 1:].astype(float)
    weight = n / np.where(n.sum(axis=-1, keepdims=True) > 0, n.sum(axis=-1, keepdims=True), np.nan)
    whole = sums.samples[..., 0] == sums.samples[..., 1:].sum(axis=-1)  # the domains are all of the samples
    inside = np.nan_to_num(weight**2 * sums.mean_sq[..., 1:]).sum(axis=-1)
    between = 1 - (weight**2).sum(axis=-1)
    across = np.where(whole, sums.mean_sq[..., 0] - inside, np.nan) / np.where(between > 0, between, np.nan)
    norm = np.nan_to_num(weight * (sums.mean_sq[..., 1:] - sums.var[..., 1:] / np.maximum(n, 1))).sum(axis=-1)
    noise = axes.gathered(np.where(whole, sums.var[..., 0], np.nan))[:, part]
    top, bottom = axes.gathered(across)[:, part], axes.gathered(np.where(whole, norm, np.nan))[:, part]
    return _divided(top, noise), _divided(bottom, noise)


def _training_size(run: Run, given: int | None, samples: Int[np.ndarray, "S R"]) -> tuple[int, bool]:
    if given is not None:
        return given, True
    configured = run.info.config.get("n_train")
    if isinstance(configured, int) and configured > 0:
        return configured, True
    if run.has("samples"):
        n = int(run.query("SELECT count(*) AS n FROM samples WHERE split = 'train'")["n"].iloc[0])
        if n > 0:
            return n, True
    return max(1, int(samples.max())), False


def _divided(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by."""
    return top / np.where(bottom != 0, bottom, np.nan)


def window_length(n_steps: int) -> int:
    """Recorded steps in the windows whose mean is reported: a sixth of them, at least five where there are."""
    return min(n_steps, max(5, n_steps // 6))


def span_of(steps: Int[np.ndarray, " S"], values: Float[np.ndarray, " S"], chosen: slice) -> Span:
    """Mean and interval over the chosen steps. Below three finite values the interval is infinite.

    Values that are all positive are averaged as logarithms, because a signal-to-noise ratio changes by factors.
    """
    at, found = steps[chosen], values[chosen]
    finite = found[np.isfinite(found)]
    first, last, n = int(at[0]), int(at[-1]), len(finite)
    if not n:
        return Span(first, last, 0, float("nan"), float("nan"), float("nan"))
    positive = bool((finite > 0).all())
    scaled = np.log(finite) if positive else finite
    half = student95(n - 1) * float(scaled.std(ddof=1)) / n**0.5 if n >= 3 else float("inf")
    limits = np.array([scaled.mean(), scaled.mean() - half, scaled.mean() + half])
    value, low, high = (np.exp(limits) if positive else limits).tolist()
    return Span(first, last, n, value, low, high)


def best_span(steps: Int[np.ndarray, " S"], values: Float[np.ndarray, " S"]) -> Span:
    """The window of consecutive recorded steps with the highest mean."""
    length = window_length(len(steps))
    spans = [span_of(steps, values, slice(i, i + length)) for i in range(len(steps) - length + 1)]
    return max(spans, key=lambda span: -np.inf if np.isnan(span.value) else span.value)


def generalising(ratio: Span, n_train: int) -> Span:
    """The one-step generalisation ratio R = r / (r + 1/N) of a pooled signal-to-noise ratio r, which rises with r.

    A limit of r below 0 gives 0.
    """

    def of(r: float) -> float:
        if np.isnan(r):
            return r
        return 1.0 if np.isinf(r) and r > 0 else max(r, 0.0) / (max(r, 0.0) + 1 / n_train)

    return Span(ratio.first, ratio.last, ratio.n, of(ratio.value), of(ratio.low), of(ratio.high))


def pooled_ratio(steps: Int[np.ndarray, " S"], top: Float[np.ndarray, " S"], bottom: Float[np.ndarray, " S"]) -> Span:
    """Ratio of sums over steps with its delete-one-step jackknife interval.

    NaN where the denominator is not above two of its standard errors: then there is no signal to compare.
    """
    known = np.isfinite(top) & np.isfinite(bottom)
    first, last, n = int(steps[0]), int(steps[-1]), int(known.sum())
    above, below = top[known], bottom[known]
    if n < 3 or not below.sum() > 2 * np.sqrt(n) * below.std(ddof=1):
        return Span(first, last, n, float("nan"), float("nan"), float("nan"))
    value = float(above.sum() / below.sum())
    rest = below.sum() - below
    left = (above.sum() - above) / np.where(rest > 0, rest, np.nan)
    se = float(jackknife_se(left[:, None])[0])
    half = student95(n - 1) * se if np.isfinite(se) else float("inf")
    return Span(first, last, n, value, value - half, value + half)


def _collapses(
    steps: Int[np.ndarray, " S"],
    signal: Float[np.ndarray, "S R"],
    noise: Float[np.ndarray, "S R"],
    modules: Sequence[str],
) -> pd.DataFrame:
    """Modules that fall below a tenth of their highest GSNR and stay there to the end, earliest first."""
    rows = []
    for index, name in enumerate(modules, start=1):
        values = _divided(signal[:, index], noise[:, index])
        finite = np.flatnonzero(np.isfinite(values))
        if len(finite) < 2 * COLLAPSE_STEPS:
            continue
        found = values[finite]
        # The median of three neighbours: one lucky step is no peak.
        smooth = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(found, 1, mode="edge"), 3), axis=-1)
        scatter = 1.4826 * np.median(np.abs(np.diff(found) - np.median(np.diff(found)))) / 2**0.5
        peak = int(np.argmax(smooth))
        low = smooth < COLLAPSE_SHARE * smooth[peak]
        start = len(low) - int(np.argmin(low[::-1])) if not low.all() else 0
        if len(low) - start < COLLAPSE_STEPS or start <= peak or not smooth[peak] > COLLAPSE_CLEAR * scatter:
            continue
        after = span_of(steps[finite], found / smooth[peak], slice(start, None))
        if after.high < 2 * COLLAPSE_SHARE:
            rows.append(
                {
                    "part": name, "step": int(steps[finite[start]]), "peak_step": int(steps[finite[peak]]),
                    "peak": float(smooth[peak]), "after": after.value, "low": after.low, "high": after.high,
                    "alone": _alone(signal, noise, index, len(modules), int(finite[start])),
                }
            )  # fmt: skip
    columns = ["part", "step", "peak_step", "peak", "after", "low", "high", "alone"]
    return pd.DataFrame(rows, columns=columns).sort_values("step", kind="stable", ignore_index=True)


def _alone(
    signal: Float[np.ndarray, "S R"], noise: Float[np.ndarray, "S R"], index: int, n_modules: int, start: int
) -> bool:
    """Whether a module keeps less than ``ALONE_SHARE`` of what the other modules keep from before ``start`` to after.

    With x the module's GSNR and y the sum of the others', both per step, the ratios of sums x / y before and after are
    compared by Welch's t with jackknife standard errors, one-sided, at ``ALONE_LEVEL`` over the number of modules and
    split points (Bonferroni): the module and the split were chosen by looking.
    """
    from scipy.special import stdtrit

    ratio = _divided(signal[:, 1 : 1 + n_modules], noise[:, 1 : 1 + n_modules])
    x, y = ratio[:, index - 1], np.delete(ratio, index - 1, axis=1).sum(axis=1)
    known = np.isfinite(x) & np.isfinite(y)
    parts = [known & (np.arange(len(x)) < start), known & (np.arange(len(x)) >= start)]
    if min(part.sum() for part in parts) < COLLAPSE_STEPS:
        return False
    (before, se_before, n_before), (after, se_after, n_after) = (_kept_ratio(x[part], y[part]) for part in parts)
    variances = np.array([(ALONE_SHARE * se_before) ** 2, se_after**2])
    if not np.isfinite(variances).all() or not variances.sum() > 0:
        return False
    df = variances.sum() ** 2 / (variances**2 / [n_before - 1, n_after - 1]).sum()
    limit = stdtrit(df, ALONE_LEVEL / (n_modules * max(1, len(x) - 2 * COLLAPSE_STEPS + 1)))
    return bool((after - ALONE_SHARE * before) / np.sqrt(variances.sum()) < limit)


def _kept_ratio(x: Float[np.ndarray, " S"], y: Float[np.ndarray, " S"]) -> tuple[float, float, int]:
    """Ratio of sums, its jackknife standard error, and the number of steps; NaN where the others hold no signal."""
    if not y.sum() > 0:
        return float("nan"), float("nan"), len(x)
    rest = y.sum() - y
    left = (x.sum() - x) / np.where(rest > 0, rest, np.nan)
    return float(x.sum() / y.sum()), float(jackknife_se(left[:, None])[0]), len(x)
