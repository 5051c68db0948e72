"""GradSplit: groups and masks, the look-ahead relation, closed forms, invariances, and plain twins."""

from __future__ import annotations

import copy
import math

import pytest
import torch
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
    conflict_left,
    gradient_rule,
    group_cosines,
    group_gram,
    group_of,
    influence,
    relation_of,
    shared_layers,
)

TASKS = ("a", "b", "c")
OF_FILTERS = Config()
seeds = st.integers(0, 2**31 - 1)


class SmallNet(nn.Module):
    """Two convolutions with norms, a linear layer, and one head a task."""

    def __init__(self, tasks=TASKS, width=6):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.GroupNorm(len(tasks), width), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(len(tasks), width), nn.ReLU())
        self.last = nn.Sequential(nn.Flatten(), nn.Linear(16 * width, width), nn.Tanh())
        self.heads = nn.ModuleDict({task: nn.Linear(width, 3) for task in tasks})

    def forward(self, x):
        features = self.last(self.second(self.first(x)))
        return {task: head(features) for task, head in self.heads.items()}

    @property
    def split(self):
        return [self.second, self.last]

    @property
    def shared(self):
        return [p for name, p in self.named_parameters() if not name.startswith("heads")]


def net_of(seed=0, dtype=torch.float64, **shape):
    torch.manual_seed(seed)
    return SmallNet(**shape).to(dtype)


def batch_of(seed=0, tasks=TASKS, n=5, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, 4, 4, generator=draw, dtype=dtype)
    return x, {task: torch.randint(3, (n,), generator=draw) for task in tasks}


def losses_of(net, batch):
    x, targets = batch
    return {task: cross_entropy(out, targets[task], reduction="none") for task, out in net(x).items()}


def gradients_of(net, batch, task):
    """The plain gradient of one task's mean loss, by parameter name."""
    net = copy.deepcopy(net)
    net.zero_grad()
    losses_of(net, batch)[task].mean().backward()
    return {name: p.grad for name, p in net.named_parameters()}


def filled(net, batch, relation, config=OF_FILTERS, scale=None):
    net = copy.deepcopy(net)
    net.zero_grad()
    method = GradSplit(net, net.split, TASKS, relation, config)
    losses = losses_of(net, batch)
    method.backward({task: loss * (scale or {}).get(task, 1.0) for task, loss in losses.items()})
    return {name: p.grad for name, p in net.named_parameters()}


def relations(n=3):
    cells = st.lists(st.booleans(), min_size=n * n, max_size=n * n)
    return cells.map(lambda bits: torch.tensor(bits).view(n, n) | torch.eye(n, dtype=torch.bool))


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
