"""Stacked nets end where each would end by itself, and costs are what the two trainings differ by."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from workbench.demos.sharing.problem import Sharing
from workbench.demos.sharing.tasks import TaskSpec
from workbench.demos.sharing.training import Stack
from workbench.demos.sharing.truth import ETA, initial_cosine, measure

OWN = Sharing("own", "related", {"a": TaskSpec("digit", n=40), "b": TaskSpec("slant", n=70)}, steps=6)
COMMON = Sharing("common", "related", {"a": TaskSpec("digit", n=40), "b": TaskSpec("ink", n=40)}, common=True, steps=6)
ONE_HEAD = Sharing("head", "x", {"a": TaskSpec("ink", head="h"), "b": TaskSpec("minus ink", head="h")}, steps=60)


@pytest.mark.parametrize("problem", [OWN, COMMON], ids=lambda problem: problem.name)
def test_a_stack_equals_one_training_after_the_other(problem):
    seeds = (3, 8)
    stack = Stack(problem, seeds, problem.tasks)
    stack.train()
    scores, losses = stack.test()
    for r, seed in enumerate(seeds):
        net = problem.build_model(seed)
        optimizer = problem.optimizer(net)
        for batch in islice(problem.batches(seed), problem.steps):
            optimizer.zero_grad()
            sum(loss.mean() for loss in problem.losses(net, batch).values()).backward()
            optimizer.step()
        for name, value in net.named_parameters():
            torch.testing.assert_close(stack.weights[name][r], value.detach(), rtol=1e-3, atol=1e-4)
        found = problem.evaluate(net)
        assert scores[:, r] == pytest.approx([found[task] for task in problem.tasks], abs=2e-3)
        with torch.no_grad():
            output = net({"a": problem.data["a"].test_images})["a"]
        assert losses[0, r] == pytest.approx(
            problem.loss("a", output, problem.data["a"].test_answers).mean().item(), rel=1e-3
        )


def test_a_task_trained_alone_leaves_the_other_s_head_as_it_was():
    stack = Stack(OWN, (0,), ["a"])
    before = stack.weights["heads.b.weight"].clone()
    stack.train()
    assert torch.equal(stack.weights["heads.b.weight"], before)
    assert stack.test()[0].shape == (1, 1)


def test_the_cosine_at_the_start_is_that_of_plain_gradients():
    cosine = initial_cosine(COMMON, (5,))
    net = COMMON.build_model(5)
    shared = [p for part in COMMON.shared(net).values() for p in part.parameters()]
    found = []
    for batch in islice(COMMON.batches(5), 4):
        losses = COMMON.losses(net, batch)
        a, b = (
            torch.cat([g.flatten() for g in torch.autograd.grad(losses[t].mean(), shared, retain_graph=True)])
            for t in ("a", "b")
        )
        found.append(float(torch.nn.functional.cosine_similarity(a, b, dim=0)))
    assert cosine[0, 1] == pytest.approx(np.mean(found), abs=1e-4)
    assert np.diag(cosine) == pytest.approx([1, 1], abs=1e-4)


def test_affinity_is_the_relative_fall_of_the_loss_by_a_plain_step():
    once = Sharing("own", "related", OWN.specs, steps=1)
    affinity = np.array(measure(once, (5,)).affinity)
    net = once.build_model(5)
    batch = next(once.batches(5))
    shared = list(net.trunk.parameters())
    before = {task: loss.mean() for task, loss in once.losses(net, batch).items()}
    gradient = torch.autograd.grad(before["a"], shared)
    with torch.no_grad():
        for parameter, g in zip(shared, gradient, strict=True):
            parameter.sub_(ETA * g)
        after = once.losses(net, batch)["b"].mean()
        fall = (1 - after / before["b"]).item() / ETA
    assert affinity[0, 1] == pytest.approx(fall, abs=1e-3)


def test_opposite_answers_from_one_head_cost_and_equal_problems_cost_the_same():
    truth = measure(ONE_HEAD, (0, 1, 2))
    assert truth.cost.shape == (2, 3)
    assert (truth.cost > 20).all()
    again = measure(ONE_HEAD, (0, 1, 2))
    np.testing.assert_allclose(again.cost, truth.cost, atol=1e-6)
