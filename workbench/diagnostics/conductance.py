"""Through which units of a layer does what a net says come, task by task?

left = conductance(net, images, layer="trunk.conv3", task="left")    # left.values [N, U], in logits
right = conductance(net, images, layer="trunk.conv3", task="right")
shared(left.values, right.values)                                    # do the tasks use the same units, to the same end?

On the straight way from the baseline to the input, the output changes because the layer's units do. A unit's
conductance is its part of that change. If everything passes the layer, the parts add up to the whole change
(completeness); what is missing at a layer that some paths go around came along those paths.

Source: Dhamdhere, Sundararajan and Yan 2018, How Important Is a Neuron?, arXiv:1805.12233 (Definition 2, and
completeness, Section 4.1). Computed with Captum. Ours: the places of a channel are summed, and two tasks are compared
by the cosine of their units' conductances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.diagnostics.attribution import N_STEPS, Agreement, agreement, reinitialised
from workbench.diagnostics.attribution_maps import Question, layer_conductance
from workbench.diagnostics.untouched import apply, untouched


@dataclass(frozen=True)
class Conductance:
    """What flows through the U units of a layer, per sample, in logits.

    Attributes:
        values: Above 0: the unit raises the logit over what the baseline has. Channels where the layer has places.
        difference: Output for the input minus output for the baseline.
        randomised: Rank correlation over units with a copy whose parameters were drawn anew; near 1 would mean that the
            layer's sizes and not what was learnt make the pattern. NaN where all units are alike.
    """

    values: Float[np.ndarray, "N U"]
    difference: Float[np.ndarray, " N"]
    randomised: Float[np.ndarray, " N"]

    @property
    def gap(self) -> Float[np.ndarray, " N"]:
        """Sum over units minus ``difference``."""
        return np.asarray(self.values.sum(axis=1) - self.difference)


def conductance(
    model: nn.Module,
    inputs: Float[Tensor, "N ..."],
    *,
    layer: str,
    task: str | None = None,
    target: int | Int[Tensor, " N"] | None = None,
    baseline: float | Float[Tensor, "N ..."] = 0.0,
    n_steps: int = N_STEPS,
    forward: Callable[[nn.Module, Any], Any] = apply,
    seed: int = 0,
) -> Conductance:
    """The conductance of a layer's units for a class's logit; arguments as of :func:`attribution.attribute`.

    Raises:
        ConfigError: no such layer, task or class, or the layer has no output of one row a sample.
    """
    modules = dict(model.named_modules())
    if not layer or layer not in modules:
        raise ConfigError(f"The model has no layer '{layer}'. It has: {', '.join(name for name in modules if name)}.")
    with untouched(model), torch.enable_grad():
        question = Question.of(model, inputs, "layer conductance", task, target, baseline, layer, n_steps, forward)
        with torch.no_grad():
            difference = question.value(question.inputs) - question.value(question.baseline)
        values = _by_unit(question, layer)
        twin = _by_unit(question.of_model(reinitialised(model, seed)), layer)
    return Conductance(values, difference.cpu().double().numpy(), agreement(values, twin).rank)


def shared(left: Float[np.ndarray, "N U"], right: Float[np.ndarray, "N U"]) -> Agreement:
    """How alike two tasks use a layer, sample by sample: 1, the same units to the same end; 0, unrelated ones."""
    return agreement(left, right)


def _by_unit(question: Question, layer: str) -> Float[np.ndarray, "N U"]:
    module = dict(question.model.named_modules())[layer]
    leaf = question.inputs.clone().requires_grad_()
    found = layer_conductance(question, module, leaf, question.baseline, question.target)
    if found.ndim < 2 or len(found) != len(leaf):
        raise ConfigError(f"Layer '{layer}' must give one row a sample, [N, U, ...]; got {tuple(found.shape)}.")
    units = found.flatten(2).sum(2) if found.ndim > 2 else found
    return units.cpu().double().numpy()
