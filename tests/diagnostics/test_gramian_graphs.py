"""gramian.measure on graphs of every kind: branches, checkpoints, autocast, hooks, stages, compiled models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gramian_twin import assert_exact, batches, draw_input, error, losses_of, plain_reasons, seeds, sizes
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from workbench.core import ConfigError
from workbench.diagnostics import gramian
from workbench.diagnostics.rows import stages
from workbench.diagnostics.rows.engine import plan
from workbench.diagnostics.rows.parts import parameters, resolve
from workbench.diagnostics.rows.slices import cut


def test_tasks_that_leave_the_trunk_at_different_depths():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = draw_input(0, 10, 3)
    early = net[:2](x)
    losses = {"early": early.square().mean(1), "late": net[2:](early).cos().mean(1)}
    assert error(losses, net, 3) <= 1e-10
    assert plain_reasons(losses, net, 3) == set()


def test_tasks_with_their_own_inputs_in_batches_of_different_sizes():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2)).double()
    x, y = draw_input(0, 9, 1, 4, 4), draw_input(1, 6, 1, 4, 4)
    losses = {"a": net(x).square().mean(1), "b": net(y).cos().mean(1)}
    assert error(losses, net, 3) <= 1e-10
    assert plain_reasons(losses, net, 3) == set()


def test_a_task_on_some_of_the_samples():
    # The trunk sees 10 samples, the loss of "b" has 5 of them: its slices cannot be told apart in the trunk.
    torch.manual_seed(0)
    net = nn.Linear(3, 4).double()
    z = net(draw_input(0, 10, 3))
    losses = {"a": z.square().mean(1), "b": z[5:].cos().mean(1)}
    assert error(losses, net, 2) <= 1e-10


def checkpointed(reentrant: bool) -> tuple[nn.Module, dict[str, Tensor]]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 4)).double()
    return net, losses_of(checkpoint(net, draw_input(0, 8, 3).requires_grad_(), use_reentrant=reentrant))


def test_gradient_checkpointing():
    net, losses = checkpointed(reentrant=False)
    state = torch.get_rng_state()
    assert error(losses, net, 2) <= 1e-10
    assert plain_reasons(losses, net, 2) == set()
    assert torch.equal(state, torch.get_rng_state())


def test_reentrant_checkpoints_are_refused():
    net, losses = checkpointed(reentrant=True)
    with pytest.raises(ConfigError, match="use_reentrant=False"):
        gramian.measure(losses, net, n_batches=2)


def test_autocast_is_at_least_as_exact_as_backward():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 4))
    x = draw_input(0, 16, 6).float()
    with torch.autocast("cpu", torch.bfloat16):
        losses = losses_of(net(x).float())
        assert error(losses, net, 2) < 0.02
    assert plain_reasons(losses, net, 2) == set()


def test_float32_products_are_as_exact_as_the_rows():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 100))
    assert error(losses_of(net(draw_input(0, 12, 3, 8, 8).float())), net, 3) < 1e-5


def test_a_parameter_hook_is_respected():
    torch.manual_seed(0)
    net = nn.Linear(3, 4).double()
    net.weight.register_hook(lambda gradient: 2 * gradient)
    losses = losses_of(net(draw_input(0, 8, 3)))
    assert error(losses, net, 2) <= 1e-10
    assert plain_reasons(losses, net, 2) == {"a hook on the parameter changes its gradient"}


def test_a_gradient_reversed_by_a_tensor_hook():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4)).double()
    hidden = net[0](draw_input(0, 8, 3))
    hidden.register_hook(lambda gradient: -3 * gradient)
    losses = losses_of(net[1](hidden))
    assert error(losses, net, 2) <= 1e-10
    assert plain_reasons(losses, net, 2) == set()


def test_stages_change_nothing(monkeypatch):
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(4)]
    net = nn.Sequential(*blocks).double()
    hidden = net[0](draw_input(0, 9, 4))
    hidden.register_hook(lambda gradient: -2 * gradient)  # a cut here would apply it twice
    skipped = net[1](hidden) + hidden
    losses = losses_of(net[3](net[2](skipped)), 2) | {"early": skipped.square().mean(1)}
    whole = gramian.measure(losses, net, n_batches=3)
    monkeypatch.setattr(stages, "STAGE_NUMBERS", 0)
    found = plan(cut(losses, 3), parameters(resolve(net)))
    assert len(stages.stages(found.graph, found.nodes, 3)) > 2
    np.testing.assert_allclose(gramian.measure(losses, net, n_batches=3).dot, whole.dot, rtol=1e-12)
    assert error(losses, net, 3) <= 1e-10


@given(batches, sizes, seeds, st.integers(1, 3))
def test_wide_layers_with_few_items_need_no_rows(n_batches, n, seed, first):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(48, 40)).double()
    x = draw_input(seed, n, 8, 2, 2)
    assert_exact(net, net(x), n_batches)
    groups = gramian.channel_groups(net, 2)
    losses = losses_of(net(x))
    split = gramian.measure(losses, groups, n_batches=n_batches)
    np.testing.assert_allclose(split.total().dot, gramian.measure(losses, net, n_batches=n_batches).total().dot)


class Normalised(nn.Module):
    """Weights and positions that are made of parameters in ways no rule knows."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(4, 5))
        self.low, self.rank = nn.Parameter(torch.randn(2, 5)), nn.Parameter(torch.randn(3, 2))
        self.base = nn.Parameter(torch.randn(3, 5))
        self.positions = nn.Embedding(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.positions(torch.arange(x.shape[1]))
        x = torch.tanh(self.first(x))
        return nn.functional.linear(x, self.base + torch.exp(self.rank @ self.low))


@given(batches, sizes, seeds)
def test_weights_that_are_computed(n_batches, n, seed):
    torch.manual_seed(seed)
    net = Normalised().double()
    assert_exact(net, net(draw_input(seed, n, 5, 4)), n_batches)


def test_compiled_models_are_measured_plainly():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    losses = losses_of(torch.compile(net, backend="aot_eager")(draw_input(0, 8, 3)))
    assert error(losses, net, 2) <= 1e-10
    assert plain_reasons(losses, net, 2) == {"no rule for CompiledFunctionBackward"}


def test_nothing_is_left_behind_also_after_an_exception():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2)).double()
    losses = losses_of(net(draw_input(0, 8, 3)))
    state = torch.get_rng_state()
    gramian.measure(losses, net, n_batches=2)
    losses["broken"] = Broken.apply(losses["wave"])
    with pytest.raises(ValueError, match="broken backward"):
        gramian.measure(losses, net, n_batches=2)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in net.modules())
    losses["wave"].sum().backward()


class Broken(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise ValueError("broken backward")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4).eval(), nn.Flatten(), nn.Linear(64, 3)).double().cuda()
    assert_exact(net, net(draw_input(0, 9, 2, 6, 6).cuda()), 3)
