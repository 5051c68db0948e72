"""Does a concept, such as "blurred", move a net's answer? Testing with concept activation vectors (TCAV).

found = tcav(net, images, has_concept, asked, target=3, layer="trunk.conv3")
found.score, found.low, found.high, found.p_value

A concept is given by samples that have it and samples that have it not. A linear classifier of the two in a layer's
activations gives a direction; the score is the share of the asked samples whose logit of a class rises along it. Beside
it stand random concepts: the same samples, marked anew without regard to what they show. A score means something only
if the logit rises or falls more along the concept than along theirs.

Source: Kim et al. 2018, Interpretability Beyond Feature Attribution, arXiv:1711.11279 (Sections 3.2 to 3.5). Ours: the
direction is that of linear discriminant analysis with a shrunken covariance, which has a closed form; and a permutation
test of the mean slope instead of their t test of scores, whose repeats share samples, so that random marks pass for a
concept too often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.diagnostics.attribution_maps import task_logits
from workbench.diagnostics.untouched import apply, device_of, untouched

#: Random concepts, random halves behind the range, and samples of each kind at most and at least.
RANDOM, HALVES, MOST, LEAST = 399, 10, 100, 10
#: Share of the mean variance that is added to every variance before a covariance is inverted.
SHRINKAGE = 0.1


@dataclass(frozen=True)
class Tcav:
    """The scores of one concept for one class and layer.

    Attributes:
        score: Share in [0, 1] of the asked samples whose logit rises along the concept.
        halves: The same along directions from random halves of the concept's samples: how firm the score is.
        random: The same along random concepts.
        accuracy: How well a half tells the concept from its absence on the other half; 0.5 is chance.
        p_value: Two-sided: share of the labellings, the concept's own among them, along whose direction the mean
            logit changes at least as fast.
    """

    score: float
    halves: Float[np.ndarray, " H"]
    random: Float[np.ndarray, " R"]
    accuracy: float
    p_value: float


def tcav(
    model: nn.Module,
    inputs: Float[Tensor, "N ..."],
    concept: Bool[np.ndarray, " N"],
    asked: Float[Tensor, "M ..."],
    *,
    target: int | Int[np.ndarray, " M"],
    layer: str,
    task: str | None = None,
    n_random: int = RANDOM,
    seed: int = 0,
    forward: Callable[[nn.Module, Any], Any] = apply,
) -> Tcav:
    """Whether a concept raises or lowers the logit of a class. The model is left as it was.

    Args:
        inputs: Samples with and without the concept, as ``concept`` says.
        asked: The samples whose logit is asked about, usually of the class ``target``.
        layer: Name of the module whose output the concept is looked for in.

    Raises:
        ConfigError: no such layer or class, fewer than :data:`LEAST` samples with or without the concept.
    """
    counts = int(concept.sum()), int((~concept).sum())
    if min(counts) < LEAST:
        raise ConfigError(
            f"A concept needs {LEAST} samples with and {LEAST} without it; got {counts[0]} and {counts[1]}."
        )
    rng = np.random.default_rng(seed)
    n = min(MOST, *counts)
    chosen = np.concatenate([rng.permutation(np.flatnonzero(concept == kind))[:n] for kind in (True, False)])
    activations = _activations(model, inputs[torch.from_numpy(chosen)], layer, forward)
    gradients = _gradients(model, asked, target, layer, task, forward)
    marks = np.arange(2 * n) < n  # as many with as without, so that random concepts point either way alike

    # All directions are sums of activations: products with those, once, stand for every direction.
    gram, towards, width = activations @ activations.T, gradients @ activations.T, activations.shape[1]

    def along(labels: np.ndarray) -> tuple[float, float]:
        return _along(_direction(gram, width, labels), gram, towards)

    found, slope = along(marks)
    random = np.array([along(rng.permutation(marks)) for _ in range(n_random)])
    halves, right = [], []
    for _ in range(HALVES):
        half = np.concatenate([rng.permutation(n)[: n // 2], n + rng.permutation(n)[: n // 2]])
        part = np.zeros(2 * n)
        part[half] = _direction(gram[np.ix_(half, half)], width, marks[half])
        halves.append(_along(part, gram, towards)[0])
        right.append(_accuracy(gram @ part, marks, half))
    at_least = int((np.abs(random[:, 1]) >= abs(slope)).sum())
    return Tcav(found, np.array(halves), random[:, 0], float(np.mean(right)), (1 + at_least) / (1 + n_random))


def _activations(model: nn.Module, inputs: Tensor, layer: str, forward: Callable[..., Any]) -> np.ndarray:
    with _tapped(model, layer) as seen, torch.no_grad():
        parts = []
        for batch in inputs.split(512):
            forward(model, batch.to(device_of(model)))
            parts.append(seen[-1].flatten(1).double().cpu().numpy())
    return np.concatenate(parts)


def _gradients(
    model: nn.Module, asked: Tensor, target: int | np.ndarray, layer: str, task: str | None, forward: Callable[..., Any]
) -> np.ndarray:
    """Gradient of each sample's logit of its target on the layer's output."""
    targets = torch.as_tensor(target).expand(len(asked)).to(device_of(model))
    parts = []
    with _tapped(model, layer) as seen, torch.enable_grad():
        for batch, classes in zip(asked.split(512), targets.split(512), strict=True):
            logits = task_logits(forward(model, batch.to(device_of(model)).requires_grad_()), task)
            if bool(((classes < 0) | (classes >= logits.shape[1])).any()):
                raise ConfigError(f"target must be a class from 0 to {logits.shape[1] - 1}; got {classes.tolist()}.")
            (found,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), seen[-1])
            parts.append(found.flatten(1).double().cpu().numpy())
    return np.concatenate(parts)


@contextmanager
def _tapped(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """The last output of a layer, as the one entry of a list, while the model is in eval mode."""
    modules = dict(model.named_modules())
    if not layer or layer not in modules:
        known = ", ".join(name for name in modules if name)
        raise ConfigError(f"The model has no layer '{layer}'. It has: {known}.")
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        seen[:] = [output]

    handle = modules[layer].register_forward_hook(keep)
    try:
        with untouched(model):
            yield seen
    finally:
        handle.remove()


def _direction(gram: Float[np.ndarray, "N N"], width: int, marks: Bool[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """From the absence of the concept to it, as weights of the samples' activations."""
    n = len(marks)
    kinds = np.stack([marks, ~marks]) / np.array([[marks.sum()], [(~marks).sum()]])
    centring = (np.eye(n) - np.where(marks[:, None], kinds[0], kinds[1])) / n**0.5
    spread = centring @ gram @ centring.T
    ridge = SHRINKAGE * float(np.trace(spread)) / width or 1.0
    gap = kinds[0] - kinds[1]
    # The inverse of the covariance, as wide as the layer, by the matrix of samples (Woodbury).
    inner = np.linalg.solve(spread + ridge * np.eye(n), centring @ gram @ gap)
    return np.asarray((gap - centring.T @ inner) / ridge)


def _along(
    weights: Float[np.ndarray, " N"], gram: Float[np.ndarray, "N N"], towards: Float[np.ndarray, "M N"]
) -> tuple[float, float]:
    """Share of samples whose logit rises along a direction, and the mean slope along it, per unit of length."""
    slopes = towards @ weights / (max(float(weights @ gram @ weights), 0.0) ** 0.5 or 1.0)
    return float((slopes > 0).mean()), float(slopes.mean())


def _accuracy(heights: Float[np.ndarray, " N"], marks: Bool[np.ndarray, " N"], used: np.ndarray) -> float:
    """On the samples that were not used, by the side of the middle between the means of the used ones."""
    others = np.setdiff1d(np.arange(len(marks)), used)
    middle = sum(heights[used][marks[used] == kind].mean() for kind in (True, False)) / 2
    return float(((heights[others] > middle) == marks[others]).mean())
