"""GSNR of filters, disagreement of domains, masks and micro-batches, against per-sample gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from workbench.core import Run
from workbench.diagnostics import gsnr, gsnr_detail
from workbench.diagnostics.per_sample.moments import Moments
from workbench.diagnostics.recorder import Recorder


def moments_of(rows: dict[str, np.ndarray], name: str = "conv.weight") -> Moments:
    """From per-sample gradients [n, *shape] of every domain."""
    parts = {"": np.concatenate(list(rows.values()))} | (rows if len(rows) > 1 else {})
    mean = {domain: g.mean(axis=0) for domain, g in parts.items()}
    m2 = {domain: np.square(g - g.mean(axis=0)).sum(axis=0) for domain, g in parts.items()}
    return Moments({domain: len(g) for domain, g in parts.items()}, {name: mean}, {name: m2})


def planted(seed: int = 0, n: int = 200) -> dict[str, np.ndarray]:
    """Two domains, 4 filters of 5 parameters: filter 0 is pulled apart, filter 1 together, the others by nothing."""
    rng = np.random.default_rng(seed)
    pull = np.array([1.0, 1.0, 0.0, 0.0])[:, None]
    turn = np.array([-1.0, 1.0, 1.0, 1.0])[:, None]
    return {"day": pull + rng.standard_normal((n, 4, 5)), "night": turn * pull + rng.standard_normal((n, 4, 5))}


def test_signs_count_what_two_domains_pull_apart():
    found = gsnr_detail.signs(moments_of(planted()))
    assert found["module"] == ["conv"]
    assert found["count"] == [20]
    assert 5 <= found["opposed"][0] <= 6
    assert 5 <= found["agreeing"][0] <= 6


def test_equal_domains_disagree_in_at_most_an_eighth_of_a_percent():
    rng = np.random.default_rng(0)
    rows = {"day": rng.standard_normal((60, 100, 200)), "night": rng.standard_normal((60, 100, 200))}
    apart, _ = gsnr_detail.opposite(moments_of(rows), "conv.weight", "day", "night")
    assert apart.mean() == pytest.approx(0.00125, abs=0.0008)


def test_filters_hold_sums_over_their_own_parameters():
    rows = planted()
    found = gsnr_detail.filters(moments_of(rows), {"conv.weight": np.full((4, 5), 2.0)}, {})
    g = np.concatenate(list(rows.values()))
    np.testing.assert_allclose(found["mean_sq_sum"], np.square(g.mean(axis=0)).sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found["var_sum"], g.var(axis=0, ddof=1).sum(axis=1), rtol=1e-6)
    assert found["weight_sq_sum"] == [20.0] * 4
    assert found["opposed"][0] == 5
    assert np.isnan(found["change_sq_sum"]).all()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return mse_loss(self.body(x), y, reduction="none").sum(1)


def batches(n: int = 8, size: int = 16) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.randn(size, 6), torch.randn(size, 3)) for _ in range(n)]


def test_masks_take_the_share_asked_for_and_compare_with_the_record_before(tmp_path):
    torch.manual_seed(0)
    net = Net()
    data = batches()
    with Recorder(tmp_path / "run") as rec:
        rec.gsnr(0, net, net.loss, data, detail=True)
        rec.gsnr(1, net, net.loss, data, detail=True)  # nothing moved: the same mask, no change of weights
        with torch.no_grad():
            net.body[0].weight[2] += 0.5
        rec.gsnr(2, net, net.loss, batches(), detail=True)
    run = Run(tmp_path / "run")
    masks, filters = run.table("gsnr_masks"), run.table("gsnr_filters")
    total = masks.groupby(["step", "ratio"])[["count", "taken", "taken_before", "both"]].sum()
    assert total["count"].eq(72).all()
    for (step, ratio), row in total.iterrows():
        assert row["taken"] == row["taken_before"] == int(ratio * 72)
        assert row["both"] == row["taken"] if step == 1 else row["both"] <= row["taken"]
    assert total.loc[2, "both"].sum() < total.loc[1, "both"].sum()
    moved = filters[filters["step"] == 2].set_index(["parameter", "filter"])["change_sq_sum"]
    assert moved["body.0.weight", 2] == pytest.approx(6 * 0.25, rel=1e-5)
    assert moved.drop(("body.0.weight", 2)).eq(0).all()


def test_micro_batches_equal_the_chunk_means():
    torch.manual_seed(1)
    net, data = Net().double(), [(x.double(), y.double()) for x, y in batches()]
    exact = gsnr.measure(net, net.loss, data)
    found = gsnr_detail.micro(net, net.loss, data, exact)
    chunks = np.stack([torch.autograd.grad(net.loss(*batch).mean(), net.body[2].weight)[0].numpy() for batch in data])
    assert (found.groups, found.size) == (8, 16)
    variance = 16 * chunks.var(axis=0, ddof=1)
    np.testing.assert_allclose(found.raw["body.2.weight"], np.square(chunks.mean(axis=0)) / variance, rtol=1e-9)
    assert found.var_sum["body.2.weight"] == pytest.approx(variance.sum())
    assert found.var_sum["body.2.weight"] == pytest.approx(exact.variance("body.2.weight").sum(), rel=0.5)


def test_too_few_micro_batches_say_nothing(tmp_path):
    net = Net()
    with Recorder(tmp_path / "run") as rec:
        rec.gsnr(0, net, net.loss, batches(2), detail=True)
    table = Run(tmp_path / "run").table("gsnr")
    assert table["micro_groups"].eq(0).all()
    assert table["micro_var_sum"].isna().all()


def test_rank_correlation():
    a = np.array([1.0, 5.0, 2.0, 9.0])
    assert gsnr_detail.rank_correlation(a, np.exp(a)) == pytest.approx(1.0)
    assert gsnr_detail.rank_correlation(a, -a) == pytest.approx(-1.0)
    assert np.isnan(gsnr_detail.rank_correlation(a, np.zeros(4)))
