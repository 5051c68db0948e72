"""CDT: measures triplets of one domain by how pairs differ in another, inside look-ahead episodes.

Trained on some groups of faces, a net has to tell people of an unseen group apart. The covariance of the differences
between two pictures of one person says along which directions of the feature map that domain varies without meaning
anything; the covariance between two persons says what does mean something. Both are taken from one source domain and
used, not inverted, to measure triplets of another: directions that are noise in one domain are squeezed in all.

    d²_Σ(x, y) = (x - y)' Σ (x - y) = |Λ^{1/2} V' (x - y)|²,   Σ = V Λ V'    Σ = I: squared Euclidean distance
    Σ+  = 1/(N-1) sum_i (r_i - μ)(r_i - μ)',   r = f_r(a) - f_r(p) at every place, μ = mean r, N = B H W
    Σ-  the same with r = f_r(a) - f_r(n)
    l_cdt(iT, jT) = 1/B sum_b [mean_hw d²_{jΣ+}(f_r(a_b), f_r(p_b)) - mean_hw d²_{jΣ-}(f_r(a_b), f_r(n_b)) + τ]+
    l_trp = 1/B sum_b [|f_e(a) - f_e(p)|² - |f_e(a) - f_e(n)|² + ρ]+
    l_cls = -log  e^{s (cos θ_y - m)} / (e^{s (cos θ_y - m)} + sum_{y'≠y} e^{s cos θ_y'})

    L_s  = l_cls(jT) + l_trp(jT)  at Θ,      Θ' = Θ - α dL_s/dΘ       meta-train domain j
    L_t  = l_cls(iT) + l_trp(iT) + l_cdt(iT, jT)  at Θ', Σ at Θ       meta-test domain i
    Θ   <- Θ - β/k sum_i d/dΘ sum_{j≠i} (λ L_s + (1 - λ) L_t)         second order, through Θ'

Letters: k source domains with disjoint identities, T = B triplets (a, p, n) of one domain, f_r [B, D, H, W] the feature
map before pooling, f_e [B, E] the triplet embedding and f_c [B, D'] the identity embedding, both of length 1, C
identities of all domains together, Θ all parameters. d² is large along the leading directions V of the other domain's
differences, so what varies there within persons is suppressed here. Without the hinge and with all terms active, the
mean over b is tr(jΣ+ iM+) - tr(jΣ- iM-) + τ, M± the mean of r r'.

In plain words: Two photos of one person never look the same: the light changes, the head turns. This method learns from
one group which differences between photos mean nothing and which tell people apart, and holds every other group to the
same yardstick. It also rehearses: it takes a trial step on one group and judges it on another, as if that one were new.

Look at: the pair covariances in the domains lens, whether same-person differences shrink against different-person ones
in every domain and point the same way; there, "Arrows over training", whether the groups' centres move together; the
verification view of the bias lens for the unseen group's accepted pairs.

Family: bias-aware margins

Cite: Faraki et al. 2021, Cross-Domain Similarity Learning for Face Recognition in Unseen Domains, CVPR 2021,
pp. 15292-15301, arXiv:2103.07503.
The paper's: all equations and the algorithm. Our choice: the usual form of the identity loss (the printed one keeps m
outside the scale), the sum over j before the update (the printed listing leaves it open), the gradient through Σ
(``detach_metrics`` stops it), s, and the controls: Σ = I, no cross-domain term, Σ turned at random with its eigenvalues
kept, and α = 0 for no look-ahead. The paper makes a second picture of persons who have one alone, by blur and
occlusion; here every person has several.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from workbench.core import ConfigError
from workbench.methods._cosine_margin import margin_loss

#: What measures the local triplets: the other domain, plain length, the other domain turned at random, or no term.
Metric = Literal["cross", "identity", "turned", "none"]


@dataclass(frozen=True)
class Config:
    scale: float = 30.0  # s; our choice
    margin: float = 0.5  # m
    triplet: bool = True  # whether l_trp takes part
    metric: Metric = "cross"
    tau: float = 1.0
    rho: float = 1.0
    balance: float = 0.7  # λ; the best of the paper's sweep
    alpha: float = 1e-4  # of the look-ahead; 0 for none
    detach_metrics: bool = False  # whether Σ passes no gradient

    def __post_init__(self) -> None:
        if self.scale <= 0 or self.alpha < 0:
            raise ConfigError(f"scale must be positive and alpha not negative; got {self.scale} and {self.alpha}.")
        if not 0 <= self.balance <= 1:
            raise ConfigError(f"balance must lie in [0, 1]; got {self.balance}.")


@dataclass(frozen=True)
class Outputs:
    """What the net gives for a batch of pictures."""

    feature_map: Float[Tensor, "B D H W"]
    cosine: Float[Tensor, "B C"]
    compact: Float[Tensor, "B E"]


@dataclass(frozen=True)
class Triplets:
    """B triplets of one domain: anchors, then positives, then negatives, [3B, ...], with their identities."""

    inputs: Float[Tensor, "N ..."]
    labels: Int[Tensor, " N"]


@dataclass(frozen=True)
class Metrics:
    """Σ+ and Σ- of one domain."""

    positive: Float[Tensor, "D D"]
    negative: Float[Tensor, "D D"]


@dataclass(frozen=True)
class Episode:
    """One domain's turn as meta-test domain.

    Attributes:
        loss: sum over j of λ L_s + (1 - λ) L_t, to be differentiated.
        logs: The terms by name, means over j; ``active/<i>|<j>`` is the share of triplets of i whose cross-domain
            hinge under the metrics of j is above 0; ``trace+/<j>`` and ``trace-/<j>`` belong to Σ of j.
    """

    loss: Float[Tensor, ""]
    logs: dict[str, float]


def local_differences(a: Float[Tensor, "B D H W"], b: Float[Tensor, "B D H W"]) -> Float[Tensor, "N D"]:
    """r at every place of every pair, N = B H W."""
    return (a - b).movedim(1, -1).flatten(0, 2)


def pair_covariance(differences: Float[Tensor, "N D"]) -> Float[Tensor, "D D"]:
    """Σ, the second equation: symmetric, positive semi-definite, of full rank only for N > D."""
    centred = differences - differences.mean(dim=0)
    return centred.T @ centred / (len(differences) - 1)


def metrics_of(
    anchor: Float[Tensor, "B D H W"], positive: Float[Tensor, "B D H W"], negative: Float[Tensor, "B D H W"]
) -> Metrics:
    """Σ+ and Σ- of one domain's triplets. The order within the pairs should be random, so that μ+ is about 0."""
    return Metrics(
        pair_covariance(local_differences(anchor, positive)), pair_covariance(local_differences(anchor, negative))
    )


def identity_metrics(like: Metrics) -> Metrics:
    """A control: squared Euclidean distances, the same loss without another domain in it."""
    eye = torch.eye(len(like.positive), dtype=like.positive.dtype, device=like.positive.device)
    return Metrics(eye, eye)


def turned_metrics(metrics: Metrics, generator: torch.Generator | None = None) -> Metrics:
    """A control: the same eigenvalues along random directions. If it does as well, the directions do not matter."""
    width = len(metrics.positive)
    drawn = torch.randn(2, width, width, generator=generator).to(metrics.positive)
    first, second = torch.linalg.qr(drawn).Q
    return Metrics(first @ metrics.positive @ first.T, second @ metrics.negative @ second.T)


def leading_angle(first: Float[Tensor, "D D"], second: Float[Tensor, "D D"], q: int = 3) -> float:
    """Mean principal angle in degrees between the leading q directions of two covariances."""
    q = min(q, len(first))
    a, b = (torch.linalg.eigh(matrix.detach()).eigenvectors[:, -q:] for matrix in (first, second))
    return torch.linalg.svdvals(a.T @ b).clamp(0, 1).arccos().rad2deg().mean().item()


@torch.no_grad()
def metric_logs(net: nn.Module, triplets: Mapping[str, Triplets], leading: int = 5) -> dict[str, float]:
    """What to log of Σ: ``eigenvalue+/<domain>/<place>`` and ``eigenvalue-/...``, the ``leading`` largest from place 1,
    and ``angle/<i>|<j>``, degrees between the leading directions of Σ+ of two domains."""
    found = {name: metrics_of(*net(batch.inputs).feature_map.chunk(3)) for name, batch in triplets.items()}
    logs: dict[str, float] = {}
    for name, own in found.items():
        for sign, matrix in (("+", own.positive), ("-", own.negative)):
            largest = torch.linalg.eigvalsh(matrix).flip(0)[:leading].tolist()
            logs |= {f"eigenvalue{sign}/{name}/{place}": value for place, value in enumerate(largest, start=1)}
    names = list(found)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            logs[f"angle/{a}|{b}"] = leading_angle(found[a].positive, found[b].positive)
    return logs


def map_distance(
    a: Float[Tensor, "B D H W"], b: Float[Tensor, "B D H W"], metric: Float[Tensor, "D D"]
) -> Float[Tensor, " B"]:
    """mean over the places of d²_Σ of every pair."""
    r = a - b
    return torch.einsum("bdhw,de,behw->b", r, metric, r) / (a.shape[2] * a.shape[3])


def cdt_terms(
    anchor: Float[Tensor, "B D H W"],
    positive: Float[Tensor, "B D H W"],
    negative: Float[Tensor, "B D H W"],
    metrics: Metrics,
    tau: float,
) -> Float[Tensor, " B"]:
    """What l_cdt puts into its hinge; l_cdt is the mean of what is above 0.

    It grows with the fourth power of the features' scale while τ stays: with weight decay, watch the traces of Σ.
    """
    near = map_distance(anchor, positive, metrics.positive)
    return near - map_distance(anchor, negative, metrics.negative) + tau


def triplet_loss(
    anchor: Float[Tensor, "B E"], positive: Float[Tensor, "B E"], negative: Float[Tensor, "B E"], rho: float
) -> Float[Tensor, " B"]:
    """l_trp per triplet; the mean is the loss. Embeddings have length 1."""
    near = (anchor - positive).square().sum(dim=1)
    return (near - (anchor - negative).square().sum(dim=1) + rho).relu()


def supervised_loss(seen: Outputs, labels: Int[Tensor, " N"], config: Config) -> Float[Tensor, ""]:
    """l_cls + l_trp of one domain's triplets."""
    loss = margin_loss(seen.cosine, labels, config.margin, config.scale).mean()
    if config.triplet:
        anchor, positive, negative = seen.compact.chunk(3)
        loss = loss + triplet_loss(anchor, positive, negative, config.rho).mean()
    return loss


def episode(
    net: nn.Module,
    triplets: Mapping[str, Triplets],
    target: str,
    config: Config = Config(),
    generator: torch.Generator | None = None,
) -> Episode:
    """Steps 1 to 5 of the algorithm for the meta-test domain ``target``; all other domains take their turn as j.

    Args:
        net: ``net(pictures)`` gives :class:`Outputs`.
        triplets: Domain -> its triplets of this step.
        generator: Of the random directions of the metric "turned".

    Raises:
        ConfigError: ``target`` has no triplets, or no other domain has.
    """
    if target not in triplets or len(triplets) < 2:
        raise ConfigError(f"An episode needs '{target}' and another domain; got {', '.join(triplets) or 'none'}.")
    tested = triplets[target]
    still = net(tested.inputs) if config.alpha == 0 else None  # without a look-ahead Θ' is Θ for every j
    losses: list[Tensor] = []
    logs: dict[str, list[Tensor]] = {}
    for name in triplets:
        if name == target:
            continue
        here = net(triplets[name].inputs)
        source = supervised_loss(here, triplets[name].labels, config)
        there = still if still is not None else _ahead(net, source, tested.inputs, config.alpha)
        goal = supervised_loss(there, tested.labels, config)
        logs.setdefault("source", []).append(source)
        logs.setdefault("target", []).append(goal)
        if config.metric != "none":
            anchor, positive, negative = here.feature_map.chunk(3)
            own = metrics_of(anchor, positive, negative)
            anchor, positive, negative = there.feature_map.chunk(3)
            terms = cdt_terms(anchor, positive, negative, _chosen(own, config, generator), config.tau)
            goal = goal + terms.relu().mean()
            logs.setdefault("cdt", []).append(terms.relu().mean())
            logs[f"active/{target}|{name}"] = [(terms > 0).float().mean()]
            logs |= {f"trace+/{name}": [own.positive.trace()], f"trace-/{name}": [own.negative.trace()]}
        losses.append(config.balance * source + (1 - config.balance) * goal)
    means = {tag: torch.stack(values).mean().item() for tag, values in logs.items()}
    return Episode(torch.stack(losses).sum(), means)


def _ahead(net: nn.Module, source: Tensor, inputs: Tensor, alpha: float) -> Outputs:
    """The net's outputs at Θ' = Θ - α dL_s/dΘ, with the graph through the step."""
    parameters = {name: p for name, p in net.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(source, list(parameters.values()), create_graph=True, materialize_grads=True)
    moved = {name: p - alpha * g for (name, p), g in zip(parameters.items(), gradients, strict=True)}
    # Running statistics of a batch norm would otherwise be updated once more by the step ahead.
    apart = {name: buffer.clone() for name, buffer in net.named_buffers()}
    seen: Outputs = functional_call(net, moved | apart, (inputs,))
    return seen


def _chosen(own: Metrics, config: Config, generator: torch.Generator | None) -> Metrics:
    """The metrics that the loss uses, given those of the other domain."""
    if config.detach_metrics:
        own = Metrics(own.positive.detach(), own.negative.detach())
    if config.metric == "identity":
        return identity_metrics(own)
    return turned_metrics(own, generator) if config.metric == "turned" else own
