"""Sums of per-sample gradients and of their squares, per domain: of a batch, and in float64 of all batches."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from workbench.diagnostics.per_sample.moments import POOLED, Moments
from workbench.diagnostics.per_sample.uses import Use

Pair = tuple[Tensor, Tensor]


class BatchSums:
    """Σ g_i and Σ g_i² of each parameter over one batch, per domain.

    Args:
        groups: Domain -> indices of its samples in the batch; empty when there are no domains.
    """

    def __init__(self, groups: Mapping[str, Tensor]) -> None:
        self.groups = groups
        self.pairs: dict[str, dict[str, Pair]] = {}

    @torch.no_grad()
    def add(self, name: str, use: Use, start: int = 0) -> None:
        """Add a parameter's use by the samples from ``start`` on."""
        if not self.groups:
            self._add(name, POOLED, use.sums())
            return
        for domain, index in self.groups.items():
            inside = index[(index >= start) & (index < start + use.samples)] - start
            if len(inside) == use.samples:
                self._add(name, domain, use.sums())
            elif len(inside):
                self._add(name, domain, use.select(inside).sums())

    def update(self, other: BatchSums, leaving_out: Collection[str] = ()) -> None:
        """Take over the sums of other parameters."""
        self.pairs.update({name: pairs for name, pairs in other.pairs.items() if name not in leaving_out})

    def _add(self, name: str, domain: str, pair: Pair) -> None:
        entry = self.pairs.setdefault(name, {})
        if domain in entry:
            pair = (entry[domain][0] + pair[0], entry[domain][1] + pair[1])
        entry[domain] = pair


class Totals:
    """Sums over all batches in float64."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self.parameters = parameters
        self.count: dict[str, int] = {POOLED: 0}
        self.pairs: dict[str, dict[str, Pair]] = {name: {} for name in parameters}

    def commit(self, sums: BatchSums, samples: int) -> None:
        """Add the sums of a batch of that many samples."""
        self.count[POOLED] += samples
        for domain, index in sums.groups.items():
            self.count[domain] = self.count.get(domain, 0) + len(index)
        for name, entry in sums.pairs.items():
            for domain, pair in entry.items():
                self._add(self.pairs[name], domain, pair)

    @staticmethod
    def _add(entry: dict[str, Pair], domain: str, pair: Pair) -> None:
        """The sums of a first batch stay as they are; from the second on they are added in float64."""
        if domain not in entry:
            entry[domain] = pair
            return
        known = entry[domain]
        if known[0].dtype != torch.float64:
            known = entry[domain] = (known[0].double(), known[1].double())
        known[0].add_(pair[0])
        known[1].add_(pair[1])

    def moments(self, fallback: Mapping[str, str], unused: Sequence[str]) -> Moments:
        """Mean and squared deviations from the sums. The sums are used up."""
        mean: dict[str, dict[str, np.ndarray]] = {}
        m2: dict[str, dict[str, np.ndarray]] = {}
        for name, parameter in self.parameters.items():
            entry = self.pairs.pop(name)
            if POOLED not in entry and entry:
                pairs = list(entry.values())
                entry[POOLED] = (sum_of([p[0] for p in pairs]), sum_of([p[1] for p in pairs]))
            made = {
                domain: _finish(*entry[domain], n) if domain in entry else (zeros(parameter), zeros(parameter))
                for domain, n in self.count.items()
            }
            mean[name] = {domain: pair[0] for domain, pair in made.items()}
            m2[name] = {domain: pair[1] for domain, pair in made.items()}
        return Moments(self.count, mean, m2, fallback, tuple(unused))


def sum_of(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0].to(torch.float64, copy=True)
    for tensor in tensors[1:]:
        total += tensor
    return total


def zeros(parameter: Tensor) -> np.ndarray:
    return np.zeros(tuple(parameter.shape))


@torch.no_grad()
def _finish(total: Tensor, square: Tensor, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Σ g / n and Σ g² − n·mean², at least 0, in float64. Sums in float64 are overwritten."""
    mean = total.double().div_(n)
    m2 = square.double().addcmul_(mean, mean, value=-n).clamp_(min=0)
    return mean.cpu().numpy(), m2.cpu().numpy()
