"""MvCoM on soft attribute scores: small nets in place of tables, their centring, their gradients, what they learn."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from workbench.core import ConfigError
from workbench.methods._cosine_margin import cosines, margin_loss
from workbench.methods.mvcom import Batch, Config, LevelOffsets, MvCoM, SoftOffsets, look_ahead, sample_margins

seeds = st.integers(0, 2**31 - 1)
LEVELS = (2, 3)
N_CLASSES = 4
WIDE = Config(lowest=-9.0, highest=9.0)


class CosineNet(nn.Module):
    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.first = nn.Linear(6, 8, dtype=dtype)
        self.weight = nn.Parameter(torch.randn(N_CLASSES, 8, dtype=dtype))

    def forward(self, inputs):
        return cosines(torch.tanh(self.first(inputs)), self.weight)


def net_of(seed, dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CosineNet(dtype)


def drawn(seed, n=12, dtype=torch.float32):
    """Samples whose scores are probabilities that nobody is sure of."""
    draw = torch.Generator().manual_seed(seed)
    scores = [torch.randn(n, k, generator=draw, dtype=dtype).softmax(dim=1) for k in LEVELS]
    inputs = torch.randn(n, 6, generator=draw, dtype=dtype)
    return Batch(inputs, torch.randint(N_CLASSES, (n,), generator=draw), torch.cat(scores, dim=1))


def random_predictor(seed, scores, config=WIDE):
    """One whose last layers are no longer 0."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        predictor = SoftOffsets(scores, LEVELS, config)
        for parameter in predictor.parameters():
            nn.init.normal_(parameter)
    return predictor.to(scores.dtype)


PLAIN = Config()


def method_of(scores, config=PLAIN):
    return MvCoM(scores, LEVELS, torch.full((N_CLASSES,), 5), config)


@given(seeds)
def test_before_anything_is_learned_the_loss_is_cosface_to_the_last_bit(seed):
    batch, net = drawn(seed), net_of(seed)
    method = method_of(batch.attributes)
    assert isinstance(method.predictor, SoftOffsets)
    cosine = net(batch.inputs)
    assert torch.equal(method.loss(cosine, batch), margin_loss(cosine, batch.labels, 0.2, 16.0))


@given(seeds)
def test_sure_scores_are_levels(seed):
    """With one-hot scores a net is a table: its answers at the levels, centred by their shares."""
    draw = torch.Generator().manual_seed(seed)
    levels = torch.stack([torch.randint(k, (30,), generator=draw) for k in LEVELS], dim=1)
    sure = torch.cat([F.one_hot(levels[:, v], k).float() for v, k in enumerate(LEVELS)], dim=1)
    predictor = random_predictor(seed, sure)
    by_hand = LevelOffsets(levels, LEVELS, WIDE)
    tables = [WIDE.cap * torch.tanh(net(torch.eye(k))[:, 0]) for net, k in zip(predictor.nets, LEVELS, strict=True)]
    expected = sample_margins(tables, by_hand.shares, levels, config=WIDE)
    torch.testing.assert_close(WIDE.margin + predictor(sure), expected)
    for found, table, share in zip(predictor.by_level(), tables, by_hand.shares, strict=True):
        torch.testing.assert_close(found, (table - (share * table).sum()).detach())


@given(seeds)
def test_offsets_average_to_zero_over_the_training_set_and_stay_within_the_cap(seed):
    scores = drawn(seed, n=50, dtype=torch.float64).attributes
    predictor = random_predictor(seed, scores, Config(cap=0.3))
    offsets = predictor(scores)
    assert offsets.mean().item() == pytest.approx(0, abs=1e-9)
    # Each variation's answers lie within ±cap, so the centred sum of two lies within ±4 caps.
    assert offsets.abs().max() <= 4 * 0.3


@given(seeds)
def test_the_margin_is_a_sum_over_variations(seed):
    """Additive: what a change of one variation's scores does is the same whatever the others are."""
    scores = drawn(seed, n=20, dtype=torch.float64).attributes
    predictor = random_predictor(seed, scores)
    a, b = scores[:5].clone(), scores[5:10].clone()
    changed_a, changed_b = a.clone(), b.clone()
    changed_a[:, :2] = changed_b[:, :2] = scores[10:15, :2]
    a[:, :2] = b[:, :2]
    torch.testing.assert_close(predictor(changed_a) - predictor(a), predictor(changed_b) - predictor(b))


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_of_the_meta_loss_matches_central_differences(seed):
    net, batch, meta = net_of(seed, torch.float64), drawn(seed, dtype=torch.float64), drawn(90, dtype=torch.float64)
    config = Config(hidden=3)
    predictor = random_predictor(seed, batch.attributes, config)

    def meta_loss():
        margins = config.margin + predictor(batch.attributes)
        return look_ahead(net, batch, meta, margins, 0.05, config).meta_loss

    margins = config.margin + predictor(batch.attributes)
    look = look_ahead(net, batch, meta, margins, 0.05, config)
    exact = torch.autograd.grad(margins, predictor.learned, grad_outputs=look.gradient)
    for parameter, gradient in zip(predictor.learned, exact, strict=True):
        flat = parameter.detach().view(-1)
        for place in range(len(flat)):
            ends = []
            for step in (1e-4, -2e-4):
                flat[place] += step
                ends.append(meta_loss())
            flat[place] += 1e-4
            assert gradient.view(-1)[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("first_order", [False, True])
def test_learning_moves_the_nets_and_neither_the_model_nor_its_gradients(first_order):
    net, batch, meta = net_of(4), drawn(4), drawn(54)
    before = [p.detach().clone() for p in net.parameters()]
    method = method_of(drawn(7, n=60).attributes, Config(cap=0.2, first_order=first_order))
    random = torch.get_rng_state()
    for _ in range(3):
        method.learn(net, batch, meta, lr=0.05)
    assert torch.equal(random, torch.get_rng_state())
    assert all(map(torch.equal, before, net.parameters()))
    assert all(p.grad is None for p in net.parameters())
    assert max(offsets.abs().max().item() for offsets in method.offsets()) > 0
    assert [len(offsets) for offsets in method.offsets()] == list(LEVELS)


def test_with_cap_zero_a_training_is_that_of_cosface_to_the_last_bit():
    def trained(method):
        net = net_of(1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        for step in range(4):
            batch = drawn(step)
            if method is not None:
                method.learn(net, batch, drawn(99), lr=0.05)
            cosine = net(batch.inputs)
            loss = method.loss(cosine, batch) if method else margin_loss(cosine, batch.labels, 0.2, 16.0)
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
        return list(net.parameters())

    scores = drawn(5, n=60).attributes
    assert all(map(torch.equal, trained(method_of(scores, Config(cap=0.0))), trained(None)))
    assert not all(map(torch.equal, trained(method_of(scores)), trained(None)))


def test_scores_must_cover_all_levels():
    with pytest.raises(ConfigError, match="5 levels need as many columns of scores; got 4"):
        method_of(torch.rand(9, 4))
