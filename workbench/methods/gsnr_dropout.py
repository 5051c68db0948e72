"""GSNR-guided dropout: leave out, at every step, the weights on which the training domains agree most.

Each domain gives a weight its own gradient. Where these gradients agree the weight has a high gradient signal-to-noise
ratio (GSNR) and the net leans on it; masking just these weights for one step makes the others learn, too. The ratio of
masked weights is fixed, or learned by asking at each step what would have helped a source domain that was held back:

    r_j    = m_j² / (s_j² + ε)                             GSNR between B samples: mean, unbiased variance of g_ij
    r_j    = (1/K Σ_d g_dj)² / (Var_d g_dj + ε)            GSNR between K domains: population variance of their means
    r_j    = m_j² / (v_j − m_j² + ε)                       GSNR between steps: running means of g_j and of g_j²
    M_j    = 0 for the floor(p P) largest r_j, else 1      mask of P weights; no gradient flows through it
    θ     <- θ − lr d/dθ L(θ ⊙ M)                          site "weight": neither acts nor learns in this step
    θ     <- θ − lr M ⊙ d/dθ L(θ)                          site "gradient": acts, does not learn
    p_l    = p_max sigmoid(φ_l)                            learned ratio of weight tensor l
    M_j(p) = sigmoid((1 − p − κ_j) / T)                    soft mask; κ_j the rank of r_j, 1 the highest, 0 the lowest
    θ'     = θ − α d/dθ L_train(θ ⊙ M(p))                  all source domains but one
    φ     <- φ − β d/dφ L_test(θ')                         the one held back, drawn anew at each step
    W_j    = E[g_Dj²] / Σ_i E[g_Di²]                       share of weight j in the gain of a step on n samples D
    R      = 1 − 1/n Σ_j W_j / (r_j + 1/n)                 one-step generalisation ratio: what new data would share

Letters: P weights of one tensor (or of the whole net), B samples, K domains, g a gradient, L the sum over domains of
the mean loss in nats, φ one number per weight tensor, α the step tried out, β the step of φ. At test time nothing is
masked. Biases and the scales of normalisations are never masked. A running mean is β-weighted, divided by 1 − β^t.

In plain words: a net trained on several domains tends to rely on few cues that work in all of them, and fails where
these break. This method looks, at every step, for the weights on which the training domains agree most strongly, and
trains that step without them. Plain dropout takes weights at random instead, and RSC the features that matter most to
the answer. The method can also adjust by itself how many weights it takes.

Look at: the GSNR lens. "Mask overlay" shows which weights were left out, "Mask over training" whether the net still
needs them, "Shortcut timeline" when the highest GSNR lies on a planted shortcut, and "Ratio cliff" where masking more
turns into collapse. The page that compares two runs lays their GSNR over one another, for example with and without.

Family: domain generalisation

Cite: Michalkiewicz, Faraki, Yu, Chandraker, Baktashmotlagh 2023, Domain Generalization Guided by Gradient Signal to
Noise Ratio of Parameters, ICCV, arXiv:2310.07361. GSNR, W and R: Liu, Jiang, Bai, Chen, Wang 2020, Understanding Why
Neural Networks Generalize Well Through GSNR of Parameters, ICLR, arXiv:2001.07384. Between steps: Cho, Kim, Kim 2025,
One-Step Generalization Ratio Guided Optimization for Domain Generalization (GENIE), ICML.
The paper's: masking the parameters with the highest GSNR in place of a random dropout mask, and learning the ratio by
meta-learning. Ours, because these details were not found: variance between domains by default, both sites, ranking per
tensor, no rescaling by 1/(1 − p), ε = 1e-12, the learned ratio's form (sigmoid, soft mask on ranks, T, α, β), and one
decay for both running means, which keeps v − m² from being negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from workbench.core import ConfigError

#: Keeps the ratio of a weight without any gradient at 0.
EPSILON = 1e-12

Tensors: TypeAlias = Mapping[str, Tensor]
#: (all parameters by name, the domains wanted) -> domain -> loss of every sample [B], computed with those parameters.
LossesOf: TypeAlias = Callable[[Tensors, Sequence[str]], Tensors]


@dataclass(frozen=True)
class Config:
    """Settings; the defaults are the method with a fixed ratio.

    Attributes:
        ratio: p, the share of weights to mask; with ``learned`` the ratio to start from. 0 trains as if without.
        score: What ranks the weights: GSNR between "domains", "samples" or (cheaper, from running means) "steps", the
            "size" of the mean gradient, or "random" (plain dropout of weights).
        drop: The "highest" or the "lowest" scores; the latter is a control.
        site: Mask the "weight" or its "gradient".
        ranked: Within each "tensor", or over the whole "net".
        rescale: Divide the kept weights by 1 − p (site "weight" only).
        until: Steps after which nothing is masked any more; None for never.
        learned: Learn a ratio for each tensor; max_ratio, temperature, inner_lr and outer_lr are p_max, T, α and β.
        decay: Of the running means, from each step to the next.
    """

    ratio: float = 0.05
    score: Literal["domains", "samples", "steps", "size", "random"] = "domains"
    drop: Literal["highest", "lowest"] = "highest"
    site: Literal["weight", "gradient"] = "weight"
    ranked: Literal["tensor", "net"] = "tensor"
    rescale: bool = False
    until: int | None = None
    learned: bool = False
    max_ratio: float = 0.5
    temperature: float = 0.05
    inner_lr: float = 0.05
    outer_lr: float = 1.0
    decay: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise ConfigError(f"ratio is a share of the weights, at least 0 and below 1; got {self.ratio}.")
        if self.learned and not 0 < self.ratio < self.max_ratio <= 1:
            found = f"ratio={self.ratio}, max_ratio={self.max_ratio}"
            raise ConfigError(f"A learned ratio starts above 0 and below max_ratio, which is at most 1; got {found}.")
        if self.learned and self.ranked == "net":
            raise ConfigError("A learned ratio belongs to one weight tensor: use ranked='tensor'.")
        for name in ("temperature", "inner_lr", "outer_lr"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive; got {getattr(self, name)}.")
        if not 0 < self.decay < 1:
            raise ConfigError(f"decay must lie between 0 and 1; got {self.decay}.")


def between_samples(gradients: Float[Tensor, "B ..."], epsilon: float = EPSILON) -> Float[Tensor, "*P"]:
    """GSNR from per-sample gradients.

    Raises:
        ConfigError: fewer than two samples have no variance.
    """
    if len(gradients) < 2:
        raise ConfigError(f"GSNR between samples needs at least 2 samples; got {len(gradients)}.")
    return gradients.mean(dim=0).square() / (gradients.var(dim=0) + epsilon)


def between_domains(gradients: Float[Tensor, "K ..."], epsilon: float = EPSILON) -> Float[Tensor, "*P"]:
    """GSNR from each domain's mean gradient.

    Raises:
        ConfigError: one domain agrees with itself; its variance would be 0 everywhere.
    """
    if len(gradients) < 2:
        raise ConfigError(
            f"GSNR between domains needs the losses of at least 2 domains; got {len(gradients)}. Give one entry a "
            "domain, or rank by GSNR between samples (score='samples')."
        )
    return gradients.mean(dim=0).square() / (gradients.var(dim=0, unbiased=False) + epsilon)


def between_steps(
    mean: Float[Tensor, "*P"], square: Float[Tensor, "*P"], epsilon: float = EPSILON
) -> Float[Tensor, "*P"]:
    """GSNR from running means of the gradient and its square, such as Adam's; of one step, the order of the sizes."""
    return mean.square() / ((square - mean.square()).clamp_min(0) + epsilon)


def mean_size(gradients: Float[Tensor, "K ..."]) -> Float[Tensor, "*P"]:
    """Size of the mean gradient: the ranking of RSC, applied to weights."""
    return gradients.mean(dim=0).abs()


def shares_of_gain(mean: Float[Tensor, "*P"], variance: Float[Tensor, "*P"], n: float) -> Float[Tensor, "*P"]:
    """W: each weight's share of E[g_D²] = mean² + variance / n, for a training set of n samples; sums to 1."""
    gain = mean.square() + variance / n
    return gain / gain.sum()


def generalisation_ratio(r: Float[Tensor, "*P"], shares: Float[Tensor, "*P"], n: float) -> Float[Tensor, ""]:
    """R from GSNR and W; at most 1. Equals Σ mean² / Σ (mean² + variance / n).

    R = E[ΔL_D'] / E[ΔL_D] of a small step λ on D, with D' new: ΔL_D ≈ λ Σ g_Dj², ΔL_D' ≈ λ Σ g_Dj g_D'j; D and D' share
    the mean alone, so that E[g_Dj g_D'j] = mean², while E[g_Dj²] = mean² + variance / n.
    """
    return 1 - (shares / (r + 1 / n)).sum() / n


def n_masked(ratio: float, n_weights: int) -> int:
    """floor(p P), where a product like 0.29 · 100 that falls short of a whole number by rounding counts as whole."""
    return math.floor(ratio * n_weights + 1e-9)


def hard_mask(scores: Float[Tensor, "*P"], ratio: float) -> Bool[Tensor, "*P"]:
    """False for exactly floor(p P) entries with the highest scores; of equal scores the first goes first."""
    kept = torch.ones(scores.numel(), dtype=torch.bool, device=scores.device)
    count = n_masked(ratio, scores.numel())
    if count:
        kept[_from_highest(scores)[:count]] = False
    return kept.view(scores.shape)


def ranks(scores: Float[Tensor, "*P"]) -> Float[Tensor, "*P"]:
    """κ: 1 for the highest score, 0 for the lowest, evenly spaced, equal scores as in :func:`hard_mask`."""
    found = torch.empty(scores.numel(), dtype=scores.dtype, device=scores.device)
    found[_from_highest(scores)] = torch.linspace(1, 0, scores.numel(), dtype=scores.dtype, device=scores.device)
    return found.view(scores.shape)


def _from_highest(scores: Tensor) -> Tensor:
    return torch.argsort(scores.flatten(), descending=True, stable=True)


def soft_mask(ranked: Float[Tensor, "*P"], ratio: Float[Tensor, ""], temperature: float) -> Float[Tensor, "*P"]:
    """M(p), between 0 and 1; the hard mask as T goes to 0, up to one weight."""
    return torch.sigmoid((1 - ratio - ranked) / temperature)


def overlap(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Jaccard index of the weights that two masks leave out, over all tensors; NaN when neither leaves out any."""
    both = sum(int((~a[name] & ~b[name]).sum()) for name in a)
    either = sum(int((~a[name] | ~b[name]).sum()) for name in a)
    return both / either if either else math.nan


def total(losses: Tensors) -> Float[Tensor, ""]:
    """L: the sum over domains of the mean loss."""
    return torch.stack([loss.mean() for loss in losses.values()]).sum()


def domain_gradients(losses: Tensors, weights: Tensors) -> dict[str, Float[Tensor, "K ..."]]:
    """Gradient of each domain's mean loss. One backward pass a domain; the graph is kept."""
    rows = [_slopes(loss.mean(), weights) for loss in losses.values()]
    return {name: torch.stack(column) for name, column in zip(weights, zip(*rows, strict=True), strict=True)}


def _slopes(loss: Tensor, weights: Tensors) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, list(weights.values()), retain_graph=True, materialize_grads=True)


def sample_gradients(losses: Tensors, weights: Tensors) -> dict[str, Float[Tensor, "B ..."]]:
    """Gradient of every sample's loss, of all domains together; B times the memory of the weights. Keeps the graph."""
    every = torch.cat(list(losses.values()))
    rows = torch.autograd.grad(
        every, list(weights.values()), torch.eye(len(every), dtype=every.dtype, device=every.device),
        retain_graph=True, is_grads_batched=True, materialize_grads=True,
    )  # fmt: skip
    return dict(zip(weights, rows, strict=True))


def ratio_gradients(
    losses_of: LossesOf,
    parameters: Tensors,
    ranked: Tensors,
    logits: Tensors,
    train: Sequence[str],
    test: str,
    config: Config,
) -> dict[str, Float[Tensor, ""]]:
    """d/dφ L_test(θ') of every tensor's φ, through one step on the training domains with soft masks.

    Args:
        ranked: κ of every masked tensor. logits: their φ.
        train: Source domains of the step tried out. test: the one held back.
    """
    leaves = {name: logit.detach().clone().requires_grad_() for name, logit in logits.items()}
    start = {name: value.detach().clone().requires_grad_() for name, value in parameters.items()}
    soft = {
        name: soft_mask(ranked[name], config.max_ratio * torch.sigmoid(leaf), config.temperature)
        for name, leaf in leaves.items()
    }
    masked = {name: value * soft[name] if name in soft else value for name, value in start.items()}
    slopes = torch.autograd.grad(
        total(losses_of(masked, train)), list(start.values()), create_graph=True, materialize_grads=True
    )
    moved = {name: value - config.inner_lr * slope for (name, value), slope in zip(start.items(), slopes, strict=True)}
    outer = losses_of(moved, [test])[test].mean()
    found = torch.autograd.grad(outer, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def masked_names(net: nn.Module) -> tuple[str, ...]:
    """Parameters that are masked: trainable weight tensors with at least two axes, in the order of the net."""
    return tuple(name for name, value in net.named_parameters() if value.requires_grad and value.ndim > 1)


class GsnrDropout:
    """Masks for one net. Random choices come from a generator of its own, so that the data's draws stay the same.

    Attributes:
        scores: Weight tensor -> what ranked its weights at the last step that masked any.
        masks: Weight tensor -> which weights were kept at the last step; empty before the first.
        logits: φ of every tensor (learned ratio only).
        step: Steps so far.
    """

    def __init__(self, net: nn.Module, config: Config = Config(), seed: int = 0) -> None:
        self.config = config
        self.parameters = {name: value for name, value in net.named_parameters() if value.requires_grad}
        self.weights = {name: self.parameters[name] for name in masked_names(net)}
        self.scores: dict[str, Tensor] = {}
        self.masks: dict[str, Tensor] = {}
        self.step = 0
        self._draws = torch.Generator().manual_seed(seed)
        self._running = {name: torch.zeros(2, *value.shape).to(value) for name, value in self.weights.items()}
        start = math.log(config.ratio / (config.max_ratio - config.ratio)) if config.learned else 0.0
        adapted = self.weights if config.learned else {}
        self.logits = {name: torch.tensor(start, device=value.device) for name, value in adapted.items()}

    @property
    def ratios(self) -> dict[str, float]:
        """p of every weight tensor."""
        if self.config.learned:
            return {name: self.config.max_ratio * torch.sigmoid(logit).item() for name, logit in self.logits.items()}
        return dict.fromkeys(self.weights, self.config.ratio)

    @property
    def active(self) -> bool:
        """Whether the next step masks anything."""
        started = self.config.until is None or self.step < self.config.until
        return started and (self.config.learned or self.config.ratio > 0)

    def backward(self, losses: Tensors, losses_of: LossesOf | None = None) -> dict[str, float]:
        """Add this step's gradient to every ``.grad``, like ``total(losses).backward()``; the optimizer steps then.

        Momentum and weight decay of that optimizer may still move a masked weight.

        Args:
            losses: Domain -> loss of every sample [B], of the net as it is.
            losses_of: Computes them with other parameters; a fixed ratio at the site "gradient" does without.

        Returns:
            What to log: ``overlap`` with the weights left out one step before (NaN if none were), ``ratio/<tensor>``.

        Raises:
            ConfigError: ``losses_of`` is needed, or there are too few domains or samples for a variance.
        """
        masks: dict[str, Tensor] = {}
        if self.active:
            self.scores = self._scores(losses)
            if self.config.learned:
                self._learn(losses, self._needed(losses_of))
            masks = self._chosen()
            if self.config.site == "weight":
                losses = self._needed(losses_of)(self._masked(masks), tuple(losses))
        total(losses).backward()
        if self.config.site == "gradient":
            self._clear(masks)
        overlapping = overlap(self.masks, masks) if self.masks and masks else math.nan
        self.masks = masks
        self.step += 1
        return {"overlap": overlapping} | {f"ratio/{name}": p if masks else 0.0 for name, p in self.ratios.items()}

    def _needed(self, losses_of: LossesOf | None) -> LossesOf:
        if losses_of is None:
            raise ConfigError(
                "Masked weights and a learned ratio need losses_of=, which computes the losses with other parameters. "
                "Losses alone are enough for site='gradient' with a fixed ratio."
            )
        return losses_of

    def _scores(self, losses: Tensors) -> dict[str, Tensor]:
        score = self.config.score
        if score == "random":
            found = {
                name: torch.rand(value.shape, generator=self._draws).to(value.device)
                for name, value in self.weights.items()
            }
        elif score == "samples":
            found = {name: between_samples(row) for name, row in sample_gradients(losses, self.weights).items()}
        elif score == "steps":
            found = {name: between_steps(*moments) for name, moments in self._moments(losses).items()}
        else:
            rule = between_domains if score == "domains" else mean_size
            found = {name: rule(row) for name, row in domain_gradients(losses, self.weights).items()}
        return found if self.config.drop == "highest" else {name: -value for name, value in found.items()}

    def _moments(self, losses: Tensors) -> dict[str, Float[Tensor, "2 ..."]]:
        """Running means of the gradient and of its square after this step, their start at 0 corrected for."""
        decay = self.config.decay
        for kept, slope in zip(self._running.values(), _slopes(total(losses), self.weights), strict=True):
            kept.mul_(decay).add_(torch.stack([slope, slope.square()]), alpha=1 - decay)
        return {name: kept / (1 - decay ** (self.step + 1)) for name, kept in self._running.items()}

    def _learn(self, losses: Tensors, losses_of: LossesOf) -> None:
        """One step of φ; the domain held back is drawn at random."""
        if len(domains := list(losses)) < 2:
            raise ConfigError(f"A learned ratio holds one domain back and needs at least 2; got {len(domains)}.")
        held_back = domains.pop(int(torch.randint(len(domains), (), generator=self._draws)))
        ranked = {name: ranks(score) for name, score in self.scores.items()}
        slopes = ratio_gradients(losses_of, self.parameters, ranked, self.logits, domains, held_back, self.config)
        self.logits = {name: logit - self.config.outer_lr * slopes[name] for name, logit in self.logits.items()}

    def _chosen(self) -> dict[str, Tensor]:
        if self.config.ranked == "tensor":
            ratios = self.ratios
            return {name: hard_mask(score, ratios[name]) for name, score in self.scores.items()}
        joined = hard_mask(torch.cat([score.flatten() for score in self.scores.values()]), self.config.ratio)
        parts = joined.split([score.numel() for score in self.scores.values()])
        return {name: part.view(score.shape) for (name, score), part in zip(self.scores.items(), parts, strict=True)}

    def _masked(self, masks: Tensors) -> dict[str, Tensor]:
        scale = 1 / (1 - self.config.ratio) if self.config.rescale else 1.0
        return {
            name: value * masks[name] * scale if name in masks else value for name, value in self.parameters.items()
        }

    def _clear(self, masks: Tensors) -> None:
        for name, mask in masks.items():
            gradient = self.weights[name].grad
            if gradient is not None:
                gradient.mul_(mask)


def gradient_rule(net: nn.Module, seed: int = 0) -> Callable[[Tensors], None]:
    """The method for any training loop: from per-sample losses of one batch, by domain (or task), to masked ``.grad``.

    At the site "gradient" with the default ratio, because the losses are there already.
    """
    method = GsnrDropout(net, Config(site="gradient"), seed)

    def rule(losses: Tensors) -> None:
        method.backward(losses)

    return rule
