"""A small segmentation net for the road scenes, and how its label maps are scored."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from workbench.demos.scenes import MERGED, LabelSpace, Outputs
from workbench.methods.uniseg import CosineHead, restricted_prediction

#: Width of the features that the classifier sees.
FEATURES = 24


class SceneNet(nn.Module):
    """Four convolutions at full resolution and a cosine classifier that serves both label spaces.

    No normalisation layer: batch statistics would mix the datasets, and an image's gradient is its own this way.
    """

    def __init__(self, outputs: Outputs = MERGED) -> None:
        super().__init__()
        self.outputs = outputs
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=_block(3, 16, 3),
            conv2=_block(16, FEATURES, 3),
            conv3=_block(FEATURES, FEATURES, 3, dilation=2),
            conv4=_block(FEATURES, FEATURES, 1),
        )
        self.trunk = nn.Sequential(layers)
        self.head = CosineHead(FEATURES, len(outputs.names))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K H W"]:
        logits: Tensor = self.head(self.trunk(images))
        return logits


def _block(inputs: int, outputs: int, size: int, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, padding=dilation * (size // 2), dilation=dilation)
    return nn.Sequential(convolution, nn.ReLU())


@torch.no_grad()
def label_maps(
    net: SceneNet, images: Float[np.ndarray, "N 3 H W"], batch: int = 32
) -> dict[str, Int64[np.ndarray, "N H W"]]:
    """What each dataset would call every pixel: dataset -> indices into its own labels. A batch at a time."""
    pieces = [net(torch.from_numpy(images[start : start + batch])) for start in range(0, len(images), batch)]
    logits = torch.cat(pieces)
    return {dataset: restricted_prediction(logits, rows).numpy() for dataset, rows in net.outputs.rows.items()}


def ious(
    predicted: Int[np.ndarray, "N H W"], concepts: Int[np.ndarray, "N H W"], space: LabelSpace
) -> dict[str, float]:
    """Intersection over union of each label over all pixels, in [0, 1]; NaN for a label that neither side holds."""
    truth = space.annotate(concepts)
    n_labels = len(space.labels)
    confusion = np.bincount((truth * n_labels + predicted).ravel(), minlength=n_labels**2).reshape(n_labels, n_labels)
    both = np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    share = np.divide(both, either, out=np.full(n_labels, np.nan), where=either > 0)
    return dict(zip(space.labels, share.tolist(), strict=True))
