"""The cross-domain triplet loss: closed forms, invariances, the look-ahead against finite differences, controls."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from workbench.core import ConfigError
from workbench.methods._cosine_margin import cosines, margin_loss
from workbench.methods.cdt import (
    Config,
    Metrics,
    Outputs,
    Triplets,
    cdt_terms,
    episode,
    identity_metrics,
    leading_angle,
    local_differences,
    map_distance,
    metric_logs,
    metrics_of,
    pair_covariance,
    supervised_loss,
    triplet_loss,
    turned_metrics,
)

seeds = st.integers(0, 2**31 - 1)
B, D, SIDE = 6, 3, 2


def maps(seed, n=3, scale=1.0):
    draw = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(B, D, SIDE, SIDE, generator=draw, dtype=torch.float64) for _ in range(n)]


def metrics(seed):
    return metrics_of(*maps(seed + 1))


def test_distance_of_one_place_by_hand():
    # r = (1, 2), Σ = [[2, 1], [1, 3]]: r'Σr = 2 + 4 + 12 = 18; a second place with r = 0 halves the mean.
    a = torch.tensor([[[[1.0, 0.0]], [[2.0, 0.0]]]])
    assert map_distance(a, torch.zeros_like(a), torch.tensor([[2.0, 1.0], [1.0, 3.0]])).tolist() == [9.0]


def test_triplet_loss_by_hand():
    # |a - p|² = 2, |a - n|² = 4: the hinge holds 2 - 4 + 1 < 0, and 4 - 2 + 1 = 3 the other way round.
    a, p, n = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[-1.0, 0.0]])
    assert triplet_loss(a, p, n, 1.0).tolist() == [0.0]
    assert triplet_loss(a, n, p, 1.0).tolist() == [3.0]


@given(seeds)
def test_covariance_is_symmetric_positive_and_that_of_torch(seed):
    a, p, _ = maps(seed)
    differences = local_differences(a, p)
    found = pair_covariance(differences)
    assert differences.shape == (B * SIDE * SIDE, D)
    torch.testing.assert_close(found, torch.cov(differences.T))
    torch.testing.assert_close(found, found.T)
    values = torch.linalg.eigvalsh(found)
    assert values.min() >= -1e-6 * values.max()


@given(seeds)
def test_with_unit_metrics_it_is_the_plain_local_triplet_loss(seed):
    a, p, n = maps(seed)
    terms = cdt_terms(a, p, n, identity_metrics(metrics(seed)), 1.0)
    for b in range(B):
        total = 0.0
        for h in range(SIDE):
            for w in range(SIDE):
                near, far = (a - p)[b, :, h, w], (a - n)[b, :, h, w]
                total += (near @ near - far @ far).item()
        assert terms[b].item() == pytest.approx(total / SIDE**2 + 1)


@given(seeds)
def test_pairs_of_one_picture_have_no_positive_part(seed):
    a, _, n = maps(seed)
    own = metrics_of(a, a, n)
    assert torch.equal(own.positive, torch.zeros(D, D, dtype=torch.float64))
    other = metrics(seed)
    torch.testing.assert_close(cdt_terms(a, a, n, other, 1.0), 1 - map_distance(a, n, other.negative))


@given(seeds, st.floats(-5, 5))
def test_moving_all_features_of_a_domain_changes_nothing(seed, by):
    a, p, n = maps(seed)
    shift = by * torch.ones(1, D, 1, 1, dtype=torch.float64)
    moved = metrics_of(a + shift, p + shift, n + shift)
    torch.testing.assert_close(moved.positive, metrics_of(a, p, n).positive)
    other = metrics(seed)
    torch.testing.assert_close(cdt_terms(a + shift, p + shift, n + shift, other, 1.0), cdt_terms(a, p, n, other, 1.0))


@given(seeds)
def test_turning_the_features_of_both_domains_changes_nothing(seed):
    turn = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(seed)).double()).Q
    own, other = maps(seed), maps(seed + 1)
    turned_own, turned_other = ([torch.einsum("ed,bdhw->behw", turn, x) for x in side] for side in (own, other))
    torch.testing.assert_close(
        cdt_terms(*turned_own, metrics_of(*turned_other), 1.0), cdt_terms(*own, metrics_of(*other), 1.0)
    )


@given(seeds, st.floats(0.2, 4))
def test_it_grows_with_the_square_of_one_scale_and_the_fourth_power_of_both(seed, c):
    own, other = maps(seed), maps(seed + 1)
    scaled_own, scaled_other = maps(seed, scale=c), maps(seed + 1, scale=c)
    plain = cdt_terms(*own, metrics_of(*other), 0.0)
    torch.testing.assert_close(cdt_terms(*scaled_own, metrics_of(*other), 0.0), c**2 * plain)
    torch.testing.assert_close(cdt_terms(*scaled_own, metrics_of(*scaled_other), 0.0), c**4 * plain)


@given(seeds)
def test_the_mean_before_the_hinge_is_a_trace(seed):
    a, p, n = maps(seed)
    other = metrics(seed)
    near, far = local_differences(a, p), local_differences(a, n)
    traces = (other.positive @ (near.T @ near)).trace() - (other.negative @ (far.T @ far)).trace()
    mean = cdt_terms(a, p, n, other, 1.0).mean()
    assert mean.item() == pytest.approx(traces.item() / len(near) + 1, rel=1e-6)


@given(seeds)
def test_the_order_of_triplets_and_of_places_does_not_matter(seed):
    a, p, n = maps(seed)
    other = metrics(seed)
    order = torch.randperm(B, generator=torch.Generator().manual_seed(seed))
    terms = cdt_terms(a, p, n, other, 1.0)
    torch.testing.assert_close(cdt_terms(a[order], p[order], n[order], other, 1.0), terms[order])
    flipped = [x.flip(-1) for x in (a, p, n)]
    torch.testing.assert_close(cdt_terms(*flipped, other, 1.0), terms)
    torch.testing.assert_close(metrics_of(*flipped).positive, metrics_of(a, p, n).positive)


def test_equal_features_give_exactly_the_margin():
    same = torch.ones(B, D, SIDE, SIDE)
    other = Metrics(torch.eye(D), torch.eye(D))
    assert torch.equal(cdt_terms(same, same, same, other, 1.0).relu(), torch.ones(B))


@given(seeds)
def test_turned_metrics_keep_their_eigenvalues_only(seed):
    own = metrics(seed)
    turned = turned_metrics(own, torch.Generator().manual_seed(seed))
    torch.testing.assert_close(torch.linalg.eigvalsh(turned.negative), torch.linalg.eigvalsh(own.negative))
    assert not torch.allclose(turned.negative, own.negative)


class MapNet(nn.Module):
    """Pictures [B, 1, 4, 4] to a 2 x 2 map of D channels, 4 identities and a compact embedding."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, D, 2, stride=2, dtype=torch.float64)
        self.embed = nn.Linear(4 * D, 5, dtype=torch.float64)
        self.compact = nn.Linear(5, 3, dtype=torch.float64)
        self.weight = nn.Parameter(torch.randn(4, 5, dtype=torch.float64))

    def forward(self, pictures):
        feature_map = torch.tanh(self.conv(pictures))
        embedding = self.embed(feature_map.flatten(1))
        return Outputs(feature_map, cosines(embedding, self.weight), F.normalize(self.compact(embedding), dim=1))


def net_of(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MapNet()


def batch_of(seed, identities):
    draw = torch.Generator().manual_seed(seed)
    first, second = identities
    labels = torch.tensor([first] * 4 + [second] * 2)
    return Triplets(torch.randn(6, 1, 4, 4, generator=draw, dtype=torch.float64), labels)


TRIPLETS = {"east": batch_of(1, (0, 1)), "west": batch_of(2, (2, 3)), "north": batch_of(3, (1, 0))}
GENTLE = Config(scale=4.0, margin=0.2, alpha=0.1)


def gradient(net, loss):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()), materialize_grads=True)])


def plain(net, name, config):
    return supervised_loss(net(TRIPLETS[name].inputs), TRIPLETS[name].labels, config)


def test_with_full_balance_it_is_plain_training_on_the_other_domains():
    net, config = net_of(0), Config(scale=4.0, margin=0.2, alpha=0.1, balance=1.0)
    found = gradient(net, episode(net, TRIPLETS, "east", config).loss)
    expected = gradient(net, plain(net, "west", config) + plain(net, "north", config))
    torch.testing.assert_close(found, expected)


def test_without_look_ahead_it_is_the_first_order_objective():
    net, config = net_of(0), Config(scale=4.0, margin=0.2, alpha=0.0)
    goal = plain(net, "east", config)
    seen = net(TRIPLETS["east"].inputs).feature_map.chunk(3)
    loss = torch.zeros(())
    for name in ("west", "north"):
        other = metrics_of(*net(TRIPLETS[name].inputs).feature_map.chunk(3))
        terms = cdt_terms(*seen, other, config.tau).relu().mean()
        loss = loss + 0.7 * plain(net, name, config) + 0.3 * (goal + terms)
    found = episode(net, TRIPLETS, "east", config)
    torch.testing.assert_close(found.loss, loss)
    torch.testing.assert_close(gradient(net, found.loss), gradient(net, loss))


def test_a_tiny_look_ahead_approaches_none():
    net = net_of(0)
    near = episode(net, TRIPLETS, "east", Config(scale=4.0, margin=0.2, alpha=1e-9)).loss
    torch.testing.assert_close(near, episode(net, TRIPLETS, "east", Config(scale=4.0, margin=0.2, alpha=0.0)).loss)


@pytest.mark.parametrize("metric", ["cross", "identity", "none"])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_the_gradient_through_the_step_matches_central_differences(metric, alpha):
    net, config = net_of(5), Config(scale=4.0, margin=0.2, alpha=alpha, metric=metric)
    weight = net.conv.bias
    (exact,) = torch.autograd.grad(episode(net, TRIPLETS, "west", config).loss, weight)
    for place in range(D):
        losses = []
        for step in (1e-5, -2e-5):
            with torch.no_grad():
                weight[place] += step
            losses.append(episode(net, TRIPLETS, "west", config).loss.item())
        with torch.no_grad():
            weight[place] += 1e-5
        assert exact[place].item() == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-4, abs=1e-8)


def test_detached_metrics_change_the_gradient_and_not_the_loss():
    net = net_of(1)
    kept, cut = (
        episode(net, TRIPLETS, "east", Config(scale=4.0, margin=0.2, alpha=0.0, detach_metrics=cut))
        for cut in (False, True)
    )
    assert torch.equal(kept.loss, cut.loss)
    assert not torch.allclose(gradient(net, kept.loss), gradient(net, cut.loss))


def test_without_triplets_and_metric_it_is_cosface_to_the_last_bit():
    net, config = net_of(2), Config(scale=4.0, margin=0.2, alpha=0.0, metric="none", triplet=False)

    def face(name):
        return margin_loss(net(TRIPLETS[name].inputs).cosine, TRIPLETS[name].labels, 0.2, 4.0).mean()

    goal = face("east")
    terms = [config.balance * face(name) + (1 - config.balance) * goal for name in ("west", "north")]
    assert torch.equal(episode(net, TRIPLETS, "east", config).loss, torch.stack(terms).sum())


def test_an_episode_says_what_it_did():
    logs = episode(net_of(3), TRIPLETS, "east", GENTLE).logs
    assert {"source", "target", "cdt", "active/east|west", "active/east|north", "trace+/west"} <= set(logs)
    assert 0 <= logs["active/east|west"] <= 1
    assert logs["trace-/north"] > 0


def test_angles_between_leading_directions_by_hand():
    # Leading plane of the first: axes 0 and 1; of the second: axis 0 and one 60 degrees from axis 1. Angles 0 and 60.
    eye = torch.eye(4, dtype=torch.float64)
    tilted = 0.5 * eye[1] + 0.75**0.5 * eye[2]
    first = 4 * eye[0].outer(eye[0]) + 3 * eye[1].outer(eye[1]) + 0.1 * eye
    second = 4 * eye[0].outer(eye[0]) + 3 * tilted.outer(tilted) + 0.1 * eye
    assert leading_angle(first, second, q=2) == pytest.approx(30, abs=1e-4)
    assert leading_angle(first, 7 * first, q=2) == pytest.approx(0, abs=1e-4)


def test_what_is_logged_of_the_metrics_are_their_largest_eigenvalues():
    net = net_of(6)
    logs = metric_logs(net, TRIPLETS, leading=2)
    own = metrics_of(*net(TRIPLETS["west"].inputs).feature_map.chunk(3))
    values = torch.linalg.eigvalsh(own.negative.detach())
    assert [logs["eigenvalue-/west/1"], logs["eigenvalue-/west/2"]] == pytest.approx(
        [values[-1].item(), values[-2].item()]
    )
    assert {name for name in logs if name.startswith("angle/")} == {
        "angle/east|west",
        "angle/east|north",
        "angle/west|north",
    }
    assert all(0 <= logs[name] <= 90 for name in logs if name.startswith("angle/"))


class NormedNet(MapNet):
    """The same with batch norm."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(D, dtype=torch.float64)

    def forward(self, pictures):
        feature_map = self.norm(torch.tanh(self.conv(pictures)))
        embedding = self.embed(feature_map.flatten(1))
        return Outputs(feature_map, cosines(embedding, self.weight), F.normalize(self.compact(embedding), dim=1))


def test_the_step_ahead_does_not_count_in_running_statistics():
    torch.manual_seed(0)
    net = NormedNet()
    episode(net, TRIPLETS, "east", GENTLE)
    # One pass a domain that is trained on: west and north; looking ahead on east twice leaves no trace.
    assert net.norm.num_batches_tracked.item() == 2


@given(seeds)
def test_the_metric_stretches_along_its_own_directions(seed):
    a, p, _ = maps(seed)
    metric = metrics(seed).positive
    values, directions = torch.linalg.eigh(metric)
    along = local_differences(a, p) @ directions
    plain = (along.square() * values.clamp_min(0)).sum(dim=1).view(B, -1).mean(dim=1)
    torch.testing.assert_close(map_distance(a, p, metric), plain)


def test_an_episode_leaves_the_net_untouched():
    net = net_of(4)
    before = [p.detach().clone() for p in net.parameters()]
    episode(net, TRIPLETS, "east", GENTLE)
    assert all(map(torch.equal, before, net.parameters()))
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"alpha": -1.0}, "alpha not negative"),
        ({"balance": 1.5}, "balance must lie in"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        Config(**options)


def test_an_episode_needs_two_domains():
    with pytest.raises(ConfigError, match="needs 'east' and another domain"):
        episode(net_of(0), {"east": TRIPLETS["east"]}, "east")
