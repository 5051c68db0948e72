"""The engine behind gramian.measure equals one backward pass for every (task, mini-batch), layer by layer."""

from __future__ import annotations

import pytest
import torch
from gramian_twin import assert_exact, batches, draw_input, error, losses_of, plain_reasons, seeds, sizes
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


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
