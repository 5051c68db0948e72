"""GradSplit: the look-ahead relation, gradients on groups, the rule for any loop, and mistakes."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from gradsplit_nets import (
    TASKS,
    batch_of,
    filled,
    gradients_of,
    losses_of,
    net_of,
    relations,
    seeds,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from workbench.core import ConfigError
from workbench.methods.gradsplit import (
    Config,
    GradSplit,
    conflict_left,
    gradient_rule,
    group_cosines,
    group_gram,
    influence,
    relation_by_trials,
    relation_of,
    shared_layers,
)

# -- the relation -----------------------------------------------------------------------------------------------------


def quadratic(curvatures, minima):
    """One shared parameter vector θ at 0; L_i = curvature_i / 2 |θ − minimum_i|² + 1."""
    net = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        net.weight.zero_()
    targets = [torch.tensor([m], dtype=torch.float64) for m in minima]

    def losses():
        return {
            str(i): c / 2 * (net.weight - t).square().sum() + 1
            for i, (c, t) in enumerate(zip(curvatures, targets, strict=True))
        }

    return net, losses


def test_influence_of_two_parabolas_is_its_closed_form():
    # θ = 0, minima at (1, 0) and (−1, 0), curvatures 1 and 4: L = (1.5, 3). A step of 0.1 towards (1, 0) leaves
    # L_0 = 1 + 0.9²/2 and L_1 = 1 + 2 · 1.1²; one towards (−1, 0) leaves 1 + 1.1²/2 and 1 + 2 · 0.9².
    net, losses = quadratic([1.0, 4.0], [(1.0, 0.0), (-1.0, 0.0)])
    z = influence(net, [net.weight], losses, eta=0.1)
    expected = [[1 - 1.405 / 1.5, 1 - 1.605 / 1.5], [1 - 3.42 / 3, 1 - 2.62 / 3]]
    torch.testing.assert_close(z, torch.tensor(expected, dtype=torch.float64))
    assert relation_of(z[None]).tolist() == [[True, False], [False, True]]


def test_curvature_makes_the_relation_asymmetric():
    # The gradients agree a little (0.2 of two lengths near 1), so to first order each step helps both. But the second
    # loss is bent sharply along the first's direction: a whole step there raises it.
    net, losses = quadratic([1.0, 1.0], [(1.0, 0.1), (0.1, 1.0)])

    def bent():
        found = losses()
        return found | {"1": found["1"] + 40 * net.weight[0, 0] ** 2}

    z = influence(net, [net.weight], bent, eta=0.1)
    assert relation_of(z[None]).tolist() == [[True, True], [False, True]]
    gradients = [torch.autograd.grad(loss, net.weight)[0] for loss in bent().values()]
    assert (gradients[0] * gradients[1]).sum() > 0  # the cosine alone would have let both in


@given(seeds)
def test_a_small_step_on_a_task_lowers_its_own_loss(seed):
    net, batch = net_of(seed), batch_of(seed)
    z = influence(net, net.shared, lambda: means_of(net, batch), eta=1e-4)
    assert (z.diagonal() > 0).all()


def means_of(net, batch):
    return {task: loss.mean() for task, loss in losses_of(net, batch).items()}


@given(seeds, st.tuples(*[st.floats(1e-3, 1e3)] * 3))
def test_influence_does_not_see_the_scale_of_a_loss(seed, scales):
    net, batch = net_of(seed), batch_of(seed)
    plain = influence(net, net.shared, lambda: means_of(net, batch))
    scaled = influence(
        net, net.shared, lambda: {t: s * m for s, (t, m) in zip(scales, means_of(net, batch).items(), strict=True)}
    )
    torch.testing.assert_close(plain, scaled, rtol=1e-6, atol=1e-9)


def test_influence_is_first_order_the_inner_product_over_the_loss():
    net, batch = net_of(), batch_of()
    z = influence(net, net.shared, lambda: means_of(net, batch), eta=1e-6) / 1e-6
    means = means_of(net, batch)
    flat = [
        torch.cat([g.flatten() for g in torch.autograd.grad(m, net.shared, retain_graph=True)]) for m in means.values()
    ]
    expected = [[(gi @ gj / gj.norm() / m).item() for gj in flat] for gi, m in zip(flat, means.values(), strict=True)]
    torch.testing.assert_close(z, torch.tensor(expected, dtype=torch.float64), rtol=1e-3, atol=1e-6)


def test_probing_leaves_no_trace():
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2)).train()
    x, y = torch.randn(8, 4), torch.randint(2, (8,))
    optimiser = torch.optim.Adam(net.parameters())
    cross_entropy(net(x), y).backward()
    optimiser.step()
    before = copy.deepcopy((net.state_dict(), optimiser.state_dict(), [p.grad for p in net.parameters()]))
    random = torch.get_rng_state()
    influence(net, list(net.parameters()), lambda: {"a": cross_entropy(net(x), y), "b": net(x).square().mean()})
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[0][name], value) for name, value in net.state_dict().items())
    assert str(before[1]) == str(optimiser.state_dict())
    assert all(torch.equal(a, p.grad) for a, p in zip(before[2], net.parameters(), strict=True))
    assert net.training


def test_weights_come_back_when_the_losses_fail():
    net, losses = quadratic([1.0], [(1.0, 0.0)])
    calls = []

    def failing():
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("no more data")
        return losses()

    with pytest.raises(ValueError, match="no more data"):
        influence(net, [net.weight], failing)
    assert (net.weight == 0).all()


def test_a_task_without_gradient_moves_nothing_and_a_loss_of_zero_says_nothing():
    net, losses = quadratic([1.0, 1.0], [(1.0, 0.0), (0.0, 0.0)])
    z = influence(net, [net.weight], losses)
    assert z[:, 1].tolist() == [0.0, 0.0]
    shifted = influence(net, [net.weight], lambda: {"0": losses()["0"], "1": losses()["1"] - 1})
    assert shifted[1].isnan().all()
    assert relation_of(shifted[None]).tolist() == [[True, False], [False, True]]


def test_the_relation_is_the_sign_of_the_mean_over_probes():
    # The specification's example of three tasks, shifted up and down by probe noise that cancels in the mean.
    z = torch.tensor([[0.007, -0.004, 0.003], [-0.007, 0.013, -0.004], [0.002, -0.002, 0.007]])
    noise = torch.full((3, 3), 0.02)
    assert relation_of(torch.stack([z - noise, z + noise])).tolist() == [
        [True, False, True],
        [False, True, False],
        [True, False, True],
    ]
    assert torch.equal(relation_of(torch.empty(0, 3, 3)), torch.eye(3, dtype=torch.bool))


# -- gradients on groups ----------------------------------------------------------------------------------------------


def test_trials_admit_a_task_that_does_not_lower_the_owners_score():
    # What task j adds to the score of task i when it may enter group i; a score that is no number admits nobody.
    gain = torch.tensor([[9.0, 0.2, -0.1], [0.0, 9.0, math.nan], [-0.3, 0.1, 9.0]])
    tried = []

    def score(relation):
        tried.append(relation.int())
        return 0.5 + torch.where(relation & ~torch.eye(3, dtype=torch.bool), gain, 0.0).sum(1)

    found = relation_by_trials(score, 3)
    assert found.int().tolist() == [[1, 1, 0], [1, 1, 0], [0, 1, 1]]
    assert torch.equal(tried[0], torch.eye(3, dtype=torch.int32))
    assert len(tried) == 7
    assert all(len((one - tried[0]).nonzero()) == 1 for one in tried[1:])


def test_trials_of_one_task_train_it_once():
    assert relation_by_trials(lambda relation: torch.zeros(1), 1).tolist() == [[True]]


def test_gram_of_two_filters_worked_by_hand():
    a, b = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[-1.0, 1.0], [3.0, 1.0]])
    gram = group_gram([[a], [b]], 2)
    assert gram.tolist() == [[[1.0, -1.0], [-1.0, 2.0]], [[4.0, 2.0], [2.0, 10.0]]]
    r = group_cosines([[a], [b]], 2)
    assert r.flatten().tolist() == pytest.approx([1.0, -1 / math.sqrt(2), 2 / math.sqrt(40), 1.0])
    # On its own filter task a meets a gradient against it; on b's filter a pulls b's way: asymmetric.
    assert relation_of(r[None]).tolist() == [[True, False], [True, True]]
    assert conflict_left(gram, torch.ones(2, 2, dtype=torch.bool)).tolist() == [1.0, 0.0]
    assert conflict_left(gram, relation_of(r[None])).tolist() == [0.0, 0.0]


@given(seeds, relations())
def test_blocking_never_adds_conflict_and_the_identity_leaves_none(seed, relation):
    net, batch = net_of(seed), batch_of(seed)
    method = GradSplit(net, net.split, TASKS)
    gram = group_gram(method.backward(losses_of(net, batch)), 3)
    everything = conflict_left(gram, torch.ones(3, 3, dtype=torch.bool))
    assert (conflict_left(gram, relation) <= everything).all()
    assert (conflict_left(gram, torch.eye(3, dtype=torch.bool)) == 0).all()


def test_gram_sums_over_parameters_and_an_absent_gradient_counts_as_zero():
    a, b = torch.randn(4, 3), torch.randn(4)
    gram = group_gram([[a, b, None], [None, b, None]], 2)
    torch.testing.assert_close(gram[1, 0, 0], (a[2:].square().sum() + b[2:].square().sum()).double())
    torch.testing.assert_close(gram[0, 0, 1], b[:2].square().sum().double())
    assert group_cosines([[a], [None]], 2)[0, 1] == 0
    assert conflict_left(group_gram([[None], [a]], 2), torch.eye(2, dtype=torch.bool)).isnan().tolist() == [True, False]


# -- the rule for any loop --------------------------------------------------------------------------------------------


def test_the_rule_trains_plainly_while_it_watches_and_splits_from_then_on():
    net, plain = net_of(), net_of()
    rule = gradient_rule(net, config=Config(warmup=3))
    watched = []
    for step in range(3):
        batch = batch_of(step)
        for one in (net, plain):
            one.zero_grad()
        watched.append(rule_cosines(plain, batch))
        rule(losses_of(net, batch))
        torch.stack([loss.mean() for loss in losses_of(plain, batch).values()]).sum().backward()
        assert all(torch.equal(a.grad, b.grad) for a, b in zip(net.parameters(), plain.parameters(), strict=True))
    relation = relation_of(torch.stack(watched))
    assert torch.equal(rule.method.relation, relation)
    net.zero_grad()
    rule(losses_of(net, batch_of(9)))
    for name, gradient in filled(plain, batch_of(9), relation).items():
        torch.testing.assert_close(dict(net.named_parameters())[name].grad, gradient)


def rule_cosines(net, batch):
    names = [name for name, _ in net.named_parameters() if name.startswith(("second", "last"))]
    return group_cosines([[gradients_of(net, batch, task)[name] for name in names] for task in TASKS], 3)


def test_without_watching_every_task_trains_its_own_group():
    net, batch = net_of(), batch_of()
    gradient_rule(net, config=Config(warmup=0))(losses_of(net, batch))
    expected = filled(net_of(), batch, torch.eye(3, dtype=torch.bool))
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])


def test_the_rule_splits_the_deeper_layers_that_tasks_share():
    net = net_of()
    found = shared_layers(net, losses_of(net, batch_of()))
    assert found == [net.second[0], net.second[1], net.last[1]]
    flat = nn.Linear(2, 2).double()
    with pytest.raises(ConfigError, match="found no layer to split between 2 tasks"):
        shared_layers(flat, {"a": flat.weight.sum(), "b": flat.weight.sum()})


def test_one_task_needs_no_layer_to_split():
    net = nn.Linear(2, 1)
    loss = net(torch.ones(3, 2)).flatten()
    gradient_rule(net)({"only": loss})
    assert net.weight.grad.tolist() == [[1.0, 1.0]]


# -- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"mask": "rows"}, "mask must be"), ({"eta": 0.0}, "eta must be positive"), ({"warmup": -1}, "not be negative")],
)
def test_config_refuses_values_that_cannot_be(wrong, words):
    with pytest.raises(ConfigError, match=words):
        Config(**wrong)


def test_layers_relations_and_tasks_that_cannot_be_are_refused():
    net = net_of()
    with pytest.raises(ConfigError, match="cannot be split between 7 tasks"):
        GradSplit(net, net.split, tuple("abcdefg"))
    with pytest.raises(ConfigError, match="cannot be split"):
        GradSplit(net, [nn.ConvTranspose2d(4, 8, 2)], ("a", "b"))
    with pytest.raises(ConfigError, match="cannot be split"):
        GradSplit(net, [nn.LayerNorm((4, 3))], ("a", "b"))
    with pytest.raises(ConfigError, match="true diagonal"):
        GradSplit(net, net.split, TASKS, torch.zeros(3, 3, dtype=torch.bool))
    method = GradSplit(net, net.split, TASKS)
    with pytest.raises(ConfigError, match="no task 'd'"):
        method.backward({"d": torch.zeros(2)})
