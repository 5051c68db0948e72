"""Cross-Gramians of task gradients against one backward pass for every (task, mini-batch)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.diagnostics import gramian
from workbench.diagnostics.gramian import Channels, channel_groups


def naive(losses: dict[str, Tensor], parameters: list[nn.Parameter], n_batches: int) -> np.ndarray:
    """[T, K, T, K] from T·K ordinary backward passes of the mean of every K-th sample's loss."""
    rows = []
    for loss in losses.values():
        for k in range(n_batches):
            grads = torch.autograd.grad(loss[k::n_batches].mean(), parameters, retain_graph=True, allow_unused=True)
            flat = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads, strict=True)]
            rows.append(torch.cat([g.flatten().double() for g in flat]))
    matrix = torch.stack(rows)
    return (matrix @ matrix.T).reshape(len(losses), n_batches, len(losses), n_batches).numpy()


def assert_agrees(found, losses, parts: dict[str, list[nn.Parameter]], n_batches: int, tolerance: float = 1e-10):
    """Every module's products, relative to the product of the two gradients' lengths."""
    assert found.modules == tuple(parts)
    for m, own in enumerate(parts.values()):
        expected = naive(losses, own, n_batches)
        length = np.sqrt(np.einsum("ikik->ik", expected))
        scale = np.where(length > 0, length, 1.0)
        error = np.abs(found.dot[m] - expected) / (scale[:, :, None, None] * scale)
        assert error.max() <= tolerance, (found.modules[m], error.max())


def leaves(module: nn.Module) -> dict[str, list[nn.Parameter]]:
    found = {name: list(child.parameters(recurse=False)) for name, child in module.named_modules()}
    return {name: own for name, own in found.items() if own}


def two_losses(features: Tensor) -> dict[str, Tensor]:
    flat = features.flatten(1)
    return {"square": (flat**2).mean(1), "wave": torch.sin(3 * flat).mean(1)}


def small_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def small_losses(net: nn.Module, n: int = 12, seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return two_losses(net(torch.randn(n, 5, generator=generator, dtype=torch.float64)))


@given(st.integers(1, 4), st.integers(4, 13), st.integers(0, 99))
def test_agrees_with_one_backward_for_every_task_and_slice(n_batches, n, seed):
    net = small_net(seed)
    losses = small_losses(net, n, seed)
    assert_agrees(gramian.measure(losses, net, n_batches=n_batches), losses, leaves(net), n_batches)


def test_training_can_still_go_backward():
    net = small_net()
    losses = small_losses(net)
    gramian.measure(losses, net)
    assert all(p.grad is None for p in net.parameters())
    sum(loss.mean() for loss in losses.values()).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_scalar_loss_gives_one_batch_of_unknown_size():
    net = small_net()
    losses = small_losses(net)
    found = gramian.measure({task: loss.mean() for task, loss in losses.items()}, net, n_batches=4)
    assert found.n_batches == 1
    assert found.samples.tolist() == [[0], [0]]
    np.testing.assert_allclose(found.dot, gramian.measure(losses, net, n_batches=1).dot, rtol=1e-12)


def test_a_task_that_does_not_reach_a_module_gives_zeros():
    net = small_net()
    x = torch.randn(8, 5, dtype=torch.float64)
    hidden = net[0](x)
    found = gramian.measure({"early": hidden.square().mean(1), "late": net[2](hidden).square().mean(1)}, net)
    assert found.modules == ("0", "2")
    assert (found.dot[1, 0] == 0).all()
    assert (found.dot[1, :, :, 0] == 0).all()
    assert (np.einsum("kk->k", found.dot[1, 1, :, 1]) > 0).all()


def test_frozen_parameters_are_left_out():
    net = small_net()
    net[0].requires_grad_(False)
    net[2].bias.requires_grad_(False)
    losses = small_losses(net)
    found = gramian.measure(losses, net)
    assert_agrees(found, losses, {"2": [net[2].weight]}, 4)


def test_modules_can_be_grouped_and_chosen():
    net = small_net()
    losses = small_losses(net)
    whole = gramian.measure(losses, net)
    np.testing.assert_allclose(gramian.measure(losses, net, modules={"all": ["0", "2"]}).dot, whole.total().dot)
    np.testing.assert_allclose(gramian.measure(losses, net, modules=["2"]).dot, whole.select(["2"]).dot)
    given_parts = gramian.measure(losses, {"first": net[0], "second": [net[2].weight, net[2].bias]})
    assert given_parts.modules == ("first", "second")
    np.testing.assert_allclose(given_parts.dot, whole.dot)


def test_channel_groups_are_disjoint_and_sum_to_the_layers():
    net = small_net()
    losses = small_losses(net)
    groups = channel_groups(net, 2)
    assert list(groups) == ["0[0:2]", "0[2:4]", "2[0:2]", "2[2:3]"]
    found = gramian.measure(losses, groups)
    np.testing.assert_allclose(found.total().dot, gramian.measure(losses, net).total().dot)
    np.testing.assert_allclose(
        gramian.measure(losses, {"rows": [Channels(net[0].weight, 0, 2), Channels(net[0].bias, 0, 2)]}).dot[0],
        found.dot[0],
    )


def test_samples_with_weight_zero_take_no_part():
    # Samples alternate between the two tasks, so slices by position would leave each task without samples.
    net = small_net()
    losses = small_losses(net)
    even = torch.arange(12) % 2 == 0
    found = gramian.measure(losses, net, n_batches=2, weights={"square": even, "wave": ~even})
    assert found.samples.tolist() == [[3, 3], [3, 3]]
    kept = {"square": losses["square"][even], "wave": losses["wave"][~even]}
    assert_agrees(found, kept, leaves(net), 2)


def test_a_task_without_labels_in_a_slice_is_nan_there():
    net = small_net()
    losses = small_losses(net)
    found = gramian.measure(losses, net, n_batches=2, weights={"wave": torch.arange(12) == 0})
    assert found.samples.tolist() == [[6, 6], [0, 1]]
    assert np.isnan(found.dot[:, 1, 0]).all()
    assert np.isnan(found.dot[:, :, :, 1, 0]).all()
    assert np.isfinite(found.dot[:, 1, 1, 1, 1]).all()
    assert np.isfinite(found.dot[:, 0, :, 0]).all()


def test_a_loss_that_is_not_finite_gives_nan_for_its_task_alone():
    net = small_net()
    losses = small_losses(net)
    losses["wave"] = losses["wave"] * torch.nan
    found = gramian.measure(losses, net)
    assert np.isnan(found.dot[:, 1]).all()
    assert np.isfinite(found.dot[:, 0, :, 0]).all()


def test_tasks_with_their_own_inputs():
    net = small_net()
    batches = {task: [torch.randn(6, 5, dtype=torch.float64) for _ in range(3)] for task in ("a", "b")}
    found = gramian.measure_datasets(
        {
            "a": lambda k: net(batches["a"][k]).square().mean(1),
            "b": [net(x).cos().mean() for x in batches["b"]],
        },
        net,
        n_batches=3,
    )
    rows = []
    for loss in [net(x).square().mean() for x in batches["a"]] + [net(x).cos().mean() for x in batches["b"]]:
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))]))
    matrix = torch.stack(rows)
    np.testing.assert_allclose(found.total().dot[0].reshape(6, 6), (matrix @ matrix.T).numpy(), rtol=1e-10)
    assert found.samples.tolist() == [[6, 6, 6], [0, 0, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda net, losses: gramian.measure({}, net), "losses is empty"),
        (lambda net, losses: gramian.measure(losses, net, n_batches=0), "n_batches must be at least 1"),
        (lambda net, losses: gramian.measure(losses, net, n_batches=13), "12 samples, too few for 13"),
        (lambda net, losses: gramian.measure({"a": losses["wave"].detach()}, net), "no gradient graph"),
        (lambda net, losses: gramian.measure({"a": losses["wave"].reshape(3, 4)}, net), "one value per sample"),
        (lambda net, losses: gramian.measure(losses | {"c": losses["wave"].sum()}, net), "is a scalar"),
        (lambda net, losses: gramian.measure(losses, net, modules=["3"]), "no module '3'"),
        (lambda net, losses: gramian.measure(losses, {"a": net, "b": net[0]}), "must be disjoint"),
        (lambda net, losses: gramian.measure(losses, nn.ReLU()), "no shared parameter"),
        (lambda net, losses: gramian.measure(losses, net, weights={"x": torch.ones(12)}), "task 'x'"),
        (lambda net, losses: gramian.measure(losses, net, weights={"wave": -torch.ones(12)}), "not negative"),
        (lambda net, losses: channel_groups(net, 4), "too few for 4"),
        (lambda net, losses: gramian.measure_datasets({"a": [], "b": []}, net), "same number"),
    ],
)
def test_mistakes_are_named(change, message):
    net = small_net()
    with pytest.raises(ConfigError, match=message):
        change(net, small_losses(net))


def test_measuring_too_late_is_named():
    net = small_net()
    losses = small_losses(net)
    sum(loss.sum() for loss in losses.values()).backward()
    with pytest.raises(ConfigError, match="before backward"):
        gramian.measure(losses, net)


def test_changed_weights_are_named():
    net = small_net()
    losses = small_losses(net)
    with torch.no_grad():
        net[2].weight.add_(1.0)
    with pytest.raises(ConfigError, match=r"before optimizer\.step"):
        gramian.measure(losses, net)
