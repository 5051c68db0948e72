"""GSNR below the level of tensors: single filters, disagreement of domains, masks from record to record, micro-batches.

Symbols: n samples, per parameter their mean gradient m and variance s²; r = m² / s² the raw GSNR.

- Filter (output channel): Σ m² and Σ s² over its parameters, its squared weights, and how far they moved since the
  record before.
- Two domains disagree on a parameter when both mean gradients differ from 0 by more than Student's 95 % limit and have
  opposite signs. Two domains with equal means do so in at most 2 · 0.025² = 0.125 % of parameters.
- The mask of GSNR dropout takes the share p of weights with the highest raw GSNR, all weights ranked together, biases
  never. Weights taken at this record and at the one before tell whether it is the same mask.
- Micro-batches: k means c_1 … c_k of b samples each give r ≈ m² / (b · var c) without per-sample gradients. Raw it is
  too large by the factor (k - 1) / (k - 3) and by 1/n.

Sources: Michalkiewicz et al. 2023, arXiv:2310.07361 (mask of the highest GSNR; the ranking over all weights together
is our choice, the paper does not say); Liu et al. 2020, arXiv:2001.07384 (GSNR). The rest is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn

from workbench.core.gramian import student95
from workbench.core.schema import GSNR_MASK_RATIOS, GSNR_QUANTILES
from workbench.diagnostics.per_sample.moments import POOLED, Moments

#: Fewest micro-batches whose means have a variance worth dividing by.
MIN_GROUPS = 4


@dataclass(frozen=True)
class Before:
    """What is kept from one record to the next: weights, and the raw GSNR of all weights in one row."""

    step: int
    weights: Mapping[str, np.ndarray]
    raw: Float[np.ndarray, " W"]


class Detail:
    """Follows one model from record to record."""

    def __init__(self) -> None:
        self._before: Before | None = None

    def tables(
        self, step: int, moments: Moments, parameters: Mapping[str, nn.Parameter]
    ) -> dict[str, dict[str, list[Any]]]:
        """Rows of ``gsnr_filters``, ``gsnr_signs`` and ``gsnr_masks``, without ``step``; tables without rows are left
        out."""
        names = [name for name in moments.parameters if name in parameters and not name.endswith("bias")]
        weights = {name: parameters[name].detach().double().cpu().numpy().copy() for name in names}
        raw = [moments.gsnr(name, corrected=False).ravel() for name in names]
        now = Before(step, weights, np.concatenate(raw) if raw else np.empty(0))
        before, self._before = self._before, now
        if before is not None and [v.shape for v in before.weights.values()] != [v.shape for v in weights.values()]:
            before = None  # another model, or other parameters: nothing to compare with
        found = {
            "gsnr_filters": filters(moments, weights, before.weights if before else {}),
            "gsnr_signs": signs(moments),
            "gsnr_masks": masks(names, now, before) if before else {},
        }
        return {name: rows for name, rows in found.items() if any(rows.values())}


def filters(
    moments: Moments, weights: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray]
) -> dict[str, list[Any]]:
    """One row per output channel of every tensor with at least two axes."""
    rows: dict[str, list[Any]] = {}
    for name, weight in weights.items():
        if weight.ndim < 2:
            continue
        n = len(weight)
        apart = None
        if len(moments.domains) > 1:
            apart = np.any([opposite(moments, name, *pair)[0] for pair in combinations(moments.domains, 2)], axis=0)
        change = weight - before[name] if name in before else np.full_like(weight, np.nan)
        columns: dict[str, list[Any]] = {
            "module": [_module(name)] * n,
            "parameter": [name] * n,
            "filter": list(range(n)),
            "count": [weight[0].size] * n,
            "samples": [moments.count[POOLED]] * n,
            "mean_sq_sum": _by_filter(np.square(moments.mean[name][POOLED])),
            "var_sum": _by_filter(moments.variance(name)),
            "weight_sq_sum": _by_filter(np.square(weight)),
            "change_sq_sum": _by_filter(np.square(change)),
            "opposed": [np.nan] * n if apart is None else _by_filter(apart.astype(float)),
        }
        for column, values in columns.items():
            rows.setdefault(column, []).extend(values)
    return rows


def signs(moments: Moments) -> dict[str, list[Any]]:
    """One row per tensor and pair of domains."""
    rows: dict[str, list[Any]] = {}
    for name in moments.parameters:
        for first, second in combinations(moments.domains, 2):
            apart, alike = opposite(moments, name, first, second)
            values = (_module(name), name, first, second, apart.size, int(apart.sum()), int(alike.sum()))
            columns = ("module", "parameter", "domain_a", "domain_b", "count", "opposed", "agreeing")
            for column, value in zip(columns, values, strict=True):
                rows.setdefault(column, []).append(value)
    return rows


def opposite(moments: Moments, name: str, first: str, second: str) -> tuple[np.ndarray, np.ndarray]:
    """Where two domains pull a parameter in opposite directions, and where in the same one, both beyond noise."""
    a, b = _direction(moments, name, first), _direction(moments, name, second)
    return a * b < 0, a * b > 0


def _direction(moments: Moments, name: str, domain: str) -> Int8[np.ndarray, "..."]:
    """Sign of the mean gradient; 0 where it is not beyond noise at 95 %."""
    n = moments.count[domain]
    mean = moments.mean[name][domain]
    if n < 2:
        return np.zeros(mean.shape, dtype=np.int8)
    beyond = np.abs(mean) > student95(n - 1) * np.sqrt(moments.variance(name, domain) / n)
    return np.where(beyond, np.sign(mean), 0).astype(np.int8)


def masks(names: Sequence[str], now: Before, before: Before) -> dict[str, list[Any]]:
    """One row per module and ratio."""
    sizes = [now.weights[name].size for name in names]
    modules = list(dict.fromkeys(_module(name) for name in names))
    owner = np.repeat([modules.index(_module(name)) for name in names], sizes)
    n = len(modules)
    count = np.bincount(owner, minlength=n)
    rows: dict[str, list[Any]] = {}
    order, earlier = _ranked(now.raw), _ranked(before.raw)
    for ratio in GSNR_MASK_RATIOS:
        k = int(ratio * len(owner))
        taken, was = order[:k], earlier[:k]
        columns = {
            "previous_step": [before.step] * n,
            "module": modules,
            "ratio": [ratio] * n,
            "count": count.tolist(),
            "taken": np.bincount(owner[taken], minlength=n).tolist(),
            "taken_before": np.bincount(owner[was], minlength=n).tolist(),
            "both": np.bincount(owner[np.intersect1d(taken, was, assume_unique=True)], minlength=n).tolist(),
        }
        for column, values in columns.items():
            rows.setdefault(column, []).extend(values)
    return rows


def _ranked(raw: Float[np.ndarray, " W"]) -> Int[np.ndarray, " W"]:
    """Highest first; ties in the order of the parameters."""
    return np.argsort(-raw, kind="stable")


@dataclass(frozen=True)
class Micro:
    """The estimate from k means of ``size`` samples each: raw GSNR and Σ s² per tensor."""

    groups: int
    size: int
    raw: Mapping[str, np.ndarray]
    var_sum: Mapping[str, float]


def micro(
    model: nn.Module, loss: Callable[..., Tensor], batches: Sequence[Sequence[Any]], moments: Moments
) -> Micro | None:
    """From the gradients of the mean loss of every batch; a last, smaller batch is left out.

    None with fewer than ``MIN_GROUPS`` batches of one size. One backward pass a batch, no per-sample gradients.
    """
    parameters = dict(model.named_parameters())
    names = [name for name in moments.parameters if name in parameters]
    size = len(batches[0][0]) if len(batches) else 0
    equal = [batch for batch in batches if len(batch[0]) == size]
    if len(equal) < MIN_GROUPS or not names:
        return None
    mean = {name: np.zeros(parameters[name].shape) for name in names}
    squares = {name: np.zeros(parameters[name].shape) for name in names}
    with torch.enable_grad():
        for seen, batch in enumerate(equal, start=1):
            found = torch.autograd.grad(loss(*batch).mean(), [parameters[name] for name in names], allow_unused=True)
            for name, gradient in zip(names, found, strict=True):
                value = np.zeros(1) if gradient is None else gradient.detach().double().cpu().numpy()
                shift = value - mean[name]
                mean[name] = mean[name] + shift / seen
                squares[name] = squares[name] + shift * (value - mean[name])
    variance = {name: size * squares[name] / (len(equal) - 1) for name in names}
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = {name: np.nan_to_num(np.square(mean[name]) / variance[name], nan=0.0, posinf=np.inf) for name in names}
    return Micro(len(equal), size, raw, {name: float(variance[name].sum()) for name in names})


def micro_columns(table: Mapping[str, list[Any]], moments: Moments, found: Micro | None) -> dict[str, list[Any]]:
    """Optional columns of the ``gsnr`` table: filled on the rows over all samples, empty on those of one domain.

    ``micro_rank`` is Spearman's rank correlation over the tensor's parameters with the exact raw GSNR.
    """
    columns: dict[str, list[Any]] = {"micro_groups": [], "micro_quantiles": [], "micro_var_sum": [], "micro_rank": []}
    for name, domain in zip(table["parameter"], table["domain"], strict=True):
        if found is None or domain != POOLED or name not in found.raw:
            values: tuple[Any, ...] = (0, [], np.nan, np.nan)
        else:
            raw = found.raw[name].ravel()
            quantiles = np.quantile(raw, GSNR_QUANTILES, method="inverted_cdf").tolist()
            exact = moments.gsnr(name, corrected=False).ravel()
            values = (found.groups, quantiles, found.var_sum[name], rank_correlation(raw, exact))
        for column, value in zip(columns, values, strict=True):
            columns[column].append(value)
    return columns


def rank_correlation(a: Float[np.ndarray, " P"], b: Float[np.ndarray, " P"]) -> float:
    """Spearman's, ties ranked by position; NaN below three entries or without spread."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    first, second = (np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (a, b))
    n = len(a)
    # Ranks without ties: mean (n - 1) / 2, sum of squared deviations n (n² - 1) / 12.
    return float(((first - (n - 1) / 2) * (second - (n - 1) / 2)).sum() / (n * (n**2 - 1) / 12))


def _by_filter(values: np.ndarray) -> list[float]:
    """Sums over all axes but the first, to the seven digits of float32: more would be noise."""
    found: list[float] = values.reshape(len(values), -1).sum(axis=1).astype(np.float32).tolist()
    return found


def _module(name: str) -> str:
    return name.rpartition(".")[0]
