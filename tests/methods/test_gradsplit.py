"""GradSplit: groups and masks, special cases, and the masking of activations, against closed forms and plain twins."""

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
from workbench.diagnostics.gramian import channel_groups
from workbench.methods.gradsplit import (
    Config,
    GradSplit,
    admitted,
    combined,
    group_of,
)

# -- groups and masks -------------------------------------------------------------------------------------------------


def test_groups_are_contiguous_and_equal():
    assert group_of(6, 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert group_of(7, 3).tolist() == [0, 0, 0, 1, 1, 2, 2]
    with pytest.raises(ConfigError, match="2 output channels cannot be split between 3 tasks"):
        group_of(2, 3)


@given(st.integers(1, 8), st.integers(0, 60))
def test_group_sizes_differ_by_at_most_one_and_cover_all_channels(n_tasks, more):
    sizes = torch.bincount(group_of(n_tasks + more, n_tasks), minlength=n_tasks)
    assert sizes.sum() == n_tasks + more
    assert sizes.max() - sizes.min() <= 1
    assert (group_of(n_tasks + more, n_tasks).diff() >= 0).all()


@given(st.integers(1, 5), st.integers(0, 9))
def test_groups_are_those_that_the_diagnostics_measure(n_tasks, more):
    layer = nn.Linear(2, n_tasks + more)
    groups = group_of(n_tasks + more, n_tasks)
    for k, pieces in enumerate(channel_groups(layer, n_tasks).values()):
        for piece in pieces:
            assert torch.equal(torch.arange(len(groups))[piece.span], (groups == k).nonzero().flatten())


def test_combined_gradient_of_two_filters_worked_by_hand():
    # Filter 0 is task 0's and admits both; filter 1 is task 1's and admits its owner only.
    gradients = [torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[10.0, 20.0], [30.0, 40.0]])]
    relation = torch.tensor([[True, True], [False, True]])
    assert combined(gradients, relation).tolist() == [[11.0, 22.0], [30.0, 40.0]]


def test_what_is_blocked_is_gone_even_when_it_is_not_a_number():
    gradient = torch.tensor([1.0, torch.nan])
    assert admitted(gradient, torch.eye(2, dtype=torch.bool), 0).tolist() == [1.0, 0.0]


@given(seeds, relations(), relations())
def test_masks_without_common_entries_add_up(seed, one, two):
    draw = torch.Generator().manual_seed(seed)
    gradients = [torch.randn(7, 2, generator=draw, dtype=torch.float64) for _ in range(3)]
    two = two & ~one
    both = combined(gradients, one) + combined(gradients, two)
    torch.testing.assert_close(combined(gradients, one | two), both)


@given(seeds, relations())
def test_every_gradient_is_the_sum_over_its_admitted_tasks(seed, relation):
    """The slow twin: one plain backward pass a task, one filter at a time."""
    net, batch = net_of(seed), batch_of(seed)
    alone = [gradients_of(net, batch, task) for task in TASKS]
    for name, found in filled(net, batch, relation).items():
        expected = torch.zeros_like(found)
        for j, gradients in enumerate(alone):
            if gradients[name] is None:
                continue
            for o in range(len(found)):
                split = name.startswith(("second", "last"))
                owner = math.floor(o * len(TASKS) / len(found))
                if not split or relation[owner, j]:
                    expected[o] += gradients[name][o]
        torch.testing.assert_close(found, expected)


def test_biases_and_norms_follow_their_channel():
    net, batch = net_of(), batch_of()
    found = filled(net, batch, torch.eye(3, dtype=torch.bool))
    for name in ("second.0.bias", "second.1.weight", "second.1.bias", "last.1.bias"):
        for o, owner in enumerate(group_of(6, 3)):
            assert found[name][o] == gradients_of(net, batch, TASKS[owner])[name][o]


# -- special cases ----------------------------------------------------------------------------------------------------


@given(seeds)
def test_a_relation_of_ones_is_plain_training_to_the_last_bit(seed):
    plain = net_of(seed, torch.float32)
    split = copy.deepcopy(plain)
    method = GradSplit(split, split.split, TASKS, torch.ones(3, 3, dtype=torch.bool))
    optimisers = [torch.optim.Adam(net.parameters(), lr=1e-2) for net in (plain, split)]
    for step in range(5):
        batch = batch_of(seed + step, dtype=torch.float32)
        for net, optimiser in zip((plain, split), optimisers, strict=True):
            optimiser.zero_grad()
            losses = losses_of(net, batch)
            if net is plain:
                torch.stack([loss.mean() for loss in losses.values()]).sum().backward()
            else:
                method.backward(losses)
            optimiser.step()
    for one, other in zip(plain.parameters(), split.parameters(), strict=True):
        assert torch.equal(one, other)


@given(seeds)
def test_masks_of_ones_give_the_gradient_of_the_sum(seed):
    net, batch = net_of(seed), batch_of(seed)
    plain = copy.deepcopy(net)
    sum(loss.mean() for loss in losses_of(plain, batch).values()).backward()
    alone = [gradients_of(net, batch, task) for task in TASKS]
    for name, parameter in plain.named_parameters():
        if name.startswith(("second", "last")):
            both = combined([g[name] for g in alone], torch.ones(3, 3, dtype=torch.bool))
            torch.testing.assert_close(both, parameter.grad, rtol=1e-5, atol=1e-9)


def test_one_task_alone_is_plain_training_to_the_last_bit():
    net, batch = net_of(tasks=("a",)), batch_of(tasks=("a",))
    plain = gradients_of(net, batch, "a")
    GradSplit(net, net.split, ("a",)).backward(losses_of(net, batch))
    assert all(torch.equal(p.grad, plain[name]) for name, p in net.named_parameters())


@given(seeds)
def test_with_the_identity_the_rows_of_a_group_are_its_owners_gradient_exactly(seed):
    net, batch = net_of(seed, torch.float32), batch_of(seed, dtype=torch.float32)
    found = filled(net, batch, torch.eye(3, dtype=torch.bool))
    for i, task in enumerate(TASKS):
        own = gradients_of(net, batch, task)
        for name in ("second.0.weight", "last.1.weight"):
            rows = group_of(len(found[name]), 3) == i
            assert torch.equal(found[name][rows], own[name][rows])


@given(seeds, st.floats(-1e6, 1e6))
def test_a_blocked_task_may_be_scaled_by_anything(seed, scale):
    net, batch = net_of(seed), batch_of(seed)
    relation = torch.tensor([[True, False, True], [True, True, True], [False, True, True]])
    before, after = (filled(net, batch, relation, scale=s) for s in (None, {"b": scale}))
    rows = group_of(6, 3) == 0
    for name in ("second.0.weight", "second.1.bias", "last.1.weight"):
        assert torch.equal(before[name][rows], after[name][rows])


@given(seeds, relations(), st.permutations(range(3)))
def test_renaming_tasks_renames_groups(seed, relation, order):
    """Task order[k] moves to place k, and with it its filters: the combined rows move too."""
    draw = torch.Generator().manual_seed(seed)
    gradients = [torch.randn(6, 2, generator=draw, dtype=torch.float64) for _ in range(3)]
    rows = torch.cat([(group_of(6, 3) == task).nonzero().flatten() for task in order])
    index = torch.tensor(order)
    moved = combined([gradients[task][rows] for task in order], relation[index][:, index])
    torch.testing.assert_close(moved, combined(gradients, relation)[rows])


@pytest.mark.parametrize("mask", ["parameters", "activations"])
def test_the_forward_pass_does_not_know_the_relation(mask):
    net, (x, _) = net_of(), batch_of()
    plain = net(x)
    method = GradSplit(net, net.split, TASKS, config=Config(mask=mask))
    for relation in (torch.eye(3), torch.ones(3, 3), torch.tensor([[1, 1, 0], [0, 1, 0], [0, 1, 1]])):
        method.relation = relation.bool()
        assert all(torch.equal(out, plain[task]) for task, out in net(x).items())
    method.remove()


def test_gradients_of_two_batches_add_up_and_an_absent_task_adds_nothing():
    net, batch = net_of(), batch_of()
    method = GradSplit(net, net.split, TASKS)
    losses = losses_of(net, batch)
    method.backward({"a": losses["a"]})
    assert net.heads["b"].weight.grad is None
    once = net.last[1].weight.grad.clone()
    assert (once[2:] == 0).all()
    method.backward({"a": losses_of(net, batch)["a"]})
    torch.testing.assert_close(net.last[1].weight.grad, 2 * once)


# -- masks on activations ---------------------------------------------------------------------------------------------


@given(seeds)
def test_masked_activations_cut_the_path_to_earlier_layers(seed):
    """With A = I, task a reaches the first layer through group a's channels of the second alone."""
    net, batch = net_of(seed), batch_of(seed)
    method = GradSplit(net, [net.second], TASKS, config=Config(mask="activations"))
    method.backward({"a": losses_of(net, batch)["a"]})
    through_own = copy.deepcopy(net)
    with torch.no_grad():
        through_own.second[0].weight[2:] = 0  # cut the other groups' filters: values of group a do not change
        through_own.second[0].bias[2:] = 0
    alone = gradients_of_first_layer(net, through_own, batch)
    torch.testing.assert_close(net.first[0].weight.grad, alone)
    assert (net.second[0].weight.grad[2:] == 0).all()


def gradients_of_first_layer(net, cut, batch):
    """Task a's gradient on the first layer when only group a's channels of the second carry one."""
    x, targets = batch
    inner = net.first(x)
    full = net.second[0](inner).detach()
    own = cut.second[0](inner)
    # Group norm has one group a task, so channels 0 and 1 alone decide what is passed back through them.
    y = torch.cat([own[:, :2], full[:, 2:]], dim=1)
    features = net.last(net.second[2](net.second[1](y)))
    loss = cross_entropy(net.heads["a"](features), targets["a"])
    return torch.autograd.grad(loss, net.first[0].weight)[0]


def test_masking_parameters_leaves_that_path_open():
    net, batch = net_of(), batch_of()
    eye = torch.eye(3, dtype=torch.bool)
    parameters, activations = (filled(net, batch, eye, Config(mask=mask)) for mask in ("parameters", "activations"))
    total = sum(gradients_of(net, batch, task)["first.0.weight"] for task in TASKS)
    torch.testing.assert_close(parameters["first.0.weight"], total)
    assert not torch.allclose(activations["first.0.weight"], total)
    for name in ("last.1.weight", "heads.a.weight"):  # nothing is masked above them
        torch.testing.assert_close(parameters[name], activations[name])


def test_hooks_do_nothing_outside_the_method_and_can_be_removed():
    net, batch = net_of(), batch_of()
    plain = gradients_of(net, batch, "a")
    method = GradSplit(net, net.split, TASKS, config=Config(mask="activations"))
    hooked = torch.autograd.grad(losses_of(net, batch)["a"].mean(), net.first[0].weight)[0]
    assert torch.equal(hooked, plain["first.0.weight"])
    method.remove()
    assert not any(module._forward_hooks for module in net.modules())
