"""Which parts of the input speak for a class, task by task, and how far such a map can be trusted.

maps = attribute(net, images, task="left")                          # [N, C, H, W], in logits
checks = check(net, images, maps, task="left")                      # what to read before the maps
both = agreement(maps, attribute(net, images, task="right"))        # do two tasks look at the same pixels?

A map explains one output: the logit of a class. It says what the net reacts to, not what is right, and a map may look
convincing for a net that learnt nothing; the checks are there to notice. Computed with Captum.

Sources: Sundararajan et al. 2017, Axiomatic Attribution for Deep Networks, arXiv:1703.01365 (integrated gradients,
completeness); Zeiler and Fergus 2014, arXiv:1311.2901 (occlusion); Selvaraju et al. 2017, arXiv:1610.02391 (Grad-CAM);
Yeh et al. 2019, On the (In)fidelity and Sensitivity of Explanations, arXiv:1901.09392; Adebayo et al. 2018, Sanity
Checks for Saliency Maps, arXiv:1810.03292 (the re-initialised model); Dhamdhere et al. 2018, arXiv:1805.12233 (layer
conductance). Ours: Grad-CAM keeps its negative values, the gradient is multiplied by the input's distance from the
baseline, a layer's conductance is summed over channels and each place shared out evenly over the pixels it covers, and
the choices named at :class:`Checks`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.core.gramian import student95
from workbench.diagnostics.attribution_maps import Question
from workbench.diagnostics.untouched import apply, untouched

#: Points on the way from the baseline to the input (Gauss-Legendre).
N_STEPS = 128
#: Methods whose maps add up to the difference of the outputs.
SUMMING = ("integrated gradients", "layer conductance")
#: Random regions per sample behind the infidelity, and random neighbours behind the sensitivity.
N_REGIONS, N_NEIGHBOURS = 40, 5
#: Largest change of an input value in the neighbours.
RADIUS = 0.02


@dataclass(frozen=True)
class Checks:
    """What there is to say against the maps, per sample.

    Attributes:
        gap: Sum of the map minus ``difference``, in logits: 0 for exact integrated gradients, and for the exact
            conductance of a layer that everything passes. NaN for the other methods, which promise no such sum.
        difference: Output for the input minus output for the baseline, in logits.
        infidelity: How much of the change of the output the map misses when random regions are set to the baseline:
            E[(s Σ map - Δ output)²] / E[(Δ output)²] over regions, with the best scale s. 0 is a map that predicts
            every change, 1 one that predicts none; NaN where the output never changes. Regions are rectangles with
            sides of 1/5 to 1/2 of the picture; for other inputs each value is set with probability 1/2.
        sensitivity: Largest relative change (Frobenius norm) of the map over inputs that differ by at most
            :data:`RADIUS` in each value. NaN for a map of zeros.
        randomised: Rank correlation with the map of a copy whose parameters were drawn anew. Near 0 for a method that
            shows what was learnt; near 1 for one that only shows the picture. NaN where a map is constant.
    """

    gap: Float[np.ndarray, " N"]
    difference: Float[np.ndarray, " N"]
    infidelity: Float[np.ndarray, " N"]
    sensitivity: Float[np.ndarray, " N"]
    randomised: Float[np.ndarray, " N"]


@dataclass(frozen=True)
class Mean:
    """A mean over ``n`` samples with its 95 % interval (Student's t). NaN without samples, interval NaN with one."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Agreement:
    """How alike two maps of each sample are: cosine and rank correlation in [-1, 1]; NaN for a constant or zero map."""

    cosine: Float[np.ndarray, " N"]
    rank: Float[np.ndarray, " N"]

    @property
    def mean_cosine(self) -> Mean:
        return mean(self.cosine)

    @property
    def mean_rank(self) -> Mean:
        return mean(self.rank)


def attribute(
    model: nn.Module,
    inputs: Float[Tensor, "N ..."],
    *,
    method: str = "integrated gradients",
    task: str | None = None,
    target: int | Int[Tensor, " N"] | None = None,
    baseline: float | Float[Tensor, "N ..."] = 0.0,
    layer: str | None = None,
    n_steps: int = N_STEPS,
    forward: Callable[[nn.Module, Any], Any] = apply,
) -> np.ndarray:
    """How much each input value adds to a class's logit, relative to the baseline.

    The model runs in eval mode and is left as it was: modes, buffers, ``.grad`` and random states.

    Args:
        method: One of :data:`attribution_maps.METHODS`.
        task: Which output of a model that returns a mapping task -> logits; needed when there are several.
        target: The class, for all samples or per sample; by default the one with the largest logit.
        baseline: What "nothing to see" looks like: one value, or an input for each sample.
        layer: Name of the module that Grad-CAM and layer conductance look at; the last convolution by default.
        n_steps: Points of integrated gradients and conductance; more close the gap of nets with many kinks.
        forward: How to run the model; it returns logits [N, C] (or one value per sample, [N]), or a mapping of such.

    Returns:
        Shaped like ``inputs``; [N, H, W] for Grad-CAM and layer conductance.

    Raises:
        ConfigError: an unknown method, task, layer or class, or an output that is not [N, C].
    """
    with untouched(model), torch.enable_grad():
        question = Question.of(model, inputs, method, task, target, baseline, layer, n_steps, forward)
        return question.maps(question.inputs).cpu().numpy()


def check(
    model: nn.Module,
    inputs: Float[Tensor, "N ..."],
    maps: np.ndarray,
    *,
    method: str = "integrated gradients",
    task: str | None = None,
    target: int | Int[Tensor, " N"] | None = None,
    baseline: float | Float[Tensor, "N ..."] = 0.0,
    layer: str | None = None,
    n_steps: int = N_STEPS,
    forward: Callable[[nn.Module, Any], Any] = apply,
    seed: int = 0,
) -> Checks:
    """Checks of the maps that :func:`attribute` made with the same arguments. The same seed gives the same numbers."""
    with untouched(model), torch.enable_grad():
        question = Question.of(model, inputs, method, task, target, baseline, layer, n_steps, forward)
        if len(maps) != len(inputs):
            raise ConfigError(f"There must be one map per input; got {len(maps)} maps and {len(inputs)} inputs.")
        with torch.no_grad():
            difference = question.value(question.inputs) - question.value(question.baseline)
        total = torch.from_numpy(maps).to(difference).flatten(1).sum(1)
        gap = total - difference if question.method in SUMMING else torch.full_like(total, torch.nan)
        return Checks(
            gap=_numbers(gap),
            difference=_numbers(difference),
            infidelity=_numbers(_infidelity(question, maps, seed)),
            sensitivity=_numbers(_sensitivity(question, seed)),
            randomised=agreement(
                maps, question.of_model(reinitialised(model, seed)).maps(question.inputs).cpu().numpy()
            ).rank,
        )


def agreement(left: np.ndarray, right: np.ndarray) -> Agreement:
    """How alike two sets of maps [N, ...] are, sample by sample.

    Raises:
        ConfigError: the maps differ in shape.
    """
    from scipy.stats import rankdata  # loaded late: a list of methods needs no statistics

    if left.shape != right.shape:
        raise ConfigError(f"Maps to compare must have one shape; got {left.shape} and {right.shape}.")
    a, b = (np.asarray(maps, dtype=np.float64).reshape(len(maps), -1) for maps in (left, right))
    ranks = [rankdata(values, axis=1) for values in (a, b)]
    centred = [values - values.mean(axis=1, keepdims=True) for values in ranks]
    return Agreement(cosine=_cosine(a, b), rank=_cosine(*centred))


def mean(values: Float[np.ndarray, " N"]) -> Mean:
    """The mean of the values that are numbers, with Student's 95 % interval over them."""
    known = values[np.isfinite(values)]
    n = len(known)
    if n < 2:
        return Mean(float(known[0]) if n else float("nan"), float("nan"), float("nan"), n)
    centre, half = float(known.mean()), student95(n - 1) * float(known.std(ddof=1)) / n**0.5
    return Mean(centre, centre - half, centre + half, n)


def reinitialised(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy with parameters drawn anew: by each module's ``reset_parameters``, else by shuffling their values."""
    twin = copy.deepcopy(model)
    with untouched(model, training=None), torch.no_grad():
        torch.manual_seed(seed)
        for module in twin.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
                continue
            for parameter in module.parameters(recurse=False):
                shuffled = parameter.flatten()[torch.randperm(parameter.numel()).to(parameter.device)]
                parameter.copy_(shuffled.view_as(parameter))
    return twin


def _infidelity(question: Question, maps: np.ndarray, seed: int) -> Tensor:
    """Missed share of the output's changes when random regions are removed."""
    from captum.metrics import infidelity

    inputs = question.inputs
    shares = torch.from_numpy(maps).to(inputs)
    if shares.shape != inputs.shape:  # one map for all channels: a region covers them all
        shares = (shares[:, None] / inputs.shape[1]).expand_as(inputs)
    ground = question.baseline.repeat_interleave(N_REGIONS, 0)

    def removed(given: Tensor) -> tuple[Tensor, Tensor]:
        region = _regions(given)
        return region, torch.where(region > 0, ground, given)

    def measured(attributions: Tensor, normalize: bool) -> Tensor:
        torch.manual_seed(seed)
        with torch.no_grad():
            return infidelity(
                question.logits, removed, inputs, attributions.contiguous(), target=question.target,
                n_perturb_samples=N_REGIONS, normalize=normalize,
            )  # fmt: skip

    change = measured(torch.zeros_like(inputs), False)
    return torch.where(change > 0, measured(shares, True) / change, torch.nan)


def _regions(inputs: Tensor) -> Tensor:
    """1 inside a random region of each input, 0 outside."""
    if inputs.ndim != 4:
        return (torch.rand(inputs.shape, device=inputs.device) < 0.5).to(inputs)
    inside = []
    for size in inputs.shape[2:]:
        side = size * (0.2 + 0.3 * torch.rand(len(inputs), 1, device=inputs.device))
        start = torch.rand(len(inputs), 1, device=inputs.device) * (size - side)
        at = torch.arange(size, device=inputs.device) + 0.5
        inside.append((at >= start) & (at < start + side))
    region = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return region.to(inputs).expand_as(inputs).contiguous()


def _sensitivity(question: Question, seed: int) -> Tensor:
    from captum.metrics import sensitivity_max

    def explained(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        with torch.enable_grad():  # the metric turns gradients off
            return (question.maps(given[0]),)

    torch.manual_seed(seed)
    found = sensitivity_max(explained, question.inputs, perturb_radius=RADIUS, n_perturb_samples=N_NEIGHBOURS)
    still = question.maps(question.inputs).flatten(1).abs().amax(1) == 0
    return torch.where(still, torch.nan, found)


def _cosine(a: Float[np.ndarray, "N D"], b: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = np.divide((a * b).sum(axis=1), norms, out=np.full(len(a), np.nan), where=norms > 0)
    return np.clip(cosine, -1, 1)  # rounding may pass the ends


def _numbers(values: Tensor) -> Float[np.ndarray, " N"]:
    return values.detach().cpu().double().numpy()
