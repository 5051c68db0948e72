"""MvCoM: gives every training sample its own cosine margin from all its variations, learned on a held-out meta set.

A face is hard to recognise because of its pose, an occlusion, blur, its group, or several of these at once. A larger
margin makes the loss ask for a tighter angle and gives the sample a stronger gradient, a smaller or negative margin
does the opposite. The margin is a sum of one offset per variation, and the offsets are learned by looking one step
ahead: those grow whose samples, pushed harder, would lower the loss of a clean and balanced meta set.

    l_i(w; m) = -log  e^{s (cos θ_iy - m_i)} / (e^{s (cos θ_iy - m_i)} + sum_{c≠y} e^{s cos θ_ic})
    m_i       = clip(m_0 + δ_cls[y_i] + sum_v (δ_v[a_iv] - mean_v), m_min, m_max),   mean_v = sum_b π_v[b] δ_v[b]
    dl_i/dm_i = s (1 - p_iy) >= 0

    min_δ L_meta(w*(δ); m_0)   where   w*(δ) = argmin_w 1/B sum_i l_i(w; m(δ))

    g    = d/dw 1/B sum_i l_i(w; m(δ))               training batch
    w'   = w - α g                                   virtual step, α = the learning rate of w
    δ   <- Adam(δ, d/dδ L_meta(w'; m_0)), |δ| <= cap   meta set, plain margin
    w   <- ordinary step on 1/B sum_i l_i(w; m(δ)), δ fixed

    -dL_meta/dm_i = α/B <v, d/dm_i d/dw l_i(w)>,   v = d/dw L_meta(w')
    d/dm_i <v, d/dw l_i(w)> = (dl_i/dm_i (w + ε v) - dl_i/dm_i (w - ε v)) / 2ε   for ε -> 0

    δ_v(q) = cap tanh(u_v' tanh(U_v q + c_v) + d_v),   mean_v = mean over the training set of δ_v(q_iv)   soft scores

Letters: B samples, C classes (identities), D embedding width, V variations with n_v levels, a [B, V] the level of every
sample, y [B] its class, δ_v [n_v] offsets, π_v [n_v] shares of the levels in the training set, θ_ic the angle between
embedding i and class weight c, p_iy the softmax probability of the true class with the margin in it, w the parameters,
q_iv [n_v] soft scores, side by side [B, L] with L = sum n_v. The angular form of l_i has s cos(θ_iy + m_i) for
s (cos θ_iy - m_i).

The class-level part is κ (n_c^{-1/4} - its mean over classes) for n_c training samples of class c, or 0. The equation
of -dL_meta/dm_i is what the look-ahead computes: a margin grows when the sample's gradient agrees with the meta set's.
Where variations are not labelled but scored by another net, q_iv are its probabilities, and a net of two layers per
variation takes the place of the table; it starts at 0 and its answers stay within the cap.

In plain words: The training set shows turned, covered or blurred faces too rarely, or labels some of them badly. This
method keeps a small clean set aside and asks at every step: if I insisted more on turned faces, would I do better on
the clean set? It turns each kind of variation up or down accordingly, and a face with several variations gets the sum.

Look at: the margins view of the bias lens shows each variation's offset over training above its share of the training
data, with a band where the folder holds trainings with other seeds; the verification view which variations still cost
accepted pairs; and "Accepted pairs of two runs", beside a run with one margin for all, whether gaps close. In the runs
whose blurred faces carry wrong names, the offset of blur must fall below all others.

Family: bias-aware margins

Cite: Liu et al. 2022, Learning to Learn across Diverse Data Biases in Deep Face Recognition, CVPR 2022, pp. 4062-4072;
patent US 11,977,602.
The paper's: one margin a sample, additive over the variations, learned with a look-ahead on a held-out meta set. The
patent's: the order of the steps, and that a class-level and a sample-level part are combined. Our choice: lookup
tables, the small nets on soft scores, their ranges, Adam at 0.03, the class-level formula, and the centring, without
which all offsets drift to the cap together because larger margins keep every gradient alive. Not known and not guessed:
the paper's predictor network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from workbench.core import ConfigError
from workbench.methods._cosine_margin import margin_loss

Parameters = Mapping[str, Tensor]
Attributes = Int[Tensor, "B V"] | Float[Tensor, "B L"]


@dataclass(frozen=True)
class Config:
    scale: float = 16.0  # s; 64 for photographs of faces
    margin: float = 0.2  # m_0; 0.35 to 0.5 for photographs of faces
    angular: bool = False  # the margin is added to the angle (ArcFace) instead of taken from the cosine (CosFace)
    cap: float = 0.5  # largest |δ|; 0 leaves the plain margin
    lowest: float = -0.5  # m_min
    highest: float = 0.8  # m_max
    class_level: float = 0.0  # κ
    hidden: int = 8  # width of the nets on soft scores
    meta_lr: float = 0.03
    first_order: bool = False  # the last equation by finite differences instead of a second-order graph

    def __post_init__(self) -> None:
        if self.scale <= 0 or self.meta_lr <= 0:
            raise ConfigError(f"scale and meta_lr must be positive; got {self.scale} and {self.meta_lr}.")
        if self.cap < 0 or self.hidden < 1:
            raise ConfigError(f"cap must not be negative and hidden at least 1; got {self.cap} and {self.hidden}.")
        if not self.lowest <= self.margin <= self.highest:
            raise ConfigError(
                f"margin must lie between lowest and highest; got {self.lowest}, {self.margin}, {self.highest}."
            )


@dataclass(frozen=True)
class Batch:
    """Labelled samples.

    Attributes:
        attributes: The level of every variation, [B, V]; or soft scores of all levels, variation by variation, [B, L].
    """

    inputs: Float[Tensor, "B ..."]
    labels: Int[Tensor, " B"]
    attributes: Attributes


def level_shares(attributes: Int[Tensor, "N V"], n_levels: Sequence[int]) -> list[Float[Tensor, " _"]]:
    """π: the share of every level of each variation among the training samples."""
    columns = attributes.T
    return [
        torch.bincount(column, minlength=n).float() / len(column) for column, n in zip(columns, n_levels, strict=True)
    ]


def class_offsets(counts: Int[Tensor, " C"], class_level: float) -> Float[Tensor, " C"]:
    """δ_cls: a rare class gets a larger margin. 0 throughout for ``class_level`` 0."""
    rarity = counts.clamp_min(1).float() ** -0.25
    return class_level * (rarity - rarity.mean())


def level_offsets(
    tables: Sequence[Float[Tensor, " _"]], shares: Sequence[Float[Tensor, " _"]], attributes: Int[Tensor, "B V"]
) -> Float[Tensor, " B"]:
    """sum_v (δ_v[a_iv] - mean_v): what all levels of a sample add together."""
    columns = zip(tables, shares, attributes.T, strict=True)
    return torch.stack([table[level] - (share * table).sum() for table, share, level in columns]).sum(dim=0)


def sample_margins(
    tables: Sequence[Float[Tensor, " _"]],
    shares: Sequence[Float[Tensor, " _"]],
    attributes: Int[Tensor, "B V"],
    class_part: Float[Tensor, " B"] | float = 0.0,
    config: Config = Config(),
) -> Float[Tensor, " B"]:
    """m, the second equation. No gradient passes where the clip holds a margin."""
    return _within(level_offsets(tables, shares, attributes), class_part, config)


def _within(
    offsets: Float[Tensor, " B"], class_part: Float[Tensor, " B"] | float, config: Config
) -> Float[Tensor, " B"]:
    return (config.margin + class_part + offsets).clamp(config.lowest, config.highest)


def loss_of(
    cosine: Float[Tensor, "B C"], labels: Int[Tensor, " B"], margins: Float[Tensor, " B"] | float, config: Config
) -> Float[Tensor, " B"]:
    """l, in nats per sample."""
    return margin_loss(cosine, labels, margins, config.scale, config.angular)


def hardness(
    cosine: Float[Tensor, "B C"], labels: Int[Tensor, " B"], margins: Float[Tensor, " B"] | float, config: Config
) -> Float[Tensor, " B"]:
    """1 - p_iy in [0, 1]; times s it is the derivative of the loss in the margin (CosFace form)."""
    return 1 - torch.exp(-loss_of(cosine, labels, margins, config))


def balanced_weights(counts: Int[Tensor, " G"], beta: float = 1.0) -> Float[Tensor, " G"]:
    """A baseline: loss weights of groups by their inverse effective number, mean 1 over the samples.

    (1 - β) / (1 - β^n); ``beta`` 1 is its limit 1 / n, 0 gives every group the weight 1. A group without samples gets
    the weight 0. Source: Cui et al. 2019, Class-Balanced Loss, arXiv:1901.05555, equation 3.
    """
    n = counts.double()
    number = n if beta == 1 else (1 - beta**n) / (1 - beta)
    weights = torch.where(n > 0, 1 / number.clamp_min(1e-12), 0.0)
    return (weights * n.sum() / (weights * n).sum()).float()


@dataclass(frozen=True)
class Look:
    """What one look ahead found.

    Attributes:
        gradient: dL_meta/dm_i, [B].
        meta_loss: L_meta after the virtual step, in nats.
    """

    gradient: Float[Tensor, " B"]
    meta_loss: float


def look_ahead(
    net: nn.Module, batch: Batch, meta: Batch, margins: Float[Tensor, " B"], lr: float, config: Config
) -> Look:
    """dL_meta(w')/dm by differentiating through the virtual step. ``net(inputs)`` gives cosines [B, C].

    ``margins`` may belong to a graph; the result is their gradient. The net's parameters and ``.grad`` stay untouched.
    """
    m = margins.detach().requires_grad_()
    parameters = trainable(net)
    loss = loss_of(net(batch.inputs), batch.labels, m, config).mean()
    g = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
    virtual = {name: p - lr * d for (name, p), d in zip(parameters.items(), g, strict=True)}
    meta_loss = meta_loss_at(net, virtual, meta, config)
    (gradient,) = torch.autograd.grad(meta_loss, m)
    return Look(gradient, meta_loss.item())


def look_ahead_by_differences(
    net: nn.Module,
    batch: Batch,
    meta: Batch,
    margins: Float[Tensor, " B"],
    lr: float,
    config: Config,
    epsilon: float = 1e-2,
) -> Look:
    """The same by the last equation, with central differences of dl_i/dm_i along the meta gradient.

    No second-order graph: two more forward passes of the batch. ``epsilon`` is the length of the step in w.
    """
    parameters = trainable(net)
    g = _gradient(loss_of(net(batch.inputs), batch.labels, margins.detach(), config).mean(), parameters)
    virtual = {name: (p - lr * g[name]).detach().requires_grad_() for name, p in parameters.items()}
    meta_loss = meta_loss_at(net, virtual, meta, config)
    v = _gradient(meta_loss, virtual)
    length = torch.stack([d.square().sum() for d in v.values()]).sum().sqrt()
    if length == 0:
        return Look(torch.zeros_like(margins), meta_loss.item())
    slopes: list[Tensor] = []
    for sign in (1, -1):
        moved = {name: (p + sign * epsilon * v[name] / length).detach() for name, p in parameters.items()}
        m = margins.detach().requires_grad_()
        cosine = functional_call(net, moved, (batch.inputs,))
        slopes += torch.autograd.grad(loss_of(cosine, batch.labels, m, config).sum(), m)
    along = length * (slopes[0] - slopes[1]) / (2 * epsilon)
    return Look(-lr / len(margins) * along, meta_loss.item())


def meta_agreement(
    net: nn.Module, batch: Batch, meta: Batch, margins: Float[Tensor, " B"], config: Config
) -> Float[Tensor, " B"]:
    """cos(d/dw l_i, d/dw L_meta) of every sample, in [-1, 1]; below 0 it pulls away from the meta set.

    0 where the sample or the meta set has no gradient.
    """
    parameters = {name: p.detach() for name, p in trainable(net).items()}

    def one(p: Parameters, inputs: Tensor, label: Tensor, margin: Tensor) -> Tensor:
        return loss_of(functional_call(net, dict(p), (inputs[None],)), label[None], margin[None], config)[0]

    whole = grad(lambda p: meta_loss_at(net, p, meta, config))(parameters)
    each = vmap(grad(one), in_dims=(None, 0, 0, 0))(parameters, batch.inputs, batch.labels, margins.detach())
    dot = sum(torch.einsum("b...,...->b", each[name], whole[name]) for name in parameters)
    square = sum(each[name].flatten(1).square().sum(dim=1) for name in parameters)
    length = torch.as_tensor(sum(whole[name].square().sum() for name in parameters)).sqrt()
    norms = torch.as_tensor(square).sqrt() * length
    return torch.as_tensor(dot) / norms.masked_fill(norms == 0, 1.0)


def meta_loss_at(net: nn.Module, parameters: Parameters, meta: Batch, config: Config) -> Float[Tensor, ""]:
    """L_meta with other parameters in the net, at the plain margin, in nats."""
    cosine = functional_call(net, dict(parameters), (meta.inputs,))
    return loss_of(cosine, meta.labels, config.margin, config).mean()


def trainable(net: nn.Module) -> dict[str, Tensor]:
    """The parameters that training changes, by name."""
    return {name: p for name, p in net.named_parameters() if p.requires_grad}


def _gradient(loss: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))


class LevelOffsets:
    """δ as one table per variation, for labelled levels."""

    def __init__(self, levels: Int[Tensor, "N V"], n_levels: Sequence[int], config: Config) -> None:
        self.config = config
        self.shares = level_shares(levels, n_levels)
        self.tables = [torch.zeros(n, requires_grad=True) for n in n_levels]

    @property
    def learned(self) -> list[Tensor]:
        """What the meta step changes."""
        return self.tables

    def __call__(self, attributes: Int[Tensor, "B V"]) -> Float[Tensor, " B"]:
        return level_offsets(self.tables, self.shares, attributes)

    def by_level(self) -> list[Float[Tensor, " _"]]:
        """δ_v - mean_v of every variation: what its levels add to the margin."""
        pairs = zip(self.tables, self.shares, strict=True)
        return [(table - (share * table).sum()).detach() for table, share in pairs]

    @torch.no_grad()
    def keep_within_cap(self) -> None:
        for table in self.tables:
            table.clamp_(-self.config.cap, self.config.cap)


class SoftOffsets(nn.Module):
    """δ as one net of two layers per variation, for soft scores of its levels. All offsets start at 0."""

    def __init__(self, scores: Float[Tensor, "N L"], n_levels: Sequence[int], config: Config) -> None:
        super().__init__()
        if scores.shape[1] != sum(n_levels):
            raise ConfigError(f"{sum(n_levels)} levels need as many columns of scores; got {scores.shape[1]}.")
        self.config, self.n_levels, self.scores = config, list(n_levels), scores
        self.nets = nn.ModuleList()
        for n in n_levels:
            last = nn.Linear(config.hidden, 1)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.nets.append(nn.Sequential(nn.Linear(n, config.hidden), nn.Tanh(), last))

    @property
    def learned(self) -> list[Tensor]:
        """What the meta step changes."""
        return list(self.parameters())

    def forward(self, attributes: Float[Tensor, "B L"]) -> Float[Tensor, " B"]:
        """sum_v (δ_v(q_iv) - mean_v)."""
        parts = zip(self._raw(attributes), self._raw(self.scores), strict=True)
        return torch.stack([here - everywhere.mean() for here, everywhere in parts]).sum(dim=0)

    @torch.no_grad()
    def by_level(self) -> list[Float[Tensor, " _"]]:
        """What a sample surely at a level gets for it."""
        means = [found.mean() for found in self._raw(self.scores)]
        sure = [self._of(net, torch.eye(n)) for net, n in zip(self.nets, self.n_levels, strict=True)]
        return [found - mean for found, mean in zip(sure, means, strict=True)]

    def keep_within_cap(self) -> None:
        """Nothing to do: the tanh keeps it."""

    def _raw(self, attributes: Float[Tensor, "B L"]) -> list[Float[Tensor, " B"]]:
        split = attributes.split(self.n_levels, dim=1)
        return [self._of(net, scores) for net, scores in zip(self.nets, split, strict=True)]

    def _of(self, net: nn.Module, scores: Float[Tensor, "B n"]) -> Float[Tensor, " B"]:
        return self.config.cap * torch.tanh(net(scores)[:, 0])


class MvCoM:
    """The offsets and how they are learned.

    Args:
        attributes: Of all training samples. Levels [N, V] get a table per variation, of which only the shares are kept;
            soft scores [N, L] get a small net per variation.
        n_levels: Number of levels of every variation.
        counts: Training samples per class, for the class-level part.
    """

    def __init__(
        self, attributes: Attributes, n_levels: Sequence[int], counts: Int[Tensor, " C"], config: Config = Config()
    ) -> None:
        self.config = config
        kind = SoftOffsets if attributes.is_floating_point() else LevelOffsets
        self.predictor: LevelOffsets | SoftOffsets = kind(attributes, n_levels, config)
        self.class_part = class_offsets(counts, config.class_level)
        self.optimizer = torch.optim.Adam(self.predictor.learned, lr=config.meta_lr)

    def margins(self, labels: Int[Tensor, " B"], attributes: Attributes) -> Float[Tensor, " B"]:
        """m of these samples, with the graph to the offsets."""
        return _within(self.predictor(attributes), self.class_part[labels], self.config)

    def offsets(self) -> list[Float[Tensor, " _"]]:
        """What the levels of every variation add to the margin."""
        return self.predictor.by_level()

    def learn(self, net: nn.Module, batch: Batch, meta: Batch, lr: float) -> float:
        """Steps 1 to 3: change the offsets so that a step on the batch helps the meta set.

        The net, its ``.grad`` and every random state stay as they are.

        Args:
            lr: α, the learning rate with which the batch will be learned; with a larger one the sign can turn.

        Returns:
            L_meta after the virtual step, in nats.
        """
        look: Callable[..., Look] = look_ahead_by_differences if self.config.first_order else look_ahead
        margins = self.margins(batch.labels, batch.attributes)
        found = look(net, batch, meta, margins, lr, self.config)
        learned = self.predictor.learned
        gradients = torch.autograd.grad(margins, learned, grad_outputs=found.gradient)
        for parameter, gradient in zip(learned, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        self.predictor.keep_within_cap()
        return found.meta_loss

    def loss(self, cosine: Float[Tensor, "B C"], batch: Batch) -> Float[Tensor, " B"]:
        """Step 4: the training loss per sample at the learned margins, which get no gradient."""
        return loss_of(cosine, batch.labels, self.margins(batch.labels, batch.attributes).detach(), self.config)
