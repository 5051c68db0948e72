"""Mahalanobis scores, growing heads, distillation and the moving average: closed forms, invariances."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mahalanobis_streams import drawn, net_of, rotation, seeds, stream, trained

from workbench.core import ConfigError
from workbench.methods.mahalanobis_continual import (
    Config,
    LinearHead,
    MahalanobisHead,
    MovingAverage,
    class_metrics,
    distillation,
    mahalanobis_scores,
    metric_penalty,
    warmed_decay,
)

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
