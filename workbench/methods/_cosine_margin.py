"""Softmax over cosines with a margin on the true class: what face-recognition losses share."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

#: Cosines are kept so far from ±1 before ``acos``, whose gradient is infinite there.
EDGE = 1e-6


def cosines(embeddings: Float[Tensor, "B D"], weights: Float[Tensor, "C D"]) -> Float[Tensor, "B C"]:
    """cos θ_ic of every embedding with every class weight; the lengths of both do not matter."""
    return F.normalize(embeddings, dim=1) @ F.normalize(weights, dim=1).T


def margin_logits(
    cosine: Float[Tensor, "B C"],
    labels: Int[Tensor, " B"],
    margins: Float[Tensor, " B"] | float,
    scale: float,
    angular: bool = False,
) -> Float[Tensor, "B C"]:
    """s (cos θ_iy − m_i) for the true class and s cos θ_ic for the others; s cos(θ_iy + m_i) when ``angular``.

    Source: Wang et al. 2018, CosFace, arXiv:1801.09414, equation 4; Deng et al. 2019, ArcFace, arXiv:1801.07698,
    equation 3. θ_iy + m_i is kept within [0, π], where the cosine falls.
    """
    rows = torch.arange(len(labels), device=labels.device)
    true = cosine[rows, labels]
    if angular:
        reduced = (true.clamp(EDGE - 1, 1 - EDGE).acos() + margins).clamp(0.0, torch.pi).cos()
    else:
        reduced = true - margins
    return scale * cosine.index_put((rows, labels), reduced)


def margin_loss(
    cosine: Float[Tensor, "B C"],
    labels: Int[Tensor, " B"],
    margins: Float[Tensor, " B"] | float,
    scale: float,
    angular: bool = False,
) -> Float[Tensor, " B"]:
    """Cross-entropy of :func:`margin_logits` per sample, in nats. Margin 0 is the normalised softmax."""
    return F.cross_entropy(margin_logits(cosine, labels, margins, scale, angular), labels, reduction="none")
