"""Mahalanobis continual: neutral settings, exemplars, and where the metric must matter."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mahalanobis_streams import net_of, parameters, same, seeds, stream, trained
from torch import nn
from torch.nn import functional as F

from workbench.core import ConfigError
from workbench.methods.mahalanobis_continual import (
    Config,
    GrowingNet,
    LinearHead,
    MahalanobisHead,
    choose_exemplars,
    distillation,
)

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
