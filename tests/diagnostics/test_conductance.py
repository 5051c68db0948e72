"""Layer conductance: completeness, a loop over units, a planted channel, and what two tasks share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.diagnostics.attribution import attribute, check
from workbench.diagnostics.attribution_maps import spread
from workbench.diagnostics.conductance import conductance, shared


class Pictures(nn.Module):
    """Pictures [N, 1, 8, 8]; task "a" reads the first two of four channels, task "b" the last two."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, 4, 3, padding=1)
        self.act = nn.Tanh()
        self.pool = nn.AvgPool2d(4)
        self.heads = nn.ModuleDict({"a": nn.Linear(16, 3), "b": nn.Linear(16, 2)})
        with torch.no_grad():
            self.heads["a"].weight[:, 8:] = 0
            self.heads["b"].weight[:, :8] = 0

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        seen = self.pool(self.act(self.features(images))).flatten(1)
        return {task: head(seen) for task, head in self.heads.items()}


@pytest.fixture
def net() -> Pictures:
    torch.manual_seed(0)
    return Pictures().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layer", ["features", "act", "pool"])
@pytest.mark.parametrize("task", ["a", "b"])
def test_the_units_of_every_layer_add_up_to_the_difference_of_the_outputs(net, images, layer, task):
    found = conductance(net, images, layer=layer, task=task, baseline=0.3, n_steps=200)
    with torch.no_grad():
        logits, ground = net(images)[task], net(torch.full_like(images, 0.3))[task]
    change = (logits - ground).gather(1, logits.argmax(1, keepdim=True))[:, 0].numpy()
    np.testing.assert_allclose(found.difference, change, atol=1e-6)
    np.testing.assert_allclose(found.values.sum(axis=1), change, atol=0.01 * np.abs(change).max())
    np.testing.assert_allclose(found.gap, found.values.sum(axis=1) - found.difference)
    assert found.values.shape == (5, 4)


def test_only_the_channels_that_a_task_reads_conduct_and_tasks_on_other_channels_share_nothing(net, images):
    a, b = (conductance(net, images, layer="act", task=task) for task in ("a", "b"))
    assert np.abs(a.values[:, 2:]).max() == 0
    assert np.abs(b.values[:, :2]).max() == 0
    assert np.abs(a.values[:, :2]).min() > 0
    np.testing.assert_allclose(shared(a.values, b.values).cosine, 0)
    np.testing.assert_allclose(shared(a.values, 3 * a.values).cosine, 1)
    assert np.abs(a.randomised).max() < 1


def test_it_is_the_loop_over_steps_and_units(net, images):
    """Definition 2 by automatic differentiation: gradient on the unit times the unit's change, step by step."""
    steps, x, layer = 400, images[:2], net.act
    found = conductance(net, x, layer="act", task="b", target=1, n_steps=steps)
    slow = np.zeros((2, 4))
    kept: list[Tensor] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
    for i in range(2):
        before = None
        for k in range(steps + 1):
            kept.clear()
            logit = net((x[i : i + 1] * (k / steps)).requires_grad_())["b"][0, 1]
            slope = torch.autograd.grad(logit, kept[0])[0]
            now = kept[0].detach()
            if before is not None:
                slow[i] += (slope * (now - before)).sum((0, 2, 3)).numpy()
            before = now
    handle.remove()
    np.testing.assert_allclose(found.values, slow, atol=0.02 * np.abs(slow).max())


def test_a_map_keeps_the_sum_and_the_place(net, images):
    asked = {"method": "layer conductance", "task": "a", "layer": "pool", "n_steps": 200}
    maps = attribute(net, images, **asked)
    whole = conductance(net, images, layer="pool", task="a", n_steps=200)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), whole.values.sum(axis=1), rtol=1e-4)
    assert maps.shape == (5, 8, 8)
    np.testing.assert_allclose(maps[:, :4, :4], np.broadcast_to(maps[:, :1, :1], (5, 4, 4)))
    checks = check(net, images, maps, **asked)
    np.testing.assert_allclose(checks.gap, whole.gap, atol=1e-4)
    for values in (checks.infidelity, checks.sensitivity, checks.randomised):
        assert np.isfinite(values).all()


def test_cells_that_do_not_fit_the_pixels_are_shared_out_by_area():
    found = spread(torch.tensor([[[[6.0]], [[3.0]]]]), (3, 3))
    np.testing.assert_allclose(found.numpy(), np.ones((1, 3, 3)))
    row = spread(torch.tensor([[[[3.0, 0.0]]]]), (1, 3))
    np.testing.assert_allclose(row.numpy(), [[[2.0, 1.0, 0.0]]], atol=1e-6)


def test_a_layer_beside_the_way_leaves_a_gap():
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.through, self.around = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.through(x) + self.around(x)

    torch.manual_seed(0)
    model, x = Around(), torch.randn(4, 3)
    found = conductance(model, x, layer="through", target=0)
    np.testing.assert_allclose(found.gap, -model.around(x)[:, 0].detach().numpy(), rtol=1e-3)


def test_errors_name_what_is_wrong(net, images):
    with pytest.raises(ConfigError, match="no layer 'nowhere'. It has: features, act"):
        conductance(net, images, layer="nowhere", task="a")
    with pytest.raises(ConfigError, match="'act' runs 2 times for one answer"):
        conductance(
            net, images, layer="act", forward=lambda model, x: {"a": model(x)["a"], "b": model(x)["b"]}, task="a"
        )
    both = attribute(net, images, task="a", forward=lambda model, x: {"a": model(x)["a"], "b": model(x)["b"]})
    np.testing.assert_allclose(both, attribute(net, images, task="a"), atol=1e-6)
    with pytest.raises(ConfigError, match="Say which task"):
        conductance(net, images, layer="act")
    with pytest.raises(ConfigError, match="layer with places"):
        attribute(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), images, method="layer conductance", layer="1")
