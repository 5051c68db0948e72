"""GSNR dropout inside the training loop: logs, arrays, and a net that is whole again after it was looked at masked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from workbench.core import Run, RunWriter
from workbench.demos.masking import Masking
from workbench.methods.gsnr_dropout import Config

DOMAINS = ("near", "far")


def batch(seed):
    draws = torch.Generator().manual_seed(seed)
    return {
        name: (torch.randn(6, 4, generator=draws) + place, torch.arange(6) % 3) for place, name in enumerate(DOMAINS)
    }


@pytest.fixture
def masked(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))

    def losses_at(parameters, data, domains):
        return {
            name: cross_entropy(
                functional_call(net, dict(parameters), (data[name][0],)), data[name][1], reduction="none"
            )
            for name in domains
        }

    with RunWriter(tmp_path / "run") as rec:
        masking = Masking(rec, net, losses_at, DOMAINS, Config(ratio=0.25, until=3), seed=0, log_every=2)
        for step in range(4):
            masking.rule(masking.losses(batch(step)))
            masking.record_mask(step, scored=["0.weight"])
        yield masking, rec
    rec.close()


def test_ratios_and_overlaps_are_logged_while_it_masks(masked):
    _, rec = masked
    rec.flush()
    table = Run(rec.path).table("scalars")
    logged = table.groupby("tag")["step"].apply(list).to_dict()
    assert logged == {"mask overlap": [2], "mask ratio/0.weight": [0, 2], "mask ratio/2.weight": [0, 2]}
    assert table.loc[table["tag"] == "mask ratio/0.weight", "value"].tolist() == [0.25, 0.25]


def test_masks_and_what_ranked_them_are_written_until_it_ends(masked):
    _, rec = masked
    run = Run(rec.path)
    assert run.array_steps("gsnr_mask") == [0, 1, 2]
    arrays = run.array("gsnr_mask", 1)
    kept, score = arrays["kept/0.weight"].astype(bool), arrays["score/0.weight"]
    assert kept.shape == score.shape == (5, 4)
    assert (~kept).sum() == 5
    assert score[~kept].min() >= score[kept].max()
    assert set(arrays) == {"kept/0.weight", "score/0.weight", "kept/2.weight"}


def test_a_look_at_the_masked_net_leaves_the_net_as_it_was(masked):
    masking, _ = masked
    assert masking.with_and_without(lambda: 1.0) == (1.0, None)  # the last step masked nothing
    masking.method.masks = {"0.weight": torch.zeros(5, 4, dtype=torch.bool)}
    before = [parameter.detach().clone() for parameter in masking.net.parameters()]
    whole, without = masking.with_and_without(lambda: float(masking.net[0].weight.detach().abs().sum()))
    assert whole > 0
    assert without == 0
    assert all(torch.equal(a, b) for a, b in zip(before, masking.net.parameters(), strict=True))
    assert np.isfinite(whole)
