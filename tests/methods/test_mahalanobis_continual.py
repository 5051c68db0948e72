"""Mahalanobis scores, growing heads, distillation and the moving average: closed forms, invariances, neutrality."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from workbench.core import ConfigError
from workbench.methods.mahalanobis_continual import (
    Config,
    GrowingNet,
    LinearHead,
    MahalanobisContinual,
    MahalanobisHead,
    MovingAverage,
    choose_exemplars,
    class_metrics,
    distillation,
    mahalanobis_scores,
    metric_penalty,
    warmed_decay,
)

seeds = st.integers(0, 2**31 - 1)


def drawn(seed, b=5, c=4, r=3, d=6):
    """Features [B, D], centres [C, D], factors [C, R, D], biases [C] in float64."""
    draw = torch.Generator().manual_seed(seed)
    shapes = ((b, d), (c, d), (c, r, d), (c,))
    return [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]


def rotation(seed, d):
    draw = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(d, d, generator=draw, dtype=torch.float64))[0]


def net_of(head, width=6, normalised=False):
    layers = [nn.Linear(4, width), *([nn.BatchNorm1d(width)] if normalised else []), nn.Tanh()]
    return GrowingNet(nn.Sequential(*layers), head)


def stream(seed, n_tasks=3, n=24):
    """Examples of two classes a task."""
    draw = torch.Generator().manual_seed(seed)
    for task in range(n_tasks):
        labels = 2 * task + torch.arange(n) % 2
        yield torch.randn(n, 4, generator=draw) + labels[:, None], labels


def trained(config, head=None, n_tasks=3, steps=6, seed=0):
    """A learner after a short stream, and every loss on the way."""
    torch.manual_seed(seed)
    learner = MahalanobisContinual(net_of(head or MahalanobisHead(6, 3, 1.0)), config)
    history = []
    for x, labels in stream(seed, n_tasks):
        learner.begin_task(x, labels)
        optimizer = torch.optim.Adam([p for p in learner.net.parameters() if p.requires_grad], lr=0.01)
        for _ in range(steps):
            losses = learner.losses(x, labels)
            history.append({name: loss.detach().clone() for name, loss in losses.items()})
            optimizer.zero_grad()
            sum(loss.mean() for loss in losses.values()).backward()
            optimizer.step()
            learner.after_step()
    return learner, history


def parameters(net):
    return [value.clone() for value in net.state_dict().values()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# -- scores -----------------------------------------------------------------------------------------------------------


def test_two_classes_by_hand():
    # At z = (1, 2): class 0 measures only the first axis, doubled, from the origin: -(2 * 1)² + 1 = -3.
    # Class 1 measures only the second axis from (0, 5): -(2 - 5)² + 0 = -9.
    factors = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]])
    scores = mahalanobis_scores(
        torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0], [0.0, 5.0]]), factors, torch.tensor([1.0, 0.0])
    )
    assert scores.tolist() == [[-3.0, -9.0]]
    assert class_metrics(factors).tolist() == [[[4.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]]


@given(seeds)
def test_scores_equal_a_plain_loop(seed):
    z, centres, factors, biases = drawn(seed)
    found = mahalanobis_scores(z, centres, factors, biases)
    for i in range(len(z)):
        for c in range(len(centres)):
            apart = z[i] - centres[c]
            sigma = factors[c].T @ factors[c]
            assert found[i, c].item() == pytest.approx((-apart @ sigma @ apart + biases[c]).item(), abs=1e-9)


@given(seeds, st.floats(0.1, 3))
def test_equal_round_metrics_make_a_linear_layer(seed, strength):
    z, centres, _, _ = drawn(seed)
    eye = strength**0.5 * torch.eye(6, dtype=torch.float64).expand(len(centres), -1, -1)
    scores = mahalanobis_scores(z, centres, eye, strength * centres.square().sum(dim=1))
    linear = z @ (2 * strength * centres).T
    torch.testing.assert_close(scores.softmax(dim=1), linear.softmax(dim=1), atol=1e-6, rtol=0)


@given(seeds)
def test_the_centre_scores_highest_and_the_metric_is_positive_semidefinite(seed):
    z, centres, factors, biases = drawn(seed)
    at_centre = mahalanobis_scores(centres, centres, factors, biases).diagonal()
    assert torch.equal(at_centre, biases)
    assert (mahalanobis_scores(z, centres, factors, biases) <= biases).all()
    assert torch.linalg.eigvalsh(class_metrics(factors)).min() > -1e-9


@given(seeds)
def test_what_leaves_scores_or_probabilities_unchanged(seed):
    z, centres, factors, biases = drawn(seed)
    scores = mahalanobis_scores(z, centres, factors, biases)
    among_rows, of_space = rotation(seed, 3), rotation(seed + 1, 6)
    shift = torch.linspace(-2, 2, 6, dtype=torch.float64)
    torch.testing.assert_close(mahalanobis_scores(z, centres, among_rows @ factors, biases), scores)
    torch.testing.assert_close(mahalanobis_scores(z + shift, centres + shift, factors, biases), scores)
    turned = mahalanobis_scores(z @ of_space.T, centres @ of_space.T, factors @ of_space.T, biases)
    torch.testing.assert_close(turned, scores)
    raised = mahalanobis_scores(z, centres, factors, biases + 3.7)
    torch.testing.assert_close(raised.softmax(dim=1), scores.softmax(dim=1))


def test_the_penalty_is_zero_at_the_identity_and_counts_squares():
    eye = torch.eye(4).expand(3, -1, -1)
    assert metric_penalty(eye).item() == 0
    # Σ = 2 I off by 1 in each of 4 diagonal entries: 4 / 4² a class, and two classes.
    assert metric_penalty(2**0.5 * eye[:2]).item() == pytest.approx(2 * 4 / 16, rel=1e-5)


# -- growing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [MahalanobisHead(6, 3, 1.0), LinearHead(6)], ids=["mahalanobis", "linear"])
def test_a_new_class_leaves_the_others_scores(head):
    """To the last bit with metrics; a linear layer's product may round otherwise when it gets another column."""
    net = net_of(head)
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    for given_x, labels in stream(1):
        before = net(x).detach()
        net.grow(given_x, labels)
        assert net(x).shape == (7, before.shape[1] + 2)
        kept = net(x)[:, : before.shape[1]].detach()
        torch.testing.assert_close(kept, before, atol=1e-6, rtol=0)
        assert torch.equal(kept, before) or isinstance(head, LinearHead)


def test_centres_start_at_the_class_means_of_the_features():
    net = net_of(MahalanobisHead(6, 3, 1.0))
    (x, labels), *_ = stream(0)
    net.grow(x, labels)
    torch.testing.assert_close(net.head.centres[1].detach(), net.backbone(x[labels == 1]).detach().mean(dim=0))
    # The rows of L start orthonormal, the same for both classes.
    torch.testing.assert_close(net.head.factors[0] @ net.head.factors[0].T, torch.eye(3))
    assert torch.equal(net.head.factors[0], net.head.factors[1])


def test_classes_must_come_in_order():
    net = net_of(LinearHead(6))
    with pytest.raises(ConfigError, match=r"numbered from 0 on without gaps; got \[0, 2\]"):
        net.grow(torch.randn(4, 4), torch.tensor([0, 2, 0, 2]))


def test_a_metric_that_is_not_learned_stays():
    learner, _ = trained(Config(rank=6), MahalanobisHead(6, 6, 1.0, learn_metric=False))
    torch.testing.assert_close(class_metrics(learner.net.head.factors), torch.eye(6).expand(6, -1, -1))
    assert learner.net.head.biases.tolist() == [0.0] * 6


# -- distillation -----------------------------------------------------------------------------------------------------


def test_distillation_by_hand():
    # Teacher 3 : 1, student 1 : 1 at T = 1: KL = 3/4 ln(3/2) + 1/4 ln(1/2).
    found = distillation(torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]]), 1.0)
    assert found.tolist() == pytest.approx([0.75 * math.log(1.5) + 0.25 * math.log(0.5)], abs=1e-6)


@given(seeds, st.floats(0.5, 5))
def test_distillation_is_zero_only_between_equal_distributions(seed, temperature):
    student, teacher = drawn(seed, b=4, c=4, d=4)[:2]
    assert (distillation(student, teacher, temperature) > 1e-9).all()
    torch.testing.assert_close(distillation(student + 2.5, student, temperature), torch.zeros_like(student[:, 0]))
    moved = distillation(student, teacher + 1.5, temperature)
    torch.testing.assert_close(moved, distillation(student, teacher, temperature))


def test_distillation_reaches_the_backbone_but_neither_the_teacher_nor_the_new_classes():
    learner, _ = trained(Config(), n_tasks=1)
    *_, (x, _labels), (new, new_labels) = stream(5, 2)
    learner.begin_task(new, new_labels)
    learner.losses(x, torch.zeros(len(x), dtype=torch.int64))["distillation"].mean().backward()
    head = learner.net.head
    assert learner.net.backbone[0].weight.grad.abs().sum() > 0
    for grad in (head.centres.grad, head.factors.grad, head.biases.grad):
        assert grad[:2].abs().sum() > 0
        assert (grad[2:] == 0).all()
    assert all(parameter.grad is None for parameter in learner.teacher.net.parameters())


# -- the moving average -----------------------------------------------------------------------------------------------


@given(seeds, st.floats(0, 1))
def test_the_average_has_its_closed_form(seed, decay):
    torch.manual_seed(seed)
    net = net_of(LinearHead(6)).double()
    average = MovingAverage(net, decay)
    start, seen = net.backbone[0].weight.detach().clone(), []
    for _ in range(4):
        with torch.no_grad():
            net.backbone[0].weight.normal_()
        seen.append(net.backbone[0].weight.detach().clone())
        average.update(net)
    weights = [(1 - decay) * decay ** (len(seen) - 1 - i) for i in range(len(seen))]
    closed = decay ** len(seen) * start + sum(w * value for w, value in zip(weights, seen, strict=True))
    torch.testing.assert_close(average.net.backbone[0].weight, closed)


def test_buffers_are_averaged_and_counters_copied():
    net = net_of(LinearHead(6), normalised=True)
    average = MovingAverage(net, 0.75)
    net.train()(torch.randn(16, 4, generator=torch.Generator().manual_seed(0)) + 3)
    average.update(net)
    mine, theirs = average.net.backbone[1], net.backbone[1]
    torch.testing.assert_close(mine.running_mean, 0.25 * theirs.running_mean)
    assert mine.num_batches_tracked.item() == theirs.num_batches_tracked.item() == 1
    assert not mine.training


def test_the_average_takes_new_classes_as_they_are_and_keeps_its_own_old_ones():
    (x, labels), (new, new_labels) = stream(0, 2)
    net = net_of(MahalanobisHead(6, 3, 1.0))
    net.grow(x, labels)
    average = MovingAverage(net, 0.9)
    with torch.no_grad():
        net.head.centres.add_(1.0)
    old = average.net.head.centres.clone()
    net.grow(new, new_labels)
    average.expand(net)
    assert torch.equal(average.net.head.centres, torch.cat([old, net.head.centres[2:].detach()]))
    assert average.net(x).shape == net(x).shape


def test_warm_up_follows_at_first_and_never_exceeds_the_decay():
    assert [warmed_decay(0.99, k) for k in (0, 8)] == [0.1, 0.5]
    assert warmed_decay(0.99, 10_000) == 0.99
    assert warmed_decay(0.0, 50) == 0.0


def test_distance_is_relative_to_the_net():
    net = net_of(LinearHead(6))
    average = MovingAverage(net, 1.0)
    assert average.distance(net) == 0
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2)
    assert average.distance(net) == pytest.approx(0.5)


# -- neutral settings -------------------------------------------------------------------------------------------------


def plainly_trained(seed=0, n_tasks=3, steps=6):
    """The stream by plain cross-entropy on a growing net, without the learner."""
    torch.manual_seed(seed)
    net = net_of(MahalanobisHead(6, 3, 1.0))
    for x, labels in stream(seed, n_tasks):
        net.grow(x, labels)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(net(x), labels, reduction="none").mean().backward()
            optimizer.step()
    return net


@pytest.mark.parametrize("decay", [0.0, 0.99, 1.0])
def test_without_distillation_it_is_plain_training_to_the_last_bit(decay):
    learner, history = trained(Config(rank=3, distil=0, decay=decay))
    assert same(parameters(learner.net), parameters(plainly_trained()))
    assert all(set(losses) == {"classes"} for losses in history)


def test_one_task_alone_is_plain_training_to_the_last_bit():
    learner, _ = trained(Config(rank=3), n_tasks=1)
    assert same(parameters(learner.net), parameters(plainly_trained(n_tasks=1)))


def test_decay_one_is_the_frozen_model_of_the_previous_task_to_the_last_bit():
    torch.manual_seed(0)
    net, frozen, n_old = net_of(MahalanobisHead(6, 3, 1.0)), None, 0
    for x, labels in stream(0):
        n_old = net.n_classes
        net.grow(x, labels)
        frozen = copy.deepcopy(net).requires_grad_(False)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(6):
            scores = net(x)
            loss = F.cross_entropy(scores, labels, reduction="none").mean()
            if n_old:
                loss = loss + distillation(scores[:, :n_old], frozen(x)[:, :n_old], 2.0).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    learner, _ = trained(Config(rank=3, decay=1.0))
    assert same(parameters(learner.net), parameters(net))
    assert same(parameters(learner.teacher.net), parameters(frozen))


def test_decay_zero_makes_the_teacher_the_student_and_distils_nothing():
    learner, history = trained(Config(rank=3, decay=0.0))
    assert same(parameters(learner.teacher.net), parameters(learner.net))
    distilled = [losses["distillation"] for losses in history if "distillation" in losses]
    assert len(distilled) == 12
    assert max(loss.abs().max().item() for loss in distilled) < 1e-6
    x, labels = next(iter(stream(9)))
    learner.net.zero_grad()
    learner.losses(x, labels)["distillation"].mean().backward()
    assert max(p.grad.abs().max().item() for p in learner.net.parameters()) < 1e-5


def test_the_penalty_joins_the_loss_only_when_asked():
    learner, history = trained(Config(rank=3, metric_penalty=0.5), n_tasks=1, steps=1)
    # Σ starts as a projection on 3 of 6 directions: 3 entries off by 1 a class, two classes, times 0.5.
    assert history[0]["metric"].tolist() == pytest.approx([0.5 * 2 * 3 / 36], rel=1e-4)
    assert set(learner.losses(*next(iter(stream(0))))) == {"classes", "metric"}


# -- exemplars, settings ----------------------------------------------------------------------------------------------


@given(seeds, st.integers(1, 3), st.integers(1, 4))
def test_exemplars_have_their_exact_number_per_class_and_domain(seed, each, n_domains):
    rng = np.random.default_rng(seed)
    labels = np.tile(np.repeat([3, 5, 6], 4), n_domains)
    domains = np.repeat(np.arange(n_domains), 12)
    order = rng.permutation(len(labels))
    chosen = choose_exemplars(labels[order], domains[order], each * n_domains, rng)
    assert len(set(chosen.tolist())) == len(chosen) == 3 * each * n_domains
    pairs, counts = np.unique(np.stack([labels[order][chosen], domains[order][chosen]]), axis=1, return_counts=True)
    assert pairs.shape[1] == 3 * n_domains
    assert (counts == each).all()


def test_exemplars_that_cannot_be_had_are_named():
    labels, domains, rng = np.array([0, 0, 0]), np.array([0, 0, 1]), np.random.default_rng(0)
    with pytest.raises(ConfigError, match="3 exemplars a class cannot be shared equally by 2 domains"):
        choose_exemplars(labels, domains, 3, rng)
    with pytest.raises(ConfigError, match="Class 0 has 1 examples in domain 1, but 2 exemplars"):
        choose_exemplars(labels, domains, 4, rng)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rank": 0}, "rank=0"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"start": 0.0}, "start=0.0"),
        ({"distil": -1.0}, "got -1.0"),
        ({"decay": 1.5}, "must lie in"),
    ],
)
def test_impossible_settings_are_named(settings, said):
    with pytest.raises(ConfigError, match=said):
        Config(**settings)


def test_a_rank_above_the_width_is_named():
    with pytest.raises(ConfigError, match="must not exceed the width of the features, 4; got 5"):
        MahalanobisHead(4, 5)


# -- where the metric must matter -------------------------------------------------------------------------------------


def concentric(n, seed):
    """Two round clouds in 6-D around one centre, of standard deviations 0.5 and 2."""
    draw = torch.Generator().manual_seed(seed)
    spread = torch.tensor([0.5, 2.0]).repeat_interleave(n)
    return spread[:, None] * torch.randn(2 * n, 6, generator=draw), torch.arange(2).repeat_interleave(n)


def fitted_accuracy(head, seed, frozen=()):
    torch.manual_seed(seed)
    x, labels = concentric(300, seed)
    net = GrowingNet(nn.Identity(), head)
    net.grow(x, labels)
    trained_parts = [p for name, p in net.named_parameters() if name not in frozen]
    optimizer = torch.optim.Adam(trained_parts, lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        F.cross_entropy(net(x), labels).backward()
        optimizer.step()
    fresh, truth = concentric(1000, seed + 1000)
    return (net(fresh).argmax(dim=1) == truth).double().mean().item()


@pytest.mark.parametrize("seed", range(3))
def test_metrics_tell_two_concentric_clouds_apart_and_a_linear_head_cannot(seed):
    assert fitted_accuracy(MahalanobisHead(6, 6, 1.0), seed) > 0.95
    assert fitted_accuracy(LinearHead(6), seed) < 0.65


@pytest.mark.parametrize("seed", range(3))
def test_the_bias_stands_for_the_determinant_unless_the_centres_can(seed):
    # Without b, a score never exceeds 0, so with both centres in the middle the wider metric wins everywhere. Centres
    # that are free to leave the middle make up for it.
    held = fitted_accuracy(MahalanobisHead(6, 6, 1.0), seed, frozen=("head.biases", "head.centres"))
    free = fitted_accuracy(MahalanobisHead(6, 6, 1.0), seed, frozen=("head.biases",))
    assert held < 0.8
    assert free > 0.95
