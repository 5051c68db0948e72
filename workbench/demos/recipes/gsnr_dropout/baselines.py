"""The features of a batch after a baseline has dropped some of them: plain dropout, and RSC."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

#: (features [B, D], labels [B]) -> features with some set to 0.
Drop = Callable[[Tensor, Tensor], Tensor]


def dropout(ratio: float, seed: int) -> Drop:
    """Each feature is 0 with probability ``ratio``, the others are divided by 1 - ratio; draws of its own."""
    draws = torch.Generator().manual_seed(seed)

    def drop(features: Float[Tensor, "B D"], labels: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
        kept = torch.rand(features.shape, generator=draws) >= ratio
        return features * kept / (1 - ratio)

    return drop


def rsc(head: Callable[[Tensor], Tensor], features_share: float, batch_share: float) -> Drop:
    """Representation self-challenging: in part of the batch, without the features that matter most to the right answer.

        g      = d(logit of the right class) / d(features)                  [B, D]
        masked = the ``features_share`` of a sample's features with the highest g
        kept in full: all samples but the ``batch_share`` whose right answer loses most probability by the mask

    Source: Huang et al. 2020, Self-Challenging Improves Cross-Domain Generalization, arXiv:2007.02454.
    """

    def drop(features: Float[Tensor, "B D"], labels: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
        kept = kept_features(features, head, labels, features_share)
        with torch.no_grad():
            lost = _right(head(features), labels) - _right(head(features * kept), labels)
            challenged = torch.zeros(len(labels), dtype=torch.bool)
            challenged[lost.topk(round(batch_share * len(labels))).indices] = True
        return features * (kept | ~challenged[:, None])

    return drop


def kept_features(
    features: Float[Tensor, "B D"], head: Callable[[Tensor], Tensor], labels: Int[Tensor, " B"], share: float
) -> Bool[Tensor, "B D"]:
    """False for the share of each sample's features with the highest gradient of the right class's logit."""
    free = features.detach().requires_grad_()
    logits = head(free)
    slope = torch.autograd.grad(logits.gather(1, labels[:, None]).sum(), free)[0]
    highest = slope.topk(round(share * features.shape[1]), dim=1).indices
    return torch.ones_like(slope, dtype=torch.bool).scatter_(1, highest, False)


def _right(logits: Float[Tensor, "B C"], labels: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Probability of the right class."""
    return logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
