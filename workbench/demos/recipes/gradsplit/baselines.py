"""What GradSplit is compared with, beside plain sharing and single nets: PCGrad, and a split by layers after Recon."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

#: Recon's threshold S: two tasks conflict in a layer at a step when their cosine there is below it.
RECON_THRESHOLD = -0.1


def pcgrad(gradients: Float[Tensor, "T P"], generator: torch.Generator) -> Float[Tensor, " P"]:
    """Each task's gradient without its parts against the others', in random order; the sum of what remains.

        for j != i in random order: if <g, g_j> < 0: g <- g − <g, g_j> / |g_j|² g_j, from g = g_i

    Source: Yu et al. 2020, Gradient Surgery, arXiv:2001.06782, Algorithm 1.
    """
    total = torch.zeros_like(gradients[0])
    for i, own in enumerate(gradients):
        gradient = own.clone()
        for j in torch.randperm(len(gradients), generator=generator).tolist():
            inner = gradient @ gradients[j]
            if j != i and inner < 0:
                gradient = gradient - inner / (gradients[j] @ gradients[j]) * gradients[j]
        total += gradient
    return total


def pcgrad_rule(net: nn.Module, shared: Sequence[nn.Parameter], seed: int) -> Callable[[Mapping[str, Tensor]], None]:
    """PCGrad on the shared parameters; every other parameter takes the plain sum."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [parameter.numel() for parameter in shared]

    def rule(losses: Mapping[str, Tensor]) -> None:
        means = [loss.mean() for loss in losses.values()]
        rows = [flat_gradient(mean, shared) for mean in means]
        torch.stack(means).sum().backward()
        parts = pcgrad(torch.stack(rows), generator).split(sizes)
        for parameter, part in zip(shared, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    return rule


def flat_gradient(mean: Tensor, parameters: Sequence[nn.Parameter]) -> Float[Tensor, " P"]:
    """The gradient of a loss in one row, 0 where the loss does not depend on a parameter. The graph is kept."""
    found = torch.autograd.grad(mean, parameters, retain_graph=True, allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, found, strict=True)]
    )


def conflicts(gradients: Float[Tensor, "T P"], threshold: float = RECON_THRESHOLD) -> int:
    """How many pairs of tasks have a cosine below the threshold in one layer at one step: Recon's score.

    Source: Shi et al. 2023, Recon: Reducing Conflicting Gradients from the Root, arXiv:2302.11289, Definition 4 (S).
    """
    rows = torch.nn.functional.normalize(gradients, dim=1)
    i, j = torch.triu_indices(len(rows), len(rows), 1)
    return int(((rows @ rows.T)[i, j] < threshold).sum())


def most_conflicting(scores: Mapping[str, float], n_layers: int) -> tuple[str, ...]:
    """The layers to give to each task, worst first; ties go to the deeper layer, which costs less to repeat.

    Source: Recon's Algorithm 1 (the top K layers); the tie rule is ours.
    """
    depth = {layer: i for i, layer in enumerate(scores)}
    return tuple(sorted(scores, key=lambda layer: (-scores[layer], -depth[layer]))[:n_layers])
