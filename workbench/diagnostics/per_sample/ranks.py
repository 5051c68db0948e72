"""Join the moments that the processes of a distributed run measured on their own samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from workbench.core.errors import ConfigError
from workbench.diagnostics.per_sample.moments import Moments


def merge_across_ranks(moments: Moments, group: Any = None) -> Moments:
    """The moments of the samples of all ranks together, the same on every rank. Every rank must call it.

    Ranks may have measured different numbers of samples and different domains. Without an initialised process group
    the moments come back as they are.

    Source: Chan, Golub, LeVeque 1979, for any number of parts: mean = Σ n_r mean_r / n, then
    m2 = Σ (m2_r + n_r (mean_r − mean)²), two all-reduces in float64.

    Raises:
        ConfigError: the ranks did not measure the same parameters in the same shapes.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size(group) == 1:
        return moments
    everyone: list[Any] = [None] * dist.get_world_size(group)
    shapes = {name: entry[""].shape for name, entry in moments.mean.items()}
    mine = (shapes, dict(moments.count), dict(moments.fallback), moments.unused)
    dist.all_gather_object(everyone, mine, group=group)
    if any(other[0] != shapes for other in everyone):
        raise ConfigError(
            "The ranks measured different parameters. Every rank must call gsnr.measure on the same model with the "
            "same 'parameters'."
        )
    domains = list(dict.fromkeys(domain for other in everyone for domain in other[1]))
    count = {domain: sum(other[1].get(domain, 0) for other in everyone) for domain in domains}
    mean: dict[str, dict[str, np.ndarray]] = {}
    m2: dict[str, dict[str, np.ndarray]] = {}
    for name, shape in shapes.items():
        own_n = np.array([moments.count.get(domain, 0) for domain in domains], dtype=np.float64)
        n = np.array([count[domain] for domain in domains], dtype=np.float64)
        own_n, n = (v.reshape(-1, *[1] * len(shape)) for v in (own_n, n))
        own_mean, own_m2 = (
            np.stack([part[name].get(domain, np.zeros(shape)) for domain in domains])
            for part in (moments.mean, moments.m2)
        )
        all_mean = _sum_over_ranks(own_mean * (own_n / n), group)
        all_m2 = _sum_over_ranks(own_m2 + own_n * np.square(own_mean - all_mean), group)
        mean[name] = {domain: all_mean[i] for i, domain in enumerate(domains)}
        m2[name] = {domain: all_m2[i] for i, domain in enumerate(domains)}
    fallback = {name: how for other in everyone for name, how in other[2].items()}
    unused = tuple(name for name in moments.unused if all(name in other[3] for other in everyone))
    return Moments(count, mean, m2, fallback, unused)


def _sum_over_ranks(array: np.ndarray, group: Any) -> np.ndarray:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if dist.get_backend(group) == "nccl":
        tensor = tensor.cuda()
    dist.all_reduce(tensor, group=group)
    return tensor.cpu().numpy()
