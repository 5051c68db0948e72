"""MvCoM: margins, their gradients, the look-ahead and its finite differences, and the neutral setting."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from workbench.core import ConfigError
from workbench.methods._cosine_margin import cosines, margin_logits, margin_loss
from workbench.methods.mvcom import (
    Batch,
    Config,
    MvCoM,
    balanced_weights,
    class_offsets,
    hardness,
    level_shares,
    look_ahead,
    look_ahead_by_differences,
    loss_of,
    meta_agreement,
    sample_margins,
)

seeds = st.integers(0, 2**31 - 1)
LEVELS = (2, 3, 2)
N_CLASSES, WIDTH = 4, 5


class CosineNet(nn.Module):
    """Inputs [B, 6] to cosines [B, 4]; smooth, so that finite differences are exact in the limit."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.first = nn.Linear(6, 8, dtype=dtype)
        self.second = nn.Linear(8, WIDTH, dtype=dtype)
        self.weight = nn.Parameter(torch.randn(N_CLASSES, WIDTH, dtype=dtype))

    def forward(self, inputs):
        return cosines(self.second(torch.tanh(self.first(inputs))), self.weight)


def drawn(seed, n=12, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    levels = [torch.randint(k, (n,), generator=draw) for k in LEVELS]
    return Batch(
        torch.randn(n, 6, generator=draw, dtype=dtype),
        torch.randint(N_CLASSES, (n,), generator=draw),
        torch.stack(levels, dim=1),
    )


def net_of(seed, dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CosineNet(dtype)


def some_cosines(seed, n=8, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(n, WIDTH, generator=draw, dtype=dtype)
    weights = torch.randn(N_CLASSES, WIDTH, generator=draw, dtype=dtype)
    return embeddings, weights, torch.randint(N_CLASSES, (n,), generator=draw)


def tables_of(seed, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    tables = [0.2 * torch.randn(k, generator=draw, dtype=dtype) for k in LEVELS]
    attributes = drawn(seed, n=60).attributes
    shares = [share.to(dtype) for share in level_shares(attributes, LEVELS)]
    return tables, shares, attributes


WIDE = Config(lowest=-9.0, highest=9.0)


def test_loss_of_two_classes_is_its_closed_form():
    # cosines 0.6 (true) and 0.1, s = 10, m = 0.2: logits 4 and 1, so the loss is ln(1 + e^-3).
    loss = margin_loss(torch.tensor([[0.6, 0.1]]), torch.tensor([0]), torch.tensor([0.2]), 10.0)
    assert loss.tolist() == pytest.approx([math.log1p(math.exp(-3))], rel=1e-5)


def test_angular_margin_of_a_known_angle():
    # θ = π/3, margin π/6: cos(π/2) = 0; beyond π the angle stops.
    logits = margin_logits(
        torch.tensor([[0.5, 0.1]], dtype=torch.float64), torch.tensor([0]), math.pi / 6, 10.0, angular=True
    )
    assert logits.tolist() == [pytest.approx([0.0, 1.0], abs=1e-9)]
    far = margin_logits(torch.tensor([[-0.5, 0.1]]).double(), torch.tensor([0]), 3.0, 10.0, angular=True)
    assert far[0, 0].item() == pytest.approx(-10)


def test_angular_margin_has_finite_gradients_at_both_ends():
    cosine = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    margin_loss(cosine, torch.tensor([0, 0]), 0.2, 16.0, angular=True).sum().backward()
    assert cosine.grad.isfinite().all()


@given(seeds)
def test_margin_zero_is_the_normalised_softmax_to_the_last_bit(seed):
    embeddings, weights, labels = some_cosines(seed, dtype=torch.float32)
    cosine = cosines(embeddings, weights)
    plain = F.cross_entropy(16.0 * cosine, labels, reduction="none")
    assert torch.equal(margin_loss(cosine, labels, 0.0, 16.0), plain)
    assert torch.equal(margin_loss(cosine, labels, torch.zeros(8), 16.0), plain)


@given(seeds)
def test_without_offsets_the_loss_is_cosface_to_the_last_bit(seed):
    batch = drawn(seed, dtype=torch.float32)
    method = MvCoM(batch.attributes, LEVELS, torch.bincount(batch.labels, minlength=N_CLASSES))
    cosine = net_of(seed, torch.float32)(batch.inputs)
    assert torch.equal(method.loss(cosine, batch), margin_loss(cosine, batch.labels, 0.2, 16.0))


def test_with_cap_zero_a_training_is_that_of_cosface_to_the_last_bit():
    def trained(method):
        net = net_of(1, torch.float32)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        meta = drawn(999, n=20, dtype=torch.float32)
        for step in range(5):
            batch = drawn(step, dtype=torch.float32)
            if method is not None:
                method.learn(net, batch, meta, lr=0.05)
            cosine = net(batch.inputs)
            loss = method.loss(cosine, batch) if method else margin_loss(cosine, batch.labels, 0.2, 16.0)
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
        return list(net.parameters())

    everything = drawn(5, n=60)
    counts = torch.bincount(everything.labels, minlength=N_CLASSES)
    neutral = trained(MvCoM(everything.attributes, LEVELS, counts, Config(cap=0.0)))
    assert all(map(torch.equal, neutral, trained(None)))
    active = trained(MvCoM(everything.attributes, LEVELS, counts))
    assert not all(map(torch.equal, active, trained(None)))


@given(seeds)
def test_the_derivative_in_the_margin_is_s_times_one_minus_p(seed):
    embeddings, weights, labels = some_cosines(seed)
    cosine = cosines(embeddings, weights)
    m = torch.linspace(-0.3, 0.6, 8, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(loss_of(cosine, labels, m, Config()).sum(), m)
    torch.testing.assert_close(slope, 16.0 * hardness(cosine, labels, m, Config()).detach(), rtol=1e-6, atol=1e-9)


@given(seeds, st.floats(0.01, 0.5))
def test_the_loss_grows_with_the_margin(seed, more):
    embeddings, weights, labels = some_cosines(seed)
    cosine = cosines(embeddings, weights)
    assert (margin_loss(cosine, labels, 0.2 + more, 16.0) > margin_loss(cosine, labels, 0.2, 16.0)).all()


@given(seeds, st.floats(0.1, 100))
def test_lengths_of_embeddings_and_class_weights_do_not_matter(seed, factor):
    embeddings, weights, _ = some_cosines(seed)
    torch.testing.assert_close(cosines(factor * embeddings, weights / factor), cosines(embeddings, weights))


@given(seeds, st.floats(-1, 1), st.integers(0, 2))
def test_a_constant_on_one_variation_changes_nothing(seed, constant, which):
    tables, shares, attributes = tables_of(seed)
    moved = [table + constant * (i == which) for i, table in enumerate(tables)]
    expected = sample_margins(tables, shares, attributes, config=WIDE)
    torch.testing.assert_close(sample_margins(moved, shares, attributes, config=WIDE), expected)


@given(seeds, st.permutations(range(3)))
def test_the_order_of_variations_does_not_matter(seed, order):
    tables, shares, attributes = tables_of(seed)
    turned = sample_margins([tables[i] for i in order], [shares[i] for i in order], attributes[:, list(order)])
    torch.testing.assert_close(turned, sample_margins(tables, shares, attributes))


@given(seeds)
def test_centred_offsets_average_to_zero_over_the_training_set(seed):
    tables, shares, attributes = tables_of(seed)
    assert sample_margins(tables, shares, attributes, config=WIDE).mean().item() == pytest.approx(0.2, abs=1e-6)


def test_margins_by_hand_and_clipped():
    # Shares 3/4 and 1/4, table (0, 0.4): mean 0.1, so the levels get 0.2 - 0.1 and 0.2 + 0.3.
    shares = [torch.tensor([0.75, 0.25])]
    levels = torch.tensor([[0], [1]])
    assert sample_margins([torch.tensor([0.0, 0.4])], shares, levels).tolist() == pytest.approx([0.1, 0.5])
    narrow = Config(lowest=0.15, highest=0.45)
    assert sample_margins([torch.tensor([0.0, 0.4])], shares, levels, config=narrow).tolist() == pytest.approx(
        [0.15, 0.45]
    )


def test_class_part_by_hand():
    # n = 1 and 16: n^(-1/4) = 1 and 1/2, mean 3/4.
    assert class_offsets(torch.tensor([1, 16]), 0.4).tolist() == pytest.approx([0.1, -0.1])
    assert class_offsets(torch.tensor([1, 16]), 0.0).tolist() == [0.0, 0.0]


def test_balanced_weights_by_hand():
    # 1 / n = 1 and 1/3; mean over the four samples is (1 + 3 * 1/3) / 4 = 1/2, so the weights are 2 and 2/3.
    assert balanced_weights(torch.tensor([1, 3])).tolist() == pytest.approx([2.0, 2 / 3])
    assert balanced_weights(torch.tensor([1, 3]), beta=0.0).tolist() == pytest.approx([1.0, 1.0])
    # β = 1/2: effective numbers 1 and 7/4, weights 1 and 4/7 over their mean (1 + 12/7) / 4 = 19/28.
    assert balanced_weights(torch.tensor([1, 3]), beta=0.5).tolist() == pytest.approx([28 / 19, 16 / 19])
    assert balanced_weights(torch.tensor([0, 3])).tolist() == pytest.approx([0.0, 1.0])


def meta_loss_of(net, batch, meta, margins, lr):
    """The plain twin: take the step with the optimizer of torch, then measure."""
    copy = net_of(0)
    copy.load_state_dict(net.state_dict())
    optimizer = torch.optim.SGD(copy.parameters(), lr=lr)
    margin_loss(copy(batch.inputs), batch.labels, margins, 16.0).mean().backward()
    optimizer.step()
    return margin_loss(copy(meta.inputs), meta.labels, 0.2, 16.0).mean().item()


@pytest.mark.parametrize("seed", range(4))
def test_the_look_ahead_matches_central_differences(seed):
    net, batch, meta = net_of(seed), drawn(seed, n=4), drawn(seed + 50, n=9)
    margins = torch.full((4,), 0.2, dtype=torch.float64)
    look = look_ahead(net, batch, meta, margins, 0.05, Config())
    assert look.meta_loss == pytest.approx(meta_loss_of(net, batch, meta, margins, 0.05))
    for i in range(4):
        step = 1e-4 * F.one_hot(torch.tensor(i), 4)
        ends = [meta_loss_of(net, batch, meta, margins + sign * step, 0.05) for sign in (1, -1)]
        assert look.gradient[i].item() == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("angular", [False, True])
def test_the_identity_by_finite_differences_equals_autograd(seed, angular):
    config = Config(angular=angular)
    net, batch, meta = net_of(seed), drawn(seed), drawn(seed + 50, n=9)
    margins = torch.linspace(-0.1, 0.4, 12, dtype=torch.float64)
    exact = look_ahead(net, batch, meta, margins, 0.05, config)
    close = look_ahead_by_differences(net, batch, meta, margins, 0.05, config, epsilon=1e-4)
    torch.testing.assert_close(close.gradient, exact.gradient, rtol=1e-4, atol=1e-8)
    assert close.meta_loss == pytest.approx(exact.meta_loss)


@given(seeds)
def test_with_a_step_of_zero_there_is_no_hyper_gradient(seed):
    net, batch, meta = net_of(seed), drawn(seed), drawn(seed + 1)
    look = look_ahead(net, batch, meta, torch.full((12,), 0.2, dtype=torch.float64), 0.0, Config())
    assert torch.equal(look.gradient, torch.zeros(12, dtype=torch.float64))


def test_raising_all_margins_helps_when_the_meta_batch_is_the_training_batch():
    # Why offsets must be centred: here <grad L, d/dm grad L> > 0, so every margin is pushed up together.
    net, batch = net_of(3), drawn(3)
    margins = torch.full((12,), 0.2, dtype=torch.float64, requires_grad=True)
    parameters = list(net.parameters())
    loss = margin_loss(net(batch.inputs), batch.labels, margins, 16.0).mean()
    g = torch.autograd.grad(loss, parameters, create_graph=True)
    (along,) = torch.autograd.grad(sum(d.square().sum() for d in g) / 2, margins)
    assert along.sum() > 0
    assert look_ahead(net, batch, batch, margins, 1e-4, Config()).gradient.sum() <= 0


def test_a_level_absent_from_the_batch_is_moved_by_the_centring_alone():
    net, meta = net_of(2), drawn(52, n=9)
    batch = drawn(2)
    levels = batch.attributes.clone()
    levels[:, 1] = 0
    batch = Batch(batch.inputs, batch.labels, levels)
    look = look_ahead(net, batch, meta, torch.full((12,), 0.2, dtype=torch.float64), 0.05, Config())
    tables = [torch.zeros(k, dtype=torch.float64, requires_grad=True) for k in LEVELS]
    shares = [torch.full((k,), 1 / k, dtype=torch.float64) for k in LEVELS]
    found = torch.autograd.grad(sample_margins(tables, shares, levels), tables, grad_outputs=look.gradient)
    total = look.gradient.sum()
    torch.testing.assert_close(found[1], torch.stack([total * 2 / 3, -total / 3, -total / 3]))


def test_learning_leaves_net_gradients_optimizer_and_random_state_untouched():
    net, batch, meta = net_of(4, torch.float32), drawn(4, dtype=torch.float32), drawn(54, dtype=torch.float32)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    margin_loss(net(batch.inputs), batch.labels, 0.2, 16.0).mean().backward()
    optimizer.step()
    before = [p.detach().clone() for p in net.parameters()]
    gradients = [p.grad.clone() for p in net.parameters()]
    momentum = [state["momentum_buffer"].clone() for state in optimizer.state.values()]
    random = torch.get_rng_state()
    method = MvCoM(batch.attributes, LEVELS, torch.bincount(batch.labels, minlength=N_CLASSES))
    method.learn(net, batch, meta, lr=0.05)
    assert any(table.abs().max() > 0 for table in method.predictor.tables)
    assert all(map(torch.equal, before, net.parameters()))
    assert all(map(torch.equal, gradients, (p.grad for p in net.parameters())))
    assert all(map(torch.equal, momentum, (state["momentum_buffer"] for state in optimizer.state.values())))
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize("first_order", [False, True])
def test_offsets_stay_within_the_cap_and_average_to_zero(first_order):
    net, everything = net_of(6, torch.float32), drawn(6, n=60, dtype=torch.float32)
    counts = torch.bincount(everything.labels, minlength=N_CLASSES)
    method = MvCoM(everything.attributes, LEVELS, counts, Config(cap=0.1, first_order=first_order))
    for step in range(8):
        method.learn(net, drawn(step, dtype=torch.float32), drawn(99, dtype=torch.float32), lr=0.05)
    assert max(table.abs().max().item() for table in method.predictor.tables) == pytest.approx(0.1)
    for offsets, share in zip(method.offsets(), method.predictor.shares, strict=True):
        assert (offsets * share).sum().item() == pytest.approx(0, abs=1e-6)


def test_agreement_equals_a_plain_loop_of_gradients():
    net, batch, meta = net_of(7), drawn(7, n=5), drawn(57, n=9)
    margins = torch.linspace(0.0, 0.4, 5, dtype=torch.float64)

    def flat(loss):
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])

    whole = flat(margin_loss(net(meta.inputs), meta.labels, 0.2, 16.0).mean())
    each = [flat(margin_loss(net(batch.inputs), batch.labels, margins, 16.0)[i]) for i in range(5)]
    expected = torch.stack([F.cosine_similarity(g, whole, dim=0) for g in each])
    torch.testing.assert_close(meta_agreement(net, batch, meta, margins, Config()), expected)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scale": 0.0}, "scale and meta_lr must be positive"),
        ({"cap": -0.1}, "cap must not be negative"),
        ({"margin": 0.9}, "margin must lie between lowest and highest"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        Config(**options)
