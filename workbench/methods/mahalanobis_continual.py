"""Mahalanobis continual: a learned metric per class, and distillation from a moving average of the model.

Tasks arrive one after the other, each with new classes, and the test comes from a domain that no task has shown. Every
class brings a centre, a metric and a bias; a moving average of the whole model, metrics included, is the teacher that
keeps the scores of the old classes from drifting.

    s_c(z) = −‖L_c (z − μ_c)‖² + b_c,  Σ_c = L_cᵀ L_c                       score of class c for features z = f_θ(x)
    L_c = √λ I for all c:  s_c(z) = 2λ μ_cᵀ z − λ‖μ_c‖² + b_c − λ‖z‖²       softmax of a linear layer with w_c = 2λ μ_c
    p(c|x) = softmax over the classes met so far of s_c(f_θ(x))
    L_ce   = mean over the batch of −log p(y|x)                             new examples and replayed exemplars
    L_kd   = T² KL(softmax(s^θ̄_old / T) ‖ softmax(s^θ_old / T))             old classes, teacher θ̄
    L      = L_ce + λ_kd L_kd + λ_m Σ_c ‖Σ_c − I‖²_F / D²
    θ̄      <- γ_k θ̄ + (1 − γ_k) θ  after step k,  γ_k = min(γ, (k + 1) / (k + 10)) in the first task, γ afterwards
    θ̄_k    = γᵏ θ̄_0 + (1 − γ) Σ_i γ^(k−i) θ_i                              after k steps, without warm-up

    A = 1/N Σ_u a_Nu,   F = 1/(N − 1) Σ_{u<N} (max_{t<N} a_tu − a_Nu)      average accuracy, forgetting

Letters: θ all parameters, backbone f_θ and classes alike; z [B, D]; C classes met so far, μ [C, D], L [C, R, D] with R
<= D rows, b [C]; T temperature; a_tu the accuracy on the classes of task u after learning task t of N, by arg-max over
all classes met so far. Classes are numbered in the order in which they arrive. Losses are in nats per example, [B], and
their means are the losses above.

In plain words: A model that learns new classes forgets the old ones, and it misreads pictures from places that it was
not trained on. Here each class learns which directions of the feature space matter to it and which ones it may ignore,
so that a change of style that moves pictures along an ignored direction costs nothing. While new classes are learned,
a slow copy of the model (an average over its own recent past) goes on saying what it thinks of the old classes, and
the model is held to that.

Look at: the domains lens of its run, view "Kept and forgotten": accuracy on each task after each further task, in the
training domains and in the unseen ones. "What each class ignores" shows whether the learned metrics are blind to the
directions in which domains differ, which is the idea of the method; "Teacher" how far the average lags behind and what
it asks for; "Old against new", in the run decay-sweep, what its memory γ trades.

Family: continual learning

Cite: Simon et al. 2022, On Generalizing Beyond Domains in Cross-Domain Continual Learning, CVPR 2022, arXiv:2203.03970.
The paper's: a Mahalanobis metric and a bias for each new class, learned end to end with the backbone, and distillation
from an exponential moving average of the parameters. Our choice, for we know no more of it: the factor L_c of R rows
that makes Σ_c positive semidefinite, centres that start at the class means, metrics that start at R rows of a random
rotation that all classes share, the distillation of softened scores (after Hinton et al. 2015), the warm-up of γ, the
penalty λ_m (off), and the values of Config. With γ = 1 the teacher is the model as it was when the task began
(Learning without Forgetting, Li and Hoiem 2016) instead of one that never learns anything.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.core import ConfigError


@dataclass(frozen=True)
class Config:
    rank: int = 8  # R
    distil: float = 1.0  # λ_kd; 0 is replay alone
    temperature: float = 2.0  # T
    decay: float = 0.99  # γ
    start: float = 0.3  # length of the rows of L when a class arrives
    metric_penalty: float = 0.0  # λ_m

    def __post_init__(self) -> None:
        if self.rank < 1 or self.temperature <= 0 or self.start <= 0:
            raise ConfigError(
                "rank, temperature and start must be positive; "
                f"got rank={self.rank}, temperature={self.temperature}, start={self.start}."
            )
        if self.distil < 0 or self.metric_penalty < 0:
            raise ConfigError(
                f"distil and metric_penalty must not be negative; got {self.distil} and {self.metric_penalty}."
            )
        if not 0 <= self.decay <= 1:
            raise ConfigError(f"decay is a weight of the past and must lie in [0, 1]; got {self.decay}.")


# -- the equations ----------------------------------------------------------------------------------------------------


def mahalanobis_scores(
    features: Float[Tensor, "B D"],
    centres: Float[Tensor, "C D"],
    factors: Float[Tensor, "C R D"],
    biases: Float[Tensor, " C"],
) -> Float[Tensor, "B C"]:
    """s. One product per class, so that a further class changes no bit of the others' scores."""
    apart = features[None] - centres[:, None]  # [C, B, D]
    along = torch.bmm(apart, factors.mT)  # [C, B, R]
    return biases - along.square().sum(dim=2).mT


def class_metrics(factors: Float[Tensor, "C R D"]) -> Float[Tensor, "C D D"]:
    """Σ of every class."""
    return factors.mT @ factors


def distillation(
    student: Float[Tensor, "B C"], teacher: Float[Tensor, "B C"], temperature: float
) -> Float[Tensor, " B"]:
    """L_kd of every example, in nats; no gradient flows to the teacher."""
    given, wanted = ((scores / temperature).log_softmax(dim=1) for scores in (student, teacher.detach()))
    return temperature**2 * F.kl_div(given, wanted, reduction="none", log_target=True).sum(dim=1)


def metric_penalty(factors: Float[Tensor, "C R D"]) -> Float[Tensor, ""]:
    """Σ_c ‖Σ_c − I‖²_F / D²."""
    width = factors.shape[2]
    return (class_metrics(factors) - torch.eye(width).to(factors)).square().sum() / width**2


def warmed_decay(decay: float, update: int) -> float:
    """γ_k of the first task: a young average follows the model, for its start is worth nothing."""
    return min(decay, (update + 1) / (update + 10))


def choose_exemplars(
    labels: Int[np.ndarray, " N"], domains: Int[np.ndarray, " N"], per_class: int, rng: np.random.Generator
) -> Int[np.ndarray, " M"]:
    """Positions of ``per_class`` examples of every class, equally many of each domain, drawn without replacement.

    Raises:
        ConfigError: ``per_class`` is no multiple of the number of domains, or a class has too few examples somewhere.
    """
    classes, places = np.unique(labels), np.unique(domains)
    if per_class % len(places):
        raise ConfigError(f"{per_class} exemplars a class cannot be shared equally by {len(places)} domains.")
    wanted = per_class // len(places)
    chosen = []
    for c in classes:
        for place in places:
            found = np.flatnonzero((labels == c) & (domains == place))
            if len(found) < wanted:
                raise ConfigError(
                    f"Class {c} has {len(found)} examples in domain {place}, but {wanted} exemplars are asked for."
                )
            chosen.append(rng.choice(found, wanted, replace=False))
    return np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)


# -- the net and its average ------------------------------------------------------------------------------------------


class MahalanobisHead(nn.Module):
    """Scores of the classes met so far. :meth:`grow` makes new parameters, so build the optimizer after it.

    Args:
        learn_metric: Train L and b; otherwise they stay as they start, and with R = D the head compares Euclidean
            distances to learned centres.
    """

    def __init__(
        self, width: int, rank: int = Config.rank, start: float = Config.start, *, learn_metric: bool = True
    ) -> None:
        super().__init__()
        if rank > width:
            raise ConfigError(f"rank must not exceed the width of the features, {width}; got {rank}.")
        self.learn_metric = learn_metric
        # What every class's L starts from: R orthogonal rows, so that all classes measure alike.
        rows = torch.linalg.qr(torch.randn(width, rank))[0].T
        self.register_buffer("start", start * rows.contiguous(), persistent=False)
        self.start: Tensor
        self.centres = nn.Parameter(torch.zeros(0, width))
        self.factors = nn.Parameter(torch.zeros(0, rank, width))
        self.biases = nn.Parameter(torch.zeros(0))

    def grow(self, centres: Float[Tensor, "n D"]) -> None:
        """Add classes with these centres."""
        metrics = self.start.expand(len(centres), -1, -1)
        self.centres = nn.Parameter(torch.cat([self.centres.detach(), centres.detach()]))
        self.factors = nn.Parameter(torch.cat([self.factors.detach(), metrics]), requires_grad=self.learn_metric)
        self.biases = nn.Parameter(
            torch.cat([self.biases.detach(), centres.new_zeros(len(centres))]), requires_grad=self.learn_metric
        )

    def forward(self, features: Float[Tensor, "B D"]) -> Float[Tensor, "B C"]:
        return mahalanobis_scores(features, self.centres, self.factors, self.biases)


class LinearHead(nn.Module):
    """The ordinary classifier, grown in the same way: the baseline of every comparison."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(0, width))
        self.bias = nn.Parameter(torch.zeros(0))

    def grow(self, centres: Float[Tensor, "n D"]) -> None:
        """Add classes; rows start at random (as those of nn.Linear do), whatever the centres."""
        rows = (2 * torch.rand_like(centres) - 1) / centres.shape[1] ** 0.5
        self.weight = nn.Parameter(torch.cat([self.weight.detach(), rows]))
        self.bias = nn.Parameter(torch.cat([self.bias.detach(), centres.new_zeros(len(centres))]))

    def forward(self, features: Float[Tensor, "B D"]) -> Float[Tensor, "B C"]:
        return F.linear(features, self.weight, self.bias)


class GrowingNet(nn.Module):
    """A backbone and a head that grows; ``net(x)`` are the scores of the classes met so far."""

    def __init__(self, backbone: nn.Module, head: MahalanobisHead | LinearHead) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.n_classes = 0

    def forward(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B C"]:
        scores: Tensor = self.head(self.backbone(x))
        return scores

    @torch.no_grad()
    def grow(self, x: Float[Tensor, "B ..."], labels: Int[Tensor, " B"]) -> None:
        """Add the classes of these examples, whose labels go on where those met so far end.

        Raises:
            ConfigError: the labels are not the next ones, each with an example.
        """
        new = labels.unique().tolist()
        if new != list(range(self.n_classes, self.n_classes + len(new))):
            raise ConfigError(f"The next classes must be numbered from {self.n_classes} on without gaps; got {new}.")
        features = self.backbone(x)
        self.head.grow(torch.stack([features[labels == c].mean(dim=0) for c in new]))
        self.n_classes += len(new)


class MovingAverage:
    """θ̄: a copy of a net that follows it slowly. Buffers are averaged like parameters, whole numbers copied."""

    def __init__(self, net: GrowingNet, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.net = copy.deepcopy(net).eval().requires_grad_(False)

    @torch.no_grad()
    def expand(self, net: GrowingNet) -> None:
        """Take over the classes that the net has and the average lacks, as they are."""
        known = self.net.state_dict()  # as it was: the copy below has tensors of its own
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        for name, mine in self.net.state_dict().items():
            before = known[name]
            (mine[: len(before)] if mine.ndim else mine).copy_(before)

    @torch.no_grad()
    def update(self, net: GrowingNet, *, warm_up: bool = False) -> None:
        """θ̄ <- γ θ̄ + (1 − γ) θ."""
        decay = warmed_decay(self.decay, self.updates) if warm_up else self.decay
        self.updates += 1
        for mine, current in zip(self.net.state_dict().values(), net.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.mul_(decay).add_(current, alpha=1 - decay)
            elif decay < 1:
                mine.copy_(current)

    def distance(self, net: GrowingNet) -> float:
        """‖θ − θ̄‖ / ‖θ‖ over all parameters."""
        pairs = list(zip(net.parameters(), self.net.parameters(), strict=True))
        apart = sum(float((theirs - mine).detach().double().square().sum()) for theirs, mine in pairs)
        whole = sum(float(theirs.detach().double().square().sum()) for theirs, _ in pairs)
        return (apart / whole) ** 0.5


class MahalanobisContinual:
    """The losses over a stream of tasks, and the teacher.

        learner.begin_task(x, labels)                      # once a task, with examples of its new classes
        optimizer = torch.optim.Adam(learner.net.parameters())
        for x, labels in batches:                          # new examples and exemplars
            sum(loss.mean() for loss in learner.losses(x, labels).values()).backward()
            optimizer.step()
            learner.after_step()

    Args:
        net: With a :class:`MahalanobisHead` for the method, a :class:`LinearHead` for the same with ordinary scores.
    """

    def __init__(self, net: GrowingNet, config: Config = Config()) -> None:
        self.net, self.config = net, config
        self.n_old = 0
        self.tasks = 0
        self.teacher = MovingAverage(net, config.decay)

    def begin_task(self, x: Float[Tensor, "B ..."], labels: Int[Tensor, " B"]) -> None:
        """Add the new classes to the net and to the teacher."""
        self.n_old = self.net.n_classes
        self.tasks += 1
        self.net.grow(x, labels)
        if self.config.decay == 1:
            self.teacher = MovingAverage(self.net, 1.0)
        else:
            self.teacher.expand(self.net)

    def losses(self, x: Float[Tensor, "B ..."], labels: Int[Tensor, " B"]) -> dict[str, Float[Tensor, " _"]]:
        """The terms of L that are not 0: "classes" [B], "distillation" [B], "metric" [1]; L sums their means."""
        scores = self.net(x)
        found = {"classes": F.cross_entropy(scores, labels, reduction="none")}
        if self.config.distil > 0 and self.n_old > 0:
            with torch.no_grad():
                wanted = self.teacher.net(x)[:, : self.n_old]
            kept = distillation(scores[:, : self.n_old], wanted, self.config.temperature)
            found["distillation"] = self.config.distil * kept
        if self.config.metric_penalty > 0 and isinstance(self.net.head, MahalanobisHead):
            found["metric"] = self.config.metric_penalty * metric_penalty(self.net.head.factors)[None]
        return found

    def after_step(self) -> None:
        """Let the teacher follow."""
        self.teacher.update(self.net, warm_up=self.tasks == 1 and self.config.decay < 1)
