"""GradSplit: train each group of filters only with the gradients of tasks that do not conflict with its owner.

One network for several tasks saves compute, but the tasks' gradients conflict on the filters that they share. GradSplit
cuts the output channels of each split layer into T equal groups, one a task. In the forward pass nothing changes: every
task reads every group. In the update, a group takes the gradients of its owner and of the tasks that do not harm it:

    γ(o)   = floor(o T / C)                                            group of output channel o of C
    G_o    = sum_j A[γ(o), j] ∂L_j/∂W_o                                split layers; bias and per-channel scale alike
    G      = sum_j ∂L_j/∂W                                             shared layers; a head: its own loss only
    Z_i<-j = 1 − L_i(θ − η g_j / |g_j|) / L_i(θ)                       look-ahead: what a step on task j does for task i
    A_ij   = 1 if mean Z_i<-j > 0 or i = j, else 0                     mean over the probe steps of one joint training
    A_ij   = 1 if s_i(I + E_ij) >= s_i(I) or i = j, else 0             by trials: dearer, and asks what is wanted itself
    R_ij   = <g_i, g_j> / (|g_i| |g_j|) on the filters of group i      the same question without further forward passes
    C_i    = sum_j A_ij max(0, −<g_i, g_j>) / |g_i|²                   conflict left on the filters of group i

Letters: T tasks with losses L_j (means over a batch, in nats or the task's own unit), θ all shared parameters, W_o the
weights of output channel o, g_j = ∂L_j/∂θ, A [T, T] the relation: a row is a group (the task that owns it), a column
the task whose gradient may enter. A of ones is plain joint training; A = I lets each task train its own group alone.
E_ij is 1 at i, j alone; s_i(A) the score of task i on samples set aside, after a short training under A.
Z, R and A are not symmetric: a task may harm mine while mine helps it. The cosine over all parameters cannot say that.

In plain words: Several tasks share one small network, and what one learns can undo what another learned. Here every
task owns a share of the filters in each layer. All tasks may look through all filters, but a filter is changed only by
its owner and by those tasks that were seen to help it. Nothing is added to the network: it costs as much to run as
before.

Look at: the Conflict lens, view Channel groups before and after, which shows who pulls against whom on each task's
filters, and what the split lets in. The views Gradient flows and Influence beside it show how much, and why. The plane
of cost and accuracy below shows what sharing, splitting and a net a task cost to run.

Family: multi-task

Cite: Deng, Suh, Yu, Faraki, Zheng, Chandraker 2023, Split to Learn: Gradient Split for Multi-Task Human Image Analysis,
WACV 2023.
From the paper and its patent application US 2022/0121953: one group of filters a task in the deeper layers, masked
gradients in the backward pass, an unchanged forward pass, the own-group-only form (A = I), and asymmetric relations.
Our choice: contiguous equal groups, Z with η = 0.02 as the way to measure the relation, its threshold at 0, the trials
as the dearer way, R for loops that cannot evaluate their losses again, C, and the masking of activations as a second
reading of the text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from workbench.core import ConfigError
from workbench.diagnostics.untouched import untouched

#: Layers whose first weight axis is the output channel, which stands on axis 1 of their output.
_CHANNELS_FIRST = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
#: The same with the output channel on the last axis of the output.
_CHANNELS_LAST = (nn.Linear, nn.LayerNorm)


@dataclass(frozen=True)
class Config:
    mask: str = "parameters"  # or "activations": also cut the path to earlier layers
    eta: float = 0.02  # η, length of the look-ahead step
    warmup: int = 100  # steps of plain training in which the gradient rule watches R before it splits

    def __post_init__(self) -> None:
        if self.mask not in ("parameters", "activations"):
            raise ConfigError(f"mask must be 'parameters' or 'activations'; got '{self.mask}'.")
        if self.eta <= 0:
            raise ConfigError(f"eta must be positive; got {self.eta}.")
        if self.warmup < 0:
            raise ConfigError(f"warmup must not be negative; got {self.warmup}.")


def group_of(n_channels: int, n_tasks: int) -> Int[Tensor, " C"]:
    """γ: the owner of every output channel. Group sizes differ by at most 1.

    Raises:
        ConfigError: fewer channels than tasks, so that a task would own nothing.
    """
    if n_channels < n_tasks:
        raise ConfigError(f"A layer with {n_channels} output channels cannot be split between {n_tasks} tasks.")
    return torch.arange(n_channels) * n_tasks // n_channels


def admitted(gradient: Float[Tensor, "C ..."], relation: Bool[Tensor, "T T"], task: int) -> Float[Tensor, "C ..."]:
    """A[γ(o), j] ∂L_j/∂W_o of one task j. A blocked entry is 0 whatever it held, NaN included."""
    groups = group_of(len(gradient), len(relation))
    blocked = ~relation.cpu()[groups, task].to(gradient.device)
    return gradient.masked_fill(blocked.view(-1, *[1] * (gradient.ndim - 1)), 0.0)


def combined(gradients: Sequence[Float[Tensor, "C ..."]], relation: Bool[Tensor, "T T"]) -> Float[Tensor, "C ..."]:
    """G of a split parameter from the T tasks' gradients."""
    return torch.stack([admitted(gradient, relation, task) for task, gradient in enumerate(gradients)]).sum(0)


def relation_of(evidence: Float[Tensor, "S T T"]) -> Bool[Tensor, "T T"]:
    """A from Z (or R) at S probes. A pair that was never measured (NaN) stays blocked."""
    mean = evidence.mean(dim=0) if len(evidence) else torch.zeros(evidence.shape[1:])
    return (mean > 0) | torch.eye(len(mean), dtype=torch.bool)


def relation_by_trials(score: Callable[[Tensor], Float[Tensor, " T"]], n_tasks: int) -> Bool[Tensor, "T T"]:
    """A from T (T − 1) + 1 trial trainings: j may enter group i where that alone does not lower the score of task i.

    Args:
        score: Trains afresh, always from the same weights and batches, under a relation [T, T]; returns every task's
            score on samples set aside, higher better. A score of NaN blocks.
    """
    own = torch.eye(n_tasks, dtype=torch.bool)
    alone, found = score(own), own.clone()
    for i, j in permutations(range(n_tasks), 2):
        tried = own.clone()
        tried[i, j] = True
        found[i, j] = score(tried)[i] >= alone[i]
    return found


def influence(
    net: nn.Module,
    shared: Sequence[nn.Parameter],
    losses: Callable[[], Mapping[str, Tensor]],
    eta: float = Config.eta,
) -> Float[Tensor, "T T"]:
    """Z, row i the task whose loss is measured, column j the task whose gradient is followed. T + 1 evaluations.

    The network is in eval mode meanwhile. Weights, buffers, modes and random numbers end as they began, to the last
    bit, and ``.grad`` is not touched. A task without a gradient moves nothing: its column is 0. NaN where L_i is 0.

    Args:
        losses: Evaluates every task's mean loss on the probe's fixed samples, with a graph.
    """
    with untouched(net):
        now = losses()
        gradients = [torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True) for loss in now.values()]
        before = torch.stack([loss.detach() for loss in now.values()])  # [T]
        kept = [parameter.detach().clone() for parameter in shared]
        columns = []
        try:
            for gradient in gradients:
                _move(shared, kept, gradient, eta)
                with torch.no_grad():
                    after = losses()
                columns.append(1 - torch.stack([after[task] for task in now]) / before)
        finally:
            _move(shared, kept, [None] * len(kept), 0.0)
    z = torch.stack(columns, dim=1)
    return z.masked_fill(before[:, None] == 0, torch.nan)


def group_cosines(gradients: Sequence[Sequence[Tensor | None]], n_tasks: int) -> Float[Tensor, "T T"]:
    """R from each task's gradients of the split parameters; 0 where a task has no gradient on a group."""
    gram = group_gram(gradients, n_tasks)
    own = torch.einsum("iii->i", gram)  # |g_i|² on group i
    other = torch.einsum("ijj->ij", gram)  # |g_j|² on group i
    inner = torch.einsum("iij->ij", gram)
    norm = (own[:, None] * other).sqrt()
    return inner / norm.masked_fill(norm == 0, 1.0)


def group_gram(gradients: Sequence[Sequence[Tensor | None]], n_tasks: int) -> Float[Tensor, "T T T"]:
    """<g_i, g_j> on the filters of group k, as [k, i, j], summed over the split parameters."""
    gram = torch.zeros(n_tasks, n_tasks, n_tasks, dtype=torch.float64)
    for each in zip(*gradients, strict=True):
        known = next((gradient for gradient in each if gradient is not None), None)
        if known is None:
            continue
        rows = torch.stack([torch.zeros_like(known) if g is None else g for g in each])
        rows = rows.reshape(n_tasks, len(known), -1)  # [T, C, P]
        channel = torch.einsum("icp,jcp->cij", rows, rows)
        gram.index_add_(0, group_of(len(known), n_tasks), channel.to(gram))
    return gram


def conflict_left(gram: Float[Tensor, "T T T"], relation: Bool[Tensor, "T T"]) -> Float[Tensor, " T"]:
    """C of every group from :func:`group_gram`. NaN where the owner has no gradient on its own group."""
    inner = torch.einsum("iij->ij", gram)
    own = inner.diagonal()
    return (relation * (-inner).clamp_min(0)).sum(1) / own.masked_fill(own == 0, torch.nan)


class GradSplit:
    """Fills ``.grad`` by the rule above, in place of ``sum(losses).backward()``.

    Args:
        net: The network; what it does forwards is not changed.
        layers: The layers of it to split; every parameter in them is cut along its first axis.
        tasks: The owners of the groups, in order.
        relation: A. It may be exchanged later; the optimiser's momentum then carries the old one on unless it is reset.

    Raises:
        ConfigError: a layer that cannot be cut, or a relation that is not [T, T] with a true diagonal.
    """

    def __init__(
        self,
        net: nn.Module,
        layers: Sequence[nn.Module],
        tasks: Sequence[str],
        relation: Bool[Tensor, "T T"] | None = None,
        config: Config = Config(),
    ) -> None:
        self.net, self.tasks, self.config = net, tuple(tasks), config
        own = torch.eye(len(self.tasks), dtype=torch.bool)
        self.relation = own if relation is None else relation
        if self.relation.shape != own.shape or not self.relation.diagonal().all():
            raise ConfigError(
                f"The relation of {len(own)} tasks must be [{len(own)}, {len(own)}] with a true diagonal: "
                f"every task trains its own group. Got {self.relation.tolist()}."
            )
        parts = [part for layer in layers for part in layer.modules() if list(part.parameters(recurse=False))]
        for part in parts:
            _check(part, len(self.tasks))
        self.split = list(
            {id(p): p for part in parts for p in part.parameters(recurse=False) if p.requires_grad}.values()
        )
        self._running: int | None = None  # the task whose backward pass is under way
        self._handles = [self._watch(part) for part in parts] if config.mask == "activations" else []

    def backward(self, losses: Mapping[str, Tensor]) -> list[list[Tensor | None]]:
        """Add the combined gradients of the mean losses to ``.grad``.

        A relation of ones takes one backward pass of the sum: the same bits as plain training. Otherwise one a task;
        graphs that tasks share are kept until the last.

        Args:
            losses: Task -> loss of every sample [B], or their mean; a task may be absent from a batch.

        Returns:
            The gradients of :attr:`split` before masking, one list a task, with None where a task has no part in them;
            empty when there was nothing to mask.
        """
        unknown = [task for task in losses if task not in self.tasks]
        if unknown:
            raise ConfigError(f"There is no task '{unknown[0]}' in this split. Tasks: {', '.join(self.tasks)}.")
        means = {task: loss.mean() for task, loss in losses.items()}
        if self.relation.all():
            torch.stack(list(means.values())).sum().backward()
            return []
        gradients: list[list[Tensor | None]] = [[None] * len(self.split) for _ in self.tasks]
        rank = {id(parameter): i for i, parameter in enumerate(self.split)}
        for n, (task, mean) in enumerate(means.items()):
            index = self.tasks.index(task)
            for parameter, gradient in self._one(index, mean, keep=n + 1 < len(means)):
                if id(parameter) in rank:
                    gradients[index][rank[id(parameter)]] = gradient
                    gradient = admitted(gradient, self.relation, index)
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return gradients

    def remove(self) -> None:
        """Take the hooks off the layers (only the masking of activations has any)."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _one(self, task: int, mean: Tensor, *, keep: bool) -> list[tuple[nn.Parameter, Tensor]]:
        """A task's gradients on the parameters that its loss depends on."""
        parameters = _trainable(self.net)
        self._running = task
        try:
            found = torch.autograd.grad(mean, parameters, retain_graph=keep, allow_unused=True)
        finally:
            self._running = None
        return [(p, gradient) for p, gradient in zip(parameters, found, strict=True) if gradient is not None]

    def _watch(self, part: nn.Module) -> RemovableHandle:
        axis = 1 if isinstance(part, _CHANNELS_FIRST) else -1

        def mask(gradient: Tensor) -> Tensor | None:
            if self._running is None:
                return None
            return admitted(gradient.movedim(axis, 0), self.relation, self._running).movedim(0, axis)

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if output.requires_grad:
                output.register_hook(mask)

        return part.register_forward_hook(hook)


def gradient_rule(net: nn.Module, seed: int = 0, config: Config = Config()) -> Callable[[Mapping[str, Tensor]], None]:
    """GradSplit for any training loop: a function from the losses [B] of every task of a batch to ``.grad``.

    The layers that at least two tasks share are split, the first of them and those with too few channels left out. For
    ``config.warmup`` steps the network trains plainly while R is watched; A follows from its mean and stays. Nothing is
    drawn, so ``seed`` changes nothing.
    """
    return _Rule(net, config)


class _Rule:
    def __init__(self, net: nn.Module, config: Config) -> None:
        self.net, self.config = net, config
        self.method: GradSplit | None = None
        self.watched: list[Tensor] = []

    def __call__(self, losses: Mapping[str, Tensor]) -> None:
        if self.method is None:
            self.method = GradSplit(self.net, shared_layers(self.net, losses), tuple(losses), config=self.config)
        method = self.method
        if len(self.watched) < self.config.warmup and len(method.tasks) > 1:
            gradients = _plain_backward(method, losses)
            self.watched.append(group_cosines(gradients, len(method.tasks)))
            if len(self.watched) == self.config.warmup:
                method.relation = relation_of(torch.stack(self.watched))
            return
        method.backward(losses)


def shared_layers(net: nn.Module, losses: Mapping[str, Tensor]) -> list[nn.Module]:
    """The layers that at least two tasks reach and that can be cut between all tasks, without the first of them.

    Raises:
        ConfigError: there is none.
    """
    parameters = _trainable(net)
    reached = {id(p): 0 for p in parameters}
    for loss in losses.values():
        gradients = torch.autograd.grad(loss.mean(), parameters, retain_graph=True, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            reached[id(parameter)] += gradient is not None
    enough = min(2, len(losses))
    shared = []
    for module in net.modules():
        own = [p for p in module.parameters(recurse=False) if p.requires_grad]
        if own and all(reached[id(p)] >= enough for p in own):
            shared.append(module)
    weighted = [i for i, layer in enumerate(shared) if any(p.ndim > 1 for p in layer.parameters(recurse=False))]
    rest = shared[weighted[1] :] if len(weighted) > 1 else []  # the first layer's norm stays with it
    wide = [layer for layer in rest if _channels(layer) >= len(losses)]
    if not wide and len(losses) > 1:
        raise ConfigError(
            f"GradSplit found no layer to split between {len(losses)} tasks: it needs a convolution or linear layer "
            "after the first that two tasks share, with at least one output channel a task."
        )
    return wide


def _plain_backward(method: GradSplit, losses: Mapping[str, Tensor]) -> list[list[Tensor | None]]:
    """Add the gradients of the sum of the mean losses to ``.grad``; returns those of the split parameters by task."""
    gradients: list[list[Tensor | None]] = []
    for loss in losses.values():
        gradients.append(list(torch.autograd.grad(loss.mean(), method.split, retain_graph=True, allow_unused=True)))
    torch.stack([loss.mean() for loss in losses.values()]).sum().backward()
    return gradients


def _trainable(net: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in net.parameters() if parameter.requires_grad]


def _channels(layer: nn.Module) -> int:
    """Output channels of a layer that can be cut; 0 for one that cannot."""
    sizes = {p.shape[0] for p in layer.parameters(recurse=False)}
    known = isinstance(layer, _CHANNELS_FIRST + _CHANNELS_LAST) and len(sizes) == 1
    # A norm over several axes has no channel of its own on the first.
    several = isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) > 1
    return sizes.pop() if known and not several else 0


def _check(layer: nn.Module, n_tasks: int) -> None:
    if _channels(layer) < n_tasks:
        raise ConfigError(
            f"A layer {layer} cannot be split between {n_tasks} tasks: it needs one output channel a task on the first "
            "axis of its parameters, as convolutions, linear layers and their norms have."
        )


def _move(
    parameters: Sequence[nn.Parameter], start: Sequence[Tensor], gradient: Sequence[Tensor | None], eta: float
) -> None:
    """Set the parameters to ``start`` − η g / |g|; to ``start`` itself for a gradient of zero."""
    length = torch.stack([g.square().sum() for g in gradient if g is not None] or [torch.zeros(())]).sum().sqrt()
    with torch.no_grad():
        for parameter, value, g in zip(parameters, start, gradient, strict=True):
            parameter.copy_(value if g is None or length == 0 else value - eta * g / length)
