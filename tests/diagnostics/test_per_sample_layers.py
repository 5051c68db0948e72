"""Every kind of layer, over drawn shapes, against one backward pass per sample in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from workbench.diagnostics import gsnr

pytestmark = pytest.mark.filterwarnings("error")
drawn = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
sizes = st.integers(1, 4)
samples = st.integers(2, 6)


def data(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def seeded(module: nn.Module) -> nn.Module:
    """Double precision, with every parameter drawn, so that none is 0 or 1 by convention."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.7)
    return module.double()


@drawn
@given(b=samples, steps=st.integers(0, 6), n_in=sizes, n_out=sizes, bias=st.booleans())
def test_linear(check_exact: Any, b: int, steps: int, n_in: int, n_out: int, bias: bool) -> None:
    net = seeded(nn.Sequential(nn.Linear(n_in, 3, bias=bias), nn.Tanh(), nn.Linear(3, n_out, bias=bias)))
    moments = check_exact(net, [data(b, n_in) if steps == 0 else data(b, steps, n_in)])
    assert not moments.fallback


@drawn
@given(
    b=samples,
    rank=st.integers(1, 3),
    groups=st.integers(1, 2),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    transposed=st.booleans(),
    bias=st.booleans(),
)
def test_convolution(
    check_exact: Any,
    b: int,
    rank: int,
    groups: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    transposed: bool,
    bias: bool,
) -> None:
    size = 7 - rank
    assume(dilation * (kernel - 1) + 1 <= size + 2 * padding)
    kinds = (
        (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
        if transposed
        else (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    )
    if transposed:
        assume((size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 > 0)
    layer = kinds[rank - 1](
        2 * groups, 3 * groups, kernel, stride, padding, dilation=dilation, groups=groups, bias=bias
    )
    moments = check_exact(seeded(layer), [data(b, 2 * groups, *[size] * rank)])
    assert not moments.fallback


@pytest.mark.parametrize("positions", [4, 9])
@pytest.mark.parametrize("padding", [0, 1, (1, 0), "same"])
def test_convolution_with_few_and_with_many_positions(check_exact: Any, positions: int, padding: Any) -> None:
    first = nn.Conv2d(3, 5, (3, 3 if padding == "same" else 2), padding=padding)
    check_exact(seeded(nn.Sequential(first, nn.Tanh(), nn.Conv2d(5, 2, 2))), [data(4, 3, positions, positions)])


def test_transposed_convolution_with_output_padding(check_exact: Any) -> None:
    check_exact(seeded(nn.ConvTranspose2d(3, 4, 3, 2, 1, output_padding=1)), [data(4, 3, 5, 4)])


def test_convolution_padded_by_reflection(check_exact: Any) -> None:
    check_exact(seeded(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")), [data(4, 3, 5, 4)])


def test_frames_of_a_video_folded_into_the_batch(check_exact: Any) -> None:
    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.Linear(4, 3)

        def forward(self, clips: Tensor) -> Tensor:
            y = self.norm(self.conv(clips.flatten(0, 1))).mean((2, 3))
            return self.head(y).unflatten(0, clips.shape[:2])

    assert not check_exact(seeded(Frames()), [data(4, 3, 2, 5, 5)]).fallback


@drawn
@given(b=samples, groups=st.integers(1, 3), per_group=st.integers(1, 2), height=st.integers(2, 4))
def test_group_and_instance_norm(check_exact: Any, b: int, groups: int, per_group: int, height: int) -> None:
    channels = groups * per_group
    first, second = nn.GroupNorm(groups, channels), nn.InstanceNorm2d(channels, affine=True)
    net = nn.Sequential(first, nn.Tanh(), nn.Conv2d(channels, channels, 1), nn.Tanh(), second)
    assert not check_exact(seeded(net), [data(b, channels, height, 3)]).fallback


@drawn
@given(b=samples, middle=st.lists(sizes, max_size=2), width=st.integers(2, 5), rms=st.booleans(), two=st.booleans())
def test_layer_and_rms_norm(check_exact: Any, b: int, middle: list[int], width: int, rms: bool, two: bool) -> None:
    shape = [3, width] if two else [width]
    norm = nn.RMSNorm(shape, eps=1e-5) if rms else nn.LayerNorm(shape)
    net = seeded(nn.Sequential(nn.Linear(width, width), norm))
    assert not check_exact(net, [data(b, *middle, *shape)]).fallback


@drawn
@given(b=samples, rank=st.integers(0, 3), channels=sizes, affine=st.booleans())
def test_batch_norm_in_eval_mode(check_exact: Any, b: int, rank: int, channels: int, affine: bool) -> None:
    kind = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[rank]
    norm = seeded(kind(channels, affine=affine))
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    net = nn.Sequential(nn.Unflatten(1, (channels, *[2] * rank)), norm)
    first = seeded(nn.Linear(3, channels * 2**rank))
    assert not check_exact(nn.Sequential(first, net).eval(), [data(b, 3)]).fallback


@drawn
@given(b=samples, steps=st.integers(1, 6), rows=st.integers(2, 5), padding=st.booleans())
def test_embedding(check_exact: Any, b: int, steps: int, rows: int, padding: bool) -> None:
    net = seeded(nn.Sequential(nn.Embedding(rows, 3, padding_idx=1 if padding else None), nn.Linear(3, 2)))
    assert not check_exact(net, [torch.randint(rows, (b, steps))]).fallback


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("options", [{}, {"kdim": 3, "vdim": 5}, {"add_bias_kv": True}, {"bias": False}])
@pytest.mark.parametrize("b", [3, 5])
def test_multihead_attention(check_exact: Any, batch_first: bool, options: dict[str, Any], b: int) -> None:
    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=batch_first, **options)

        def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            if batch_first:
                return self.attention(query, key, value)[0]
            swapped = (t.transpose(0, 1) for t in (query, key, value))
            return self.attention(*swapped)[0].transpose(0, 1)

    key, value = data(b, 5, options.get("kdim", 4)), data(b, 5, options.get("vdim", 4))
    moments = check_exact(seeded(Attend()), [data(b, 5, 4), key, value])
    assert not moments.fallback


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("layers", [1, 2])
def test_recurrent(check_exact: Any, kind: type[nn.RNNBase], layers: int) -> None:
    net = seeded(kind(3, 4, layers, batch_first=True, bidirectional=layers == 2))
    check_exact(net, [data(4, 4, 3)])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_in_single_precision(kind: type[nn.RNNBase]) -> None:
    """There some layers are one fused operation of the library; it is taken apart, and the loss stays the same."""
    torch.manual_seed(0)
    net = kind(3, 4, batch_first=True)
    x = torch.randn(6, 5, 3)

    def measured(x: Tensor) -> gsnr.Moments:
        return gsnr.measure(net, lambda x: net(x)[0].sin().sum((1, 2)), [(x,)])

    single = measured(x)
    net.double()
    double = measured(x.double())
    assert not single.fallback
    for name in double.parameters:
        scale = double.m2[name][""].max()
        np.testing.assert_allclose(single.m2[name][""] / scale, double.m2[name][""] / scale, atol=1e-5)


def test_activations_with_parameters(check_exact: Any) -> None:
    net = seeded(nn.Sequential(nn.Linear(3, 4), nn.PReLU(4), nn.Linear(4, 4), nn.PReLU()))
    assert not check_exact(net, [data(5, 3)]).fallback


class Raw(nn.Module):
    """Parameters used directly: scales, shifts, a class token, positions, a table indexed like relative positions."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.empty(1, 1, 4))
        self.positions = nn.Parameter(torch.empty(1, 9, 4))
        self.scale, self.shift = nn.Parameter(torch.empty(4)), nn.Parameter(torch.empty(4))
        self.offset = nn.Parameter(torch.empty(()))
        self.table = nn.Parameter(torch.empty(5, 1))
        self.learned = nn.Embedding(9, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        steps = x.shape[1]
        x = x + self.positions[:, :steps] + self.learned(torch.arange(steps))
        x = self.scale * x - self.shift
        near = (torch.arange(steps)[:, None] - torch.arange(steps)).abs().clamp(max=4)
        weights = (x @ x.transpose(1, 2) + self.table[near].squeeze(-1)).softmax(-1)
        return self.head((weights @ x) * self.offset.exp())


@pytest.mark.parametrize("steps", [2, 4])
def test_raw_parameters(check_exact: Any, steps: int) -> None:
    moments = check_exact(seeded(Raw()), [data(4, steps, 4)])
    assert not moments.fallback


def test_normalised_weights(check_exact: Any) -> None:
    norm = torch.nn.utils.parametrizations.weight_norm
    net = nn.Sequential(norm(nn.Linear(3, 4)), nn.Tanh(), norm(nn.Linear(4, 2)))
    torch.manual_seed(0)
    assert not check_exact(net.double(), [data(5, 3)]).fallback


def test_a_parameter_in_an_operation_without_rule_is_exact_and_named(check_exact: Any) -> None:
    class Custom(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.form = nn.Bilinear(3, 3, 2)
            self.before = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.form(self.before(x), x)

    moments = check_exact(seeded(Custom()), [data(4, 3)])
    assert set(moments.fallback) == {"form.weight"}
    assert "TrilinearBackward" in moments.fallback["form.weight"]


class Shared(nn.Module):
    """A layer called twice, a convolution called twice, and a table that is also the output projection."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(6, 4)
        self.again = nn.Linear(4, 4)
        self.conv = nn.Conv1d(4, 4, 3, padding=1)
        self.norm = nn.LayerNorm(4)

    def forward(self, words: Tensor) -> Tensor:
        x = self.again(torch.tanh(self.again(self.norm(self.table(words)))))
        x = self.conv(torch.tanh(self.conv(x.transpose(1, 2)))).transpose(1, 2)
        return functional.linear(self.norm(x), self.table.weight)


@drawn
@given(b=samples, steps=st.integers(1, 5))
def test_shared_weights_are_added_before_squaring(check_exact: Any, b: int, steps: int) -> None:
    assert not check_exact(seeded(Shared()), [torch.randint(6, (b, steps))]).fallback


def test_one_parameter_under_two_names(check_exact: Any) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    check_exact(seeded(net), [data(5, 4)])


def test_samples_are_found_where_they_are_even_if_sizes_coincide(check_exact: Any) -> None:
    """Sequence first, and as many time steps as samples: sizes say nothing."""

    class SequenceFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.last = nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2)
            self.table = nn.Embedding(7, 4)

        def forward(self, words: Tensor) -> Tensor:
            x = self.last(self.norm(self.first(self.table(words.T)).cumsum(0)))
            return x.transpose(0, 1)

    assert not check_exact(seeded(SequenceFirst()), [torch.randint(7, (4, 4))]).fallback


def test_two_views_stacked_in_one_batch(check_exact: Any) -> None:
    net = seeded(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4)))

    def loss(one: Tensor, two: Tensor) -> Tensor:
        a, b = net(torch.cat([one, two])).chunk(2)
        return (a - b).square().sum(1)

    assert not check_exact(net, [data(5, 3), data(5, 3)], loss).fallback


def test_losses_that_mix_samples_are_differentiated_one_by_one(check_exact: Any) -> None:
    """A contrastive loss: the gradient of each loss involves all samples, and that is what is measured."""
    net = seeded(nn.Linear(3, 4))

    def loss(x: Tensor) -> Tensor:
        y = functional.normalize(net(x), dim=1)
        return functional.cross_entropy(y @ y.T, torch.arange(len(x)), reduction="none")

    moments = check_exact(net, [data(5, 3)], loss)
    assert set(moments.fallback) == {"weight", "bias"}
    assert all("backward pass per sample" in how for how in moments.fallback.values())


def test_a_branch_that_starts_at_zero(check_exact: Any) -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.inner, self.outer = nn.Linear(3, 3), nn.Linear(3, 5), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.trunk(x) + self.outer(self.inner(x))

    net = seeded(Residual())
    nn.init.zeros_(net.outer.weight)
    check_exact(net, [data(6, 3)])
    nn.init.normal_(net.outer.weight)  # same graph, now with gradients behind the branch
    check_exact(net, [data(6, 3)])


def test_tokens_picked_by_their_data(check_exact: Any) -> None:
    """A head on masked positions: each of the first samples has two, so only the batch itself shows the truth."""

    class Picked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            hidden = self.head(torch.tanh(self.trunk(x))[mask]).square().sum(1)
            return torch.zeros(mask.shape, dtype=x.dtype).masked_scatter(mask, hidden).sum(1)

    net = seeded(Picked())
    counts = [2, 2, 2, 1, 3, 2]
    mask = torch.arange(4) < torch.tensor(counts)[:, None]
    check_exact(net, [data(6, 4, 3), mask], lambda x, mask: net(x, mask))


def test_one_model_with_losses_along_different_axes(check_exact: Any) -> None:
    """Samples first and time first, as many of the one as of the other, with the same operations in the graph."""
    net = seeded(nn.Linear(3, 4))
    x = data(5, 5, 3)
    check_exact(net, [x], lambda x: net(x).sin().mean((1, 2)))
    check_exact(net, [x], lambda x: net(x).sin().mean((0, 2)))


@pytest.mark.parametrize("active", [[0], [4], [0, 4], [1, 2, 5], []])
def test_samples_without_a_gradient(check_exact: Any, active: list[int]) -> None:
    """A hinge loss leaves most samples without one; then a batch in which all have one, through the same graph."""
    net = seeded(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))

    def loss(x: Tensor, weight: Tensor) -> Tensor:
        return net(x).square().sum((1, 2)) * weight

    weight = torch.zeros(6, dtype=torch.float64)
    weight[active] = 1.0
    check_exact(net, [data(6, 6, 3), weight], loss)
    check_exact(net, [data(6, 6, 3), torch.ones(6, dtype=torch.float64)], loss)
