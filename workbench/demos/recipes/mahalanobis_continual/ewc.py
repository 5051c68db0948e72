"""Elastic weight consolidation, a baseline: parameters that mattered to earlier tasks are held in place.

    Ω(θ) = λ/2 Σ_i F_i (θ_i − θ*_i)²,  F_i = mean over x of (∂ log p(y|x) / ∂θ_i)², y drawn from p(·|x)

Cite: Kirkpatrick et al. 2017, Overcoming catastrophic forgetting in neural networks, arXiv:1612.00796. As in Schwarz et
al. 2018, Progress & Compress, arXiv:1805.06370, the F of all tasks are added up and θ* is the last task's.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap


class ElasticWeights:
    """Ω of a net whose parameters may grow along their first axis; new rows are free."""

    def __init__(self, strength: float) -> None:
        self.strength = strength
        self.anchors: dict[str, Tensor] = {}
        self.fisher: dict[str, Tensor] = {}

    def penalty(self, net: nn.Module) -> Float[Tensor, " 1"]:
        """Ω, as one number; 0 before the first task is over."""
        current = dict(net.named_parameters())
        held = [
            (self.fisher[name] * (current[name][: len(anchor)] - anchor).square()).sum()
            for name, anchor in self.anchors.items()
        ]
        return self.strength / 2 * torch.stack(held).sum()[None] if held else torch.zeros(1)

    def remember(self, net: nn.Module, x: Float[Tensor, "B ..."]) -> None:
        """At the end of a task: hold the parameters as they are, by how much they matter to these examples."""
        found = fisher(net, x)
        for name, before in self.fisher.items():
            found[name][: len(before)] += before
        self.fisher = found
        self.anchors = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}


def fisher(net: nn.Module, x: Float[Tensor, "B ..."]) -> dict[str, Tensor]:
    """F of every parameter by its name; the answers are drawn with torch's global generator."""
    drawn = torch.distributions.Categorical(logits=net(x).detach()).sample()
    parameters = {name: parameter.detach() for name, parameter in net.named_parameters()}

    def log_likelihood(values: Mapping[str, Tensor], one: Tensor, answer: Tensor) -> Tensor:
        scores: Tensor = functional_call(net, dict(values), (one[None],))
        return scores.log_softmax(dim=1)[0].gather(0, answer[None])[0]

    gradients = vmap(grad(log_likelihood), in_dims=(None, 0, 0))(parameters, x, drawn)
    return {name: gradient.square().mean(dim=0) for name, gradient in gradients.items()}
