"""GSNR dropout: the learned ratio, settings that cannot work, and the rule for other training loops."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from gsnr_digits import DOMAINS, Digits, drawn, small_net, step, trained

from workbench.core import ConfigError
from workbench.methods.gsnr_dropout import (
    Config,
    GsnrDropout,
    gradient_rule,
    masked_names,
    ranks,
    ratio_gradients,
)

# -- the learned ratio ------------------------------------------------------------------------------------------


def outer_loss(config, net, data, ranked, logits):
    """L_test(θ') as a function of φ, by plain loops: one gradient step on soft masks, then the held-back domain."""
    start = {name: value.detach().clone().requires_grad_() for name, value in net.named_parameters()}
    masked = {
        name: value
        * torch.sigmoid((1 - config.max_ratio * torch.sigmoid(logits[name]) - ranked[name]) / config.temperature)
        if name in ranked
        else value
        for name, value in start.items()
    }
    inner = sum(loss.mean() for loss in data.losses(masked, DOMAINS[:2]).values())
    slopes = torch.autograd.grad(inner, list(start.values()))
    moved = {name: value - config.inner_lr * slope for (name, value), slope in zip(start.items(), slopes, strict=True)}
    return data.losses(moved, DOMAINS[2:])[DOMAINS[2]].mean().item()


def test_the_gradient_of_the_ratio_matches_finite_differences():
    config = Config(learned=True, ratio=0.2, temperature=0.2, inner_lr=0.3)
    net = small_net(dtype=torch.float64)
    data = Digits(net, dtype=torch.float64)
    names = masked_names(net)
    ranked = {name: ranks(drawn(i, *dict(net.named_parameters())[name].shape)) for i, name in enumerate(names)}
    logits = {name: torch.tensor(-0.5 + 0.3 * i, dtype=torch.float64) for i, name in enumerate(names)}
    found = ratio_gradients(data.losses, dict(net.named_parameters()), ranked, logits, DOMAINS[:2], DOMAINS[2], config)
    for name in names:
        h = 1e-4
        up, down = (
            outer_loss(config, net, data, ranked, {**logits, name: logits[name] + sign * h}) for sign in (1, -1)
        )
        assert found[name].item() == pytest.approx((up - down) / (2 * h), rel=1e-2)
        assert found[name].item() != 0


def test_a_learned_ratio_moves_within_its_limits_and_masks_accordingly():
    _, method = trained(Config(learned=True, ratio=0.2, max_ratio=0.4, outer_lr=20.0), steps=8)
    ratios = method.ratios
    assert set(ratios) == set(method.weights)
    assert all(0 < ratio < 0.4 for ratio in ratios.values())
    assert len({round(ratio, 6) for ratio in ratios.values()}) == len(ratios)
    for name, mask in method.masks.items():
        assert int((~mask).sum()) == math.floor(ratios[name] * mask.numel() + 1e-9)


@pytest.mark.parametrize("score", ["domains", "samples"])
def test_a_learned_ratio_needs_a_domain_to_hold_back(score):
    net = small_net()
    data = Digits(net)
    losses = data.losses(dict(net.named_parameters()), DOMAINS[:1])
    with pytest.raises(ConfigError, match="at least 2.*; got 1"):
        GsnrDropout(net, Config(learned=True, score=score)).backward(losses, data.losses)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"ratio": 1.0}, "below 1; got 1.0"),
        ({"ratio": -0.1}, "at least 0"),
        ({"learned": True, "ratio": 0.6}, "below max_ratio"),
        ({"learned": True, "ratio": 0.0}, "above 0"),
        ({"learned": True, "ranked": "net"}, "ranked='tensor'"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"decay": 1.0}, "decay must lie between 0 and 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, text):
    with pytest.raises(ConfigError, match=text):
        Config(**wrong)


# -- in another training loop ------------------------------------------------------------------------------------


def test_as_a_rule_it_fills_the_gradients_from_losses_that_are_there():
    nets = small_net(), small_net()
    gradient_rule(nets[0])(Digits(nets[0]).now)
    step(GsnrDropout(nets[1], Config(site="gradient")), Digits(nets[1]))
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(a.grad, b.grad)
        assert a.grad.ne(0).any()


def test_a_rule_for_one_domain_says_what_is_missing():
    net = small_net()
    losses = Digits(net).losses(dict(net.named_parameters()), DOMAINS[:1])
    with pytest.raises(ConfigError, match="losses of at least 2 domains; got 1"):
        gradient_rule(net)(losses)


@pytest.mark.parametrize("config", [Config(), replace(Config(site="gradient"), learned=True)])
def test_losses_alone_cannot_mask_weights_or_learn_a_ratio(config):
    net = small_net()
    with pytest.raises(ConfigError, match=r"need losses_of=.*site='gradient' with a fixed ratio"):
        GsnrDropout(net, config).backward(Digits(net).now)
