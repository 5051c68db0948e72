"""Several processes give what one process gives."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from workbench.core.errors import ConfigError
from workbench.diagnostics import gsnr


def problem() -> tuple[nn.Module, Tensor, list[str]]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    return net, torch.randn(11, 3, dtype=torch.float64), list("aabbbbaccca")


def measured(rows: range) -> gsnr.Moments:
    net, x, names = problem()
    where = list(rows)
    return gsnr.measure(net, lambda x: net(x).squeeze(1).sin(), [(x[where],)], domains=[[names[i] for i in where]])


def work(rank: int, ranks: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=ranks)
    try:
        edges = [0, 7, 11] if ranks == 2 else [0, 2, 3, 11]
        moments = gsnr.merge_across_ranks(measured(range(edges[rank], edges[rank + 1])))
        Path(folder, f"{rank}.pickle").write_bytes(pickle.dumps(moments))
        wrong = gsnr.Moments({"": 2}, {f"w{rank}": {"": np.zeros(1)}}, {f"w{rank}": {"": np.zeros(1)}})
        with pytest.raises(ConfigError, match="different parameters"):
            gsnr.merge_across_ranks(wrong)
    finally:
        dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("ranks", [2, 3])
def test_uneven_ranks_give_what_one_gives(tmp_path: Path, ranks: int) -> None:
    mp.start_processes(work, (ranks, str(tmp_path)), nprocs=ranks, start_method="fork")
    alone = measured(range(11))
    for rank in range(ranks):
        moments = pickle.loads((tmp_path / f"{rank}.pickle").read_bytes())
        assert dict(moments.count) == dict(alone.count)
        for name in alone.parameters:
            for domain in alone.count:
                np.testing.assert_allclose(moments.mean[name][domain], alone.mean[name][domain], rtol=1e-11, atol=1e-14)
                np.testing.assert_allclose(moments.m2[name][domain], alone.m2[name][domain], rtol=1e-10, atol=1e-14)


def test_without_a_process_group_nothing_changes() -> None:
    moments = measured(range(4))
    assert gsnr.merge_across_ranks(moments) is moments
