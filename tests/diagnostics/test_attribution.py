from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.diagnostics import attribution
from workbench.diagnostics.attribution import agreement, attribute, check, mean, reinitialised
from workbench.diagnostics.attribution_maps import METHODS


class TwoHeads(nn.Module):
    """Pictures [N, 1, 12, 12] to a dict of logits, with dropout and batch statistics that eval mode must silence."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.5), nn.AvgPool2d(4), nn.Flatten()
        )
        self.heads = nn.ModuleDict({"left": nn.Linear(36, 3), "right": nn.Linear(36, 2)})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.trunk(images)
        return {task: head(features) for task, head in self.heads.items()}


@pytest.fixture
def net() -> TwoHeads:
    torch.manual_seed(0)
    return TwoHeads()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 1, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", ["integrated gradients", "gradient × input", "occlusion"])
def test_a_linear_model_is_explained_by_weight_times_distance_from_the_baseline(method):
    torch.manual_seed(0)
    model, x = nn.Linear(6, 3).double(), torch.randn(4, 6, dtype=torch.float64)
    baseline = torch.randn(4, 6, dtype=torch.float64)
    target = torch.tensor([0, 2, 1, 2])
    maps = attribute(model, x, method=method, target=target, baseline=baseline)
    exact = (model.weight[target] * (x - baseline)).detach().numpy()
    np.testing.assert_allclose(maps, exact, atol=1e-12)
    checks = check(model, x, maps, method=method, target=target, baseline=baseline)
    np.testing.assert_allclose(checks.infidelity, 0, atol=1e-12)
    np.testing.assert_allclose(checks.difference, exact.sum(1), atol=1e-12)


@pytest.mark.parametrize("task", ["left", "right"])
def test_integrated_gradients_add_up_to_the_difference_of_the_outputs(net, images, task):
    maps = attribute(net, images, task=task, baseline=0.5)
    checks = check(net, images, maps, task=task, baseline=0.5)
    with torch.no_grad():
        net.eval()
        logits, ground = net(images)[task], net(torch.full_like(images, 0.5))[task]
    said = logits.argmax(1)
    difference = (logits - ground).gather(1, said[:, None])[:, 0].numpy()
    np.testing.assert_allclose(maps.sum(axis=(1, 2, 3)), difference, atol=1e-4)
    np.testing.assert_allclose(checks.difference, difference, atol=1e-6)
    assert np.abs(checks.gap).max() < 1e-4
    assert np.abs(difference).max() > 1e-2


def test_occlusion_promises_no_sum(net, images):
    maps = attribute(net, images, method="occlusion", task="left")
    assert np.isnan(check(net, images, maps, method="occlusion", task="left").gap).all()


@pytest.mark.parametrize("method", METHODS)
def test_maps_have_the_shape_of_the_inputs_and_leave_no_trace(net, images, method):
    net.train()
    net.heads["left"].weight.grad = torch.ones_like(net.heads["left"].weight)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    maps = attribute(net, images, method=method, task="left")
    checks = check(net, images, maps, method=method, task="left")
    assert maps.shape == ((5, 12, 12) if method in ("grad-cam", "layer conductance") else (5, 1, 12, 12))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(module.training for module in net.modules())
    grads = {name: parameter.grad for name, parameter in net.named_parameters()}
    assert torch.equal(grads.pop("heads.left.weight"), torch.ones(3, 36))
    assert all(grad is None for grad in grads.values())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]  # noqa: NPY002
    assert not images.requires_grad
    again = check(net, images, maps, method=method, task="left")
    np.testing.assert_array_equal(checks.infidelity, again.infidelity)
    np.testing.assert_array_equal(checks.sensitivity, again.sensitivity)
    np.testing.assert_array_equal(checks.randomised, again.randomised)
    assert (checks.infidelity >= 0).all()
    assert (checks.infidelity <= 1 + 1e-5).all()


def test_occlusion_of_one_square_is_the_drop_of_the_output():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(25, 2), nn.Tanh())
    x = torch.rand(3, 1, 5, 5)
    maps = attribute(model, x, method="occlusion", target=1)
    drop = (model(x) - model(torch.zeros_like(x)))[:, 1].detach().numpy()
    np.testing.assert_allclose(maps, np.broadcast_to(drop[:, None, None, None], maps.shape), atol=1e-6)


def test_grad_cam_is_the_activation_weighted_by_the_mean_gradient():
    torch.manual_seed(0)
    convolution, head = nn.Conv2d(1, 3, 3, padding=1), nn.Linear(3, 2)
    model = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    x = torch.rand(2, 1, 6, 6)
    maps = attribute(model, x, method="grad-cam", target=0)
    # The pooled head gives every place of a channel the gradient w_c / 36.
    weights = head.weight[0] / 36
    exact = torch.einsum("c,nchw->nhw", weights, convolution(x)).detach().numpy()
    np.testing.assert_allclose(maps, exact, atol=1e-6)


def test_sensitivity_of_a_linear_model_is_that_of_its_input():
    torch.manual_seed(0)
    model, x = nn.Linear(50, 2), torch.ones(3, 50)
    maps = attribute(model, x, target=0)
    found = check(model, x, maps, target=0).sensitivity
    # The map changes by w times at most the radius in each value, so by at most the radius as a share.
    assert (found > 0).all()
    assert (found <= attribution.RADIUS + 1e-6).all()


def test_agreement_of_maps_known_in_advance():
    maps = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0]])
    found = agreement(maps, np.array([[1.0, 4.0, 9.0, 16.0], [-1.0, 0.0, 0.0, 1.0], [1.0, 2.0, 3.0, 4.0]]))
    np.testing.assert_allclose(found.rank, [1.0, -1.0, np.nan])
    np.testing.assert_allclose(found.cosine, [100 / np.sqrt(30 * 354), -1.0, np.nan])
    assert found.mean_rank.n == 2
    assert found.mean_rank.value == pytest.approx(0)


def test_the_mean_has_students_interval_over_samples():
    found = mean(np.array([1.0, 2.0, 3.0, np.nan]))
    half = 4.302652729911275 / np.sqrt(3)
    assert (found.value, found.n) == (2.0, 3)
    np.testing.assert_allclose([found.low, found.high], [2 - half, 2 + half])
    assert np.isnan(mean(np.array([np.nan])).value)
    assert np.isnan(mean(np.array([1.0])).low)


def test_a_reinitialised_copy_shares_nothing_with_its_model(net):
    net.register_parameter("scale", nn.Parameter(torch.arange(20.0)))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    twin = reinitialised(net)
    assert not torch.equal(twin.heads["left"].weight, net.heads["left"].weight)
    assert not torch.equal(twin.scale, net.scale)
    assert torch.equal(twin.scale.sort().values, net.scale)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_what_a_trained_net_learnt_is_not_in_the_maps_of_a_new_one():
    """Maps of a trained demo net: alike under small noise, unlike those of a re-initialised copy."""
    from workbench.core import Run
    from workbench.demos.rebuilt import rebuild

    found = rebuild(Run(Path(__file__).parents[2] / "sample_runs" / "digit-pairs" / "joint"))
    images = found.inputs[found.faithful][:16]
    said = torch.from_numpy(found.said["left"].prediction[found.faithful][:16])
    maps = attribute(found.net, images, task="left", n_steps=32)
    noisy = images + 0.02 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    alike = agreement(maps, attribute(found.net, noisy, task="left", target=said, n_steps=32)).mean_rank
    for seed in range(3):
        fresh = attribute(reinitialised(found.net, seed), images, task="left", target=said, n_steps=32)
        unlike = agreement(maps, fresh)
        assert unlike.mean_rank.high < 0.4
        assert unlike.mean_rank.high < alike.low
    checks = check(found.net, images[:2], maps[:2], task="left", n_steps=32, seed=2)
    np.testing.assert_allclose(checks.randomised, unlike.rank[:2], atol=0.02)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "magic"}, "Methods: integrated gradients"),
        ({}, "Say which task"),
        ({"task": "middle"}, "left, right"),
        ({"task": "left", "target": 3}, "from 0 to 2"),
        ({"task": "left", "method": "grad-cam", "layer": "nowhere"}, "Convolutions: trunk.0"),
        ({"task": "left", "n_steps": 0}, "n_steps"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_the_remedy(net, images, options, words):
    with pytest.raises(ConfigError, match=words):
        attribute(net, images, **options)


def test_outputs_that_are_no_logits_and_maps_that_do_not_fit_are_refused(net, images):
    with pytest.raises(ConfigError, match=r"shape \[N, C\]"):
        attribute(nn.Conv2d(1, 2, 3), images)
    with pytest.raises(ConfigError, match="one map per input"):
        check(net, images, np.zeros((2, 1, 12, 12)), task="left")
    with pytest.raises(ConfigError, match="one shape"):
        agreement(np.zeros((2, 3)), np.zeros((2, 4)))
