"""The engine behind gramian.measure equals one backward pass for every (task, mini-batch), layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from workbench.core import ConfigError
from workbench.diagnostics import gramian
from workbench.diagnostics.rows import stages
from workbench.diagnostics.rows.engine import plan
from workbench.diagnostics.rows.parts import parameters, resolve
from workbench.diagnostics.rows.slices import cut

TASKS = ("square", "wave", "first")


def losses_of(features: Tensor, n_tasks: int = 3) -> dict[str, Tensor]:
    flat = features.flatten(1)
    values = ((flat**2).mean(1), torch.sin(3 * flat).mean(1), flat[:, 0] * flat[:, -1])
    return dict(zip(TASKS[:n_tasks], values, strict=False))


def cross_gramian(losses: dict[str, Tensor], parameters: list[Tensor], n_batches: int) -> np.ndarray:
    """[T, K, T, K] from T·K ordinary backward passes of the mean of every K-th sample's loss."""
    rows = []
    for loss in losses.values():
        for k in range(n_batches):
            grads = torch.autograd.grad(loss[k::n_batches].mean(), parameters, retain_graph=True, allow_unused=True)
            flat = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads, strict=True)]
            rows.append(torch.cat([g.flatten().double() for g in flat]))
    matrix = torch.stack(rows)
    return (matrix @ matrix.T).reshape(len(losses), n_batches, len(losses), n_batches).cpu().numpy()


def error(losses: dict[str, Tensor], net: nn.Module, n_batches: int) -> float:
    """Largest error of a product over all modules, relative to the lengths of the two gradients."""
    found = gramian.measure(losses, net, n_batches=n_batches)
    worst = 0.0
    for m, part in enumerate(resolve(net)):
        own = [piece.parameter for piece in part.pieces]
        expected = cross_gramian(losses, own, n_batches)
        length = np.sqrt(np.einsum("ikik->ik", expected))
        scale = np.where(length > 1e-12, length, 1.0)
        worst = max(worst, (np.abs(found.dot[m] - expected) / (scale[:, :, None, None] * scale)).max())
    return worst


def plain_reasons(losses: dict[str, Tensor], net: nn.Module, n_batches: int) -> set[str]:
    found = plan(cut(losses, n_batches), parameters(resolve(net)))
    return {each for each in found.uses if isinstance(each, str)}


def assert_exact(net: nn.Module, features: Tensor, n_batches: int, reasons: set[str] = frozenset()) -> None:
    losses = losses_of(features)
    assert error(losses, net, n_batches) <= 1e-10
    assert plain_reasons(losses, net, n_batches) == reasons


batches = st.integers(1, 4)
sizes = st.integers(5, 11)
seeds = st.integers(0, 999)


def draw_input(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(batches, sizes, seeds, st.integers(1, 6), st.integers(1, 6), st.booleans())
def test_linear(n_batches, n, seed, n_inputs, n_outputs, bias):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(n_inputs, 9, bias=bias), nn.Tanh(), nn.Linear(9, n_outputs, bias=bias)).double()
    assert_exact(net, net(draw_input(seed, n, n_inputs)), n_batches)


@given(batches, sizes, seeds, st.integers(1, 5), st.booleans(), st.booleans())
def test_linear_over_a_sequence(n_batches, n, seed, length, bias, sequence_first):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 6, bias=bias), nn.Tanh(), nn.Linear(6, 3, bias=bias)).double()
    if sequence_first:
        out = net(draw_input(seed, length, n, 4)).transpose(0, 1)
    else:
        out = net(draw_input(seed, n, length, 4))
    assert_exact(net, out, n_batches)


@given(
    batches,
    sizes,
    seeds,
    st.integers(1, 3),
    st.sampled_from([1, 2]),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 2),
    st.integers(1, 2),
    st.booleans(),
    st.booleans(),
)
def test_convolution(n_batches, n, seed, dims, groups, kernel, stride, padding, dilation, bias, transposed):
    torch.manual_seed(seed)
    name = f"Conv{'Transpose' if transposed else ''}{dims}d"
    layer = getattr(nn, name)(
        2, 4, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=bias
    ).double()
    size = {1: 9, 2: 7, 3: 6}[dims] + 2 * padding * transposed
    assert_exact(layer, torch.tanh(layer(draw_input(seed, n, 2, *(size,) * dims))), n_batches)


@given(batches, sizes, seeds, st.sampled_from(["group", "layer", "batch", "rms", "instance", "scale"]))
def test_norms(n_batches, n, seed, kind):
    torch.manual_seed(seed)
    norm = {
        "group": nn.GroupNorm(2, 4),
        "layer": nn.LayerNorm([4, 6]),
        "batch": nn.BatchNorm1d(4).eval(),
        "rms": nn.RMSNorm(6),
        "instance": nn.InstanceNorm1d(4, affine=True),
        "scale": Scale(4, 1),
    }[kind]
    net = nn.Sequential(nn.Conv1d(2, 4, 1), norm, nn.Tanh()).double()
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    if kind == "batch":
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    reasons = {"no rule for RepeatBackward0"} if kind == "instance" else set()
    assert_exact(net, net(draw_input(seed, n, 2, 6)), n_batches, reasons)


class Scale(nn.Module):
    """Raw parameters that are broadcast, multiplied and added."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.randn(shape)), nn.Parameter(torch.randn(shape))
        self.scalar = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x * self.scale, self.shift, alpha=2) * self.scalar


def test_batch_statistics_mix_samples_and_are_measured_plainly():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)).double()
    features = net(draw_input(0, 10, 3))
    assert_exact(net, features, 2, {"samples cannot be told apart at AddmmBackward0"})
    assert plain_reasons(losses_of(features), net, 1) == set()


@pytest.mark.parametrize("n_batches", [1, 3])
def test_losses_that_compare_samples_are_measured_plainly(n_batches):
    torch.manual_seed(0)
    net = nn.Linear(3, 4).double()
    z = net(draw_input(0, 9, 3))
    contrast = (z @ z.T).softmax(1).diagonal()
    losses = {"contrast": contrast, "square": z.square().mean(1)}
    assert error(losses, net, n_batches) <= 1e-10
    assert bool(plain_reasons(losses, net, n_batches)) == (n_batches > 1)


def test_a_shuffled_batch_is_noticed():
    torch.manual_seed(0)
    net = nn.Linear(3, 4).double()
    for seed in range(3):  # the graphs look alike, so nothing may be remembered of the first
        order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
        losses = losses_of(net(draw_input(seed, 12, 3))[order])
        assert error(losses, net, 3) <= 1e-10
    losses = losses_of(net(draw_input(9, 12, 3))[torch.arange(12)])
    assert error(losses, net, 3) <= 1e-10


@given(batches, sizes, seeds, st.booleans())
def test_embedding(n_batches, n, seed, padded):
    torch.manual_seed(seed)
    table = nn.Embedding(7, 3, padding_idx=2 if padded else None).double()
    tokens = torch.randint(7, (n, 4), generator=torch.Generator().manual_seed(seed))
    assert_exact(table, torch.tanh(table(tokens)).sum(1), n_batches)


class Attention(nn.Module):
    """A pre-norm transformer block with learned positions and a class token."""

    def __init__(self, width: int = 8, length: int = 5) -> None:
        super().__init__()
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, width)), nn.Parameter(torch.randn(1, length, width))
        self.norm, self.qkv = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.out, self.scale = nn.Linear(width, width), nn.Parameter(torch.rand(width))
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 16), nn.GELU(), nn.Linear(16, width))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        q, k, v = self.qkv(self.norm(x)).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.scale * self.out(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return (x + self.mlp(x))[:, 0]


@given(batches, sizes, seeds)
def test_attention_block(n_batches, n, seed):
    torch.manual_seed(seed)
    net = Attention().double()
    assert_exact(net, net(draw_input(seed, n, 4, 8)), n_batches)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("crossed", [True, False])
def test_multihead_attention(batch_first, crossed):
    torch.manual_seed(0)
    net = nn.MultiheadAttention(8, 2, batch_first=batch_first).double()
    x, y = draw_input(0, 9, 5, 8), draw_input(1, 9, 4, 8)
    x, y = (x, y) if batch_first else (x.transpose(0, 1), y.transpose(0, 1))
    out = net(x, y, y)[0] if crossed else net(x, x, x)[0]
    assert_exact(net, out if batch_first else out.transpose(0, 1), 3)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cell = kind(3, 4, num_layers=2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)[0]


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_layers(kind):
    torch.manual_seed(0)
    net = Recurrent(kind).double()
    losses = losses_of(net(draw_input(0, 6, 4, 3)))
    assert error(losses, net, 3) <= 1e-10


class Tied(nn.Module):
    """One matrix as embedding and as output layer, used twice more inside."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(6, 4)
        self.inner = nn.Linear(4, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.table(tokens)
        return torch.tanh(self.inner(torch.tanh(self.inner(x)))) @ self.table.weight.T


@given(batches, sizes, seeds)
def test_shared_weights(n_batches, n, seed):
    torch.manual_seed(seed)
    net = Tied().double()
    tokens = torch.randint(6, (n, 3), generator=torch.Generator().manual_seed(seed))
    assert_exact(net, net(tokens), n_batches)


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
