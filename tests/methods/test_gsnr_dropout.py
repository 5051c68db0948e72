"""GSNR-guided dropout: closed forms, properties, plain twins, and the neutral setting to the last bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gsnr_digits import DOMAINS, Digits, drawn, plainly_trained, ratios, seeds, small_net, step, trained
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from workbench.core import ConfigError
from workbench.diagnostics import gsnr
from workbench.methods.gsnr_dropout import (
    Config,
    GsnrDropout,
    between_domains,
    between_samples,
    between_steps,
    domain_gradients,
    generalisation_ratio,
    hard_mask,
    masked_names,
    mean_size,
    overlap,
    ranks,
    sample_gradients,
    shares_of_gain,
    soft_mask,
    total,
)


def test_gsnr_of_two_gradients_is_its_closed_form():
    # Gradients 1 and 3: mean 2; variance 2 between samples (unbiased) and 1 between domains (population).
    g = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    assert between_samples(g, epsilon=0).item() == 2
    assert between_domains(g, epsilon=0).item() == 4
    assert mean_size(-g).item() == 2


def test_gsnr_of_running_means_is_its_closed_form():
    # Of the gradients 3 and 1, weighed alike: m = 2, v = 5, so r = 4 / (5 - 4). A steady gradient has no noise at all.
    mean, square = torch.tensor([2.0, 2.0], dtype=torch.float64), torch.tensor([5.0, 4.0], dtype=torch.float64)
    assert between_steps(mean, square, epsilon=0.0).tolist() == [4.0, math.inf]
    assert between_steps(mean, square, epsilon=1e-3)[1].item() == pytest.approx(4e3)


@given(seeds, st.floats(0.05, 0.95))
def test_running_means_equal_a_plain_loop_over_all_steps(seed, decay):
    net = small_net(dtype=torch.float64)
    data, method = Digits(net, seed, dtype=torch.float64), GsnrDropout(net, Config(score="steps", decay=decay))
    rows = []
    for _ in range(4):
        data.next()
        rows.append(torch.autograd.grad(sum(loss.mean() for loss in data.now.values()), net[0].weight)[0])
        step(method, data)
    weights = decay ** torch.arange(3, -1, -1, dtype=torch.float64)
    weights = (weights / weights.sum())[:, None, None]
    past = torch.stack(rows)
    mean, square = (weights * past).sum(0), (weights * past.square()).sum(0)
    torch.testing.assert_close(method.scores["0.weight"], mean.square() / (square - mean.square() + 1e-12))


def test_generalisation_ratio_is_its_closed_form():
    # n = 2, means (1, 0), variances (2, 2): E[g²] = (2, 1), W = (2/3, 1/3), r = (1/2, 0).
    # R = 1 - 1/2 (2/3 / 1 + 1/3 / (1/2)) = 1/3, and the signal 1 out of 1 + 2 · 2/2 = 3 is 1/3, too.
    mean, variance = torch.tensor([1.0, 0.0]), torch.tensor([2.0, 2.0])
    shares = shares_of_gain(mean, variance, 2)
    assert shares.tolist() == pytest.approx([2 / 3, 1 / 3])
    assert generalisation_ratio(mean**2 / variance, shares, 2).item() == pytest.approx(1 / 3)


@given(seeds, st.integers(1, 500))
def test_both_forms_of_the_generalisation_ratio_agree(seed, n):
    mean, variance = drawn(seed, 20), drawn(seed + 1, 20).square() + 0.1
    shares = shares_of_gain(mean, variance, n)
    ratio = generalisation_ratio(mean**2 / variance, shares, n)
    assert shares.sum().item() == pytest.approx(1)
    assert ratio.item() <= 1
    assert ratio.item() == pytest.approx((mean.square().sum() / (mean.square() + variance / n).sum()).item(), abs=1e-10)


def test_the_recorded_ratio_is_this_one_without_the_bias_of_the_squared_mean():
    net = small_net(dtype=torch.float64)
    x, y = drawn(3, 40, 6), torch.arange(40) % 3
    moments = gsnr.measure(net, lambda x, y: cross_entropy(net(x), y, reduction="none"), [(x, y)])
    mean = torch.tensor(np.concatenate([moments.mean[name][""].ravel() for name in moments.parameters]))
    variance = torch.tensor(np.concatenate([moments.variance(name).ravel() for name in moments.parameters]))
    squared = mean.square() - variance / 40  # unbiased; may be negative
    shares = (squared + variance / 100) / (squared + variance / 100).sum()
    ratio = generalisation_ratio(squared / variance, shares, 100)
    assert ratio.item() == pytest.approx(moments.osgr(100), abs=1e-10)


@given(seeds, st.floats(1e-3, 1e3))
def test_scaling_the_loss_changes_nothing(seed, scale):
    g = drawn(seed, 5, 12)
    for rule in (between_samples, between_domains):
        torch.testing.assert_close(rule(scale * g, epsilon=0), rule(g, epsilon=0))
    mean, variance = g.mean(dim=0), g.var(dim=0)
    torch.testing.assert_close(shares_of_gain(scale * mean, scale**2 * variance, 9), shares_of_gain(mean, variance, 9))


@given(seeds)
def test_order_and_repetition_of_gradients_do_not_matter(seed):
    g = drawn(seed, 6, 7)
    mixed = g[torch.randperm(6, generator=torch.Generator().manual_seed(seed))]
    torch.testing.assert_close(between_domains(g.repeat(2, 1)), between_domains(g))
    torch.testing.assert_close(between_domains(mixed), between_domains(g))
    torch.testing.assert_close(between_samples(mixed), between_samples(g))


@pytest.mark.parametrize(("rule", "who"), [(between_domains, "2 domains"), (between_samples, "2 samples")])
def test_one_gradient_has_no_variance(rule, who):
    with pytest.raises(ConfigError, match=f"at least {who}; got 1"):
        rule(torch.ones(1, 4))


@given(seeds, ratios, st.integers(1, 40))
def test_a_mask_leaves_out_exactly_the_highest(seed, ratio, n):
    scores = drawn(seed, n)
    kept = hard_mask(scores, ratio)
    assert int((~kept).sum()) == math.floor(ratio * n + 1e-9)
    if not kept.all() and kept.any():
        assert scores[~kept].min() >= scores[kept].max()


def test_ties_are_broken_by_place_and_no_weight_is_lost_to_rounding():
    assert hard_mask(torch.zeros(2, 3), 0.5).tolist() == [[False, False, False], [True, True, True]]
    assert 0.29 * 100 < 29  # in binary
    assert int((~hard_mask(torch.zeros(100), 0.29)).sum()) == 29


def test_equal_gradients_have_a_huge_gsnr_and_the_mask_keeps_its_size():
    scores = between_samples(torch.ones(8, 40))
    assert scores.min() > 1e11
    assert int((~hard_mask(scores, 0.1)).sum()) == 4
    assert between_samples(torch.zeros(8, 40)).max() == 0  # dead weights are never the first to go


@given(seeds, ratios, st.integers(2, 60))
def test_the_soft_mask_becomes_the_hard_one(seed, ratio, n):
    scores = drawn(seed, n)
    ranked = ranks(scores)
    assert sorted(ranked.tolist()) == pytest.approx(torch.linspace(0, 1, n).tolist())
    kept = soft_mask(ranked, torch.tensor(ratio, dtype=torch.float64), 1e-9)
    assert (1 - kept).mean().item() == pytest.approx(ratio, abs=1 / n + 1e-6)
    assert int(((kept > 0.5) != hard_mask(scores, ratio)).sum()) <= 1


def test_overlap_counts_what_both_leave_out():
    a = {"w": torch.tensor([False, False, True]), "v": torch.tensor([True])}
    b = {"w": torch.tensor([True, False, False]), "v": torch.tensor([True])}
    assert overlap(a, b) == pytest.approx(1 / 3)
    assert math.isnan(overlap({"v": a["v"]}, {"v": b["v"]}))


def test_gradients_by_domain_and_by_sample_are_those_of_a_plain_loop():
    net = small_net(dtype=torch.float64)
    data = Digits(net, dtype=torch.float64, n=4)
    weights = {name: dict(net.named_parameters())[name] for name in masked_names(net)}
    losses = data.now
    by_domain, by_sample = domain_gradients(losses, weights), sample_gradients(losses, weights)
    row = 0
    for place, (x, y) in enumerate(data.batch.values()):
        single = []
        for i in range(len(x)):
            net.zero_grad()
            cross_entropy(net(x[i : i + 1]), y[i : i + 1]).backward()
            single.append({name: weight.grad.clone() for name, weight in weights.items()})
            for name in weights:
                torch.testing.assert_close(by_sample[name][row], single[-1][name], rtol=1e-9, atol=1e-12)
            row += 1
        for name in weights:
            mean = torch.stack([each[name] for each in single]).mean(dim=0)
            torch.testing.assert_close(by_domain[name][place], mean, rtol=1e-9, atol=1e-12)


def test_gsnr_between_samples_is_what_the_diagnostics_measure():
    net = small_net(dtype=torch.float64)
    data = Digits(net, dtype=torch.float64)
    rows = sample_gradients(data.now, {"0.weight": net[0].weight})
    loss = lambda x, y: cross_entropy(net(x), y, reduction="none")  # noqa: E731
    moments = gsnr.measure(net, loss, list(data.batch.values()))
    exact = torch.tensor(moments.gsnr("0.weight", corrected=False))
    torch.testing.assert_close(between_samples(rows["0.weight"], epsilon=0), exact, rtol=1e-9, atol=0)


def test_biases_and_scales_are_never_masked():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(4, 2))
    assert masked_names(net) == ("0.weight", "3.weight")
    net[3].weight.requires_grad_(False)
    assert masked_names(net) == ("0.weight",)


@pytest.mark.parametrize("site", ["weight", "gradient"])
@pytest.mark.parametrize("score", ["domains", "samples", "steps", "size", "random"])
@pytest.mark.parametrize("off", [{"ratio": 0.0}, {"until": 0}, {"ratio": 1e-6}])
def test_switched_off_it_is_the_baseline_to_the_last_bit(site, score, off):
    # The last case runs the whole machinery, with masks that leave out floor(1e-6 P) = 0 weights.
    found, _ = trained(Config(site=site, score=score, **off))
    for mine, plain in zip(found, plainly_trained(), strict=True):
        assert torch.equal(mine, plain)


def test_masks_end_after_the_last_masked_step():
    until, _ = trained(Config(ratio=0.3, until=2), steps=2)
    always, method = trained(Config(ratio=0.3), steps=2)
    assert all(torch.equal(a, b) for a, b in zip(until, always, strict=True))
    _, method = trained(Config(ratio=0.3, until=2), steps=3)
    assert method.masks == {}
    assert not method.active


@pytest.mark.parametrize("config", [Config(ratio=0.2), Config(ratio=0.2, score="samples"), Config(0.2, "size")])
def test_masked_weights_neither_act_nor_learn_in_a_plain_step(config):
    net = small_net()
    data, method = Digits(net), GsnrDropout(net, config)
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    step(method, data)
    for name, mask in method.masks.items():
        assert int((~mask).sum()) == math.floor(0.2 * mask.numel())
        assert method.weights[name].grad[~mask].eq(0).all()
    # They did not act: the gradient is that of the net with zeros in their place, times the mask.
    zeroed = {n: (v * method.masks[n] if n in method.masks else v).requires_grad_() for n, v in before.items()}
    plain = torch.autograd.grad(total(data.losses(zeroed, DOMAINS)), list(zeroed.values()))
    for (name, parameter), slope in zip(net.named_parameters(), plain, strict=True):
        torch.testing.assert_close(parameter.grad, slope * method.masks.get(name, torch.tensor(1.0)))


@pytest.mark.parametrize(("momentum", "stays"), [(0.0, True), (0.9, False)])
def test_at_the_gradient_site_masked_weights_stay_unless_momentum_moves_them(momentum, stays):
    net = small_net()
    data, method = Digits(net), GsnrDropout(net, Config(ratio=0.2, site="gradient"))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=momentum)
    unmoved = []
    for _ in range(3):
        data.next()
        before = {name: value.detach().clone() for name, value in method.weights.items()}
        optimizer.zero_grad()
        step(method, data)
        optimizer.step()
        unmoved += [
            torch.equal(before[name][~mask], method.weights[name].detach()[~mask])
            for name, mask in method.masks.items()
        ]
    assert all(unmoved) is stays


def test_the_gradient_site_is_the_plain_gradient_times_the_mask():
    net = small_net()
    data, method = Digits(net), GsnrDropout(net, Config(ratio=0.2, site="gradient"))
    plain = torch.autograd.grad(total(data.now), list(net.parameters()))
    step(method, data)
    for (name, parameter), slope in zip(net.named_parameters(), plain, strict=True):
        assert torch.equal(parameter.grad, slope * method.masks.get(name, torch.tensor(1.0)))


def test_the_mask_takes_the_weights_on_which_the_domains_agree():
    net = small_net()
    data, method = Digits(net), GsnrDropout(net, Config(ratio=0.25))
    rows = domain_gradients(data.now, method.weights)
    step(method, data)
    for name, row in rows.items():
        mean, spread = row.mean(dim=0), row.std(dim=0, unbiased=False)
        agreement = (mean / spread).abs()
        assert agreement[~method.masks[name]].min() >= agreement[method.masks[name]].max()


def test_the_lowest_are_the_other_end():
    taken = {}
    for drop in ("highest", "lowest"):
        net = small_net()
        method = GsnrDropout(net, Config(ratio=0.5, drop=drop))
        step(method, Digits(net))
        taken[drop] = {name: ~mask for name, mask in method.masks.items()}
    for name, high in taken["highest"].items():
        assert not (high & taken["lowest"][name]).any()


def test_ranked_over_the_whole_net_the_number_is_that_of_all_weights():
    _, method = trained(Config(ratio=0.1, ranked="net"), steps=1)
    n_weights = sum(mask.numel() for mask in method.masks.values())
    left_out = [int((~mask).sum()) for mask in method.masks.values()]
    assert sum(left_out) == math.floor(0.1 * n_weights)
    assert left_out != [math.floor(0.1 * mask.numel()) for mask in method.masks.values()]
    worst_taken = min(float(method.scores[name][~mask].min()) for name, mask in method.masks.items() if not mask.all())
    best_kept = max(float(method.scores[name][mask].max()) for name, mask in method.masks.items())
    assert worst_taken >= best_kept


def test_rescaling_divides_what_is_kept():
    net = small_net()
    data, method = Digits(net), GsnrDropout(net, Config(ratio=0.25, rescale=True))
    step(method, data)
    scaled = {
        name: (value.detach() * method.masks[name] / 0.75 if name in method.masks else value.detach()).requires_grad_()
        for name, value in net.named_parameters()
    }
    slope = torch.autograd.grad(total(data.losses(scaled, DOMAINS)), scaled["2.weight"])[0]
    torch.testing.assert_close(net[2].weight.grad, slope * method.masks["2.weight"] / 0.75)


def test_random_masks_come_from_a_seed_of_their_own():
    state = torch.random.get_rng_state()
    net = small_net()
    torch.random.set_rng_state(state)
    first, again, other = (GsnrDropout(net, Config(score="random", ratio=0.3), seed=seed) for seed in (1, 1, 2))
    for method in (first, again, other):
        step(method, Digits(net))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert overlap(first.masks, again.masks) == 1
    assert overlap(first.masks, other.masks) < 1
