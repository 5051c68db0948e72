"""Several processes with a share of the batch each measure what one process measures on all of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing, nn

from workbench.diagnostics import gramian


def a_net() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Tanh(), nn.Flatten(), nn.Linear(16, 6), nn.Linear(6, 3))
    return nn.Sequential(*layers).double()


def measured(net: nn.Module, samples: slice, group: object | None = None) -> gramian.Gramian:
    """On some of 11 samples."""
    x = torch.randn(11, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)[samples]
    features = net(x)
    losses = {"square": features.square().mean(1), "wave": torch.sin(features).sum(1)}
    labelled = (torch.arange(11) % 2 == 0)[samples]
    return gramian.measure(losses, net, n_batches=3, weights={"wave": labelled}, group=group)


def of_one_rank(rank: int, bounds: list[int], folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=len(bounds) - 1
    )
    own = slice(bounds[rank], bounds[rank + 1])
    found = measured(a_net(), own, distributed.group.WORLD)
    np.savez(Path(folder) / f"rank{rank}.npz", dot=found.dot, samples=found.samples)
    distributed.destroy_process_group()


@pytest.mark.parametrize("bounds", [[0, 7, 11], [0, 2, 9, 11]], ids=["2 processes", "3 processes"])
def test_processes_measure_what_one_process_measures(tmp_path, bounds):
    multiprocessing.spawn(of_one_rank, (bounds, str(tmp_path)), nprocs=len(bounds) - 1)
    alone = measured(a_net(), slice(None))
    assert alone.samples.tolist() == [[4, 4, 3], [2, 2, 2]]
    for rank in range(len(bounds) - 1):
        found = np.load(tmp_path / f"rank{rank}.npz")
        np.testing.assert_array_equal(found["samples"], alone.samples)
        np.testing.assert_allclose(found["dot"], alone.dot, rtol=1e-9, atol=1e-12 * np.abs(alone.dot).max())


def test_a_process_without_samples(tmp_path):
    multiprocessing.spawn(of_one_rank, ([0, 0, 11], str(tmp_path)), nprocs=2)
    alone = measured(a_net(), slice(None))
    found = np.load(tmp_path / "rank0.npz")
    np.testing.assert_allclose(found["dot"], alone.dot, rtol=1e-9, atol=1e-12 * np.abs(alone.dot).max())
