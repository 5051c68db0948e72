"""The generalisation ratio foretold from GSNR is the measured one, over a whole training and with wrong labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from workbench.diagnostics import gsnr

N_SETS, N, STEPS, EVERY, LR = 8, 200, 200, 40, 0.3


def ratios(share_random, seed=0):
    """Foretold and measured at every recorded step of full-batch training on 8 disjoint sets of 200 digits.

    Measured, to first order: the mean of <g_D, g_D'> over ordered pairs of different sets, over the mean of |g_D|².
    """
    digits = load_digits()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(digits.target))[: N_SETS * N]
    random = rng.random(len(order)) < share_random
    x = torch.tensor(digits.data[order] / 16, dtype=torch.float32)
    y = torch.tensor(np.where(random, rng.integers(10, size=len(order)), digits.target[order]))
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    foretold, measured = [], []
    for step in range(STEPS + 1):
        if step % EVERY == 0:
            moments = gsnr.measure(net, lambda x, y: cross_entropy(net(x), y, reduction="none"), [(x, y)])
            foretold.append(moments.osgr(N))
            rows = torch.stack(
                [flat(net, cross_entropy(net(a), b)) for a, b in zip(x.split(N), y.split(N), strict=True)]
            )
            products = (rows.double() @ rows.double().T).numpy()
            own = np.trace(products) / N_SETS
            measured.append((products.sum() / N_SETS - own) / (N_SETS - 1) / own)
        gradient = flat(net, cross_entropy(net(x), y))
        with torch.no_grad():
            start = 0
            for parameter in net.parameters():
                parameter -= LR * gradient[start : start + parameter.numel()].view_as(parameter)
                start += parameter.numel()
    return np.array(foretold), np.array(measured)


def flat(net, loss):
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(net.parameters()))])


@pytest.fixture(scope="module")
def found():
    return {share: ratios(share) for share in (0.0, 0.5, 1.0)}


def test_the_foretold_ratio_follows_the_measured_one(found):
    for foretold, measured in found.values():
        assert np.corrcoef(foretold, measured)[0, 1] >= 0.95
        assert np.abs(foretold - measured).mean() <= 0.08


def test_wrong_labels_lower_the_ratio(found):
    means = [measured.mean() for _, measured in found.values()]
    assert means == sorted(means, reverse=True)
    assert [foretold.mean() for foretold, _ in found.values()] == sorted(
        (foretold.mean() for foretold, _ in found.values()), reverse=True
    )
