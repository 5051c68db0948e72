"""Small nets for drawn faces: a feature map, an embedding, and cosines with one weight per person."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.demos.faces import SIZE
from workbench.methods.cdt import Outputs

#: Mean and standard deviation of the grey levels, about those of the drawn faces.
GREY_MEAN, GREY_SPREAD = 0.3, 0.25


class FaceNet(nn.Module):
    """Pictures [B, 1, 28, 28] to cosines [B, C]; ``map``, ``embed`` are the layers on the way.

    No normalisation over the batch, so that a look-ahead may call it with other parameters.
    """

    def __init__(self, n_people: int, width: int = 24, features: int = 48) -> None:
        super().__init__()
        self.map = nn.Sequential(
            nn.Conv2d(1, width // 2, 5, stride=2, padding=2), nn.LeakyReLU(0.1),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1), nn.LeakyReLU(0.1),
            nn.Conv2d(width, width, 3, stride=2, padding=1), nn.LeakyReLU(0.1),
        )  # fmt: skip
        side = -(-SIZE // 8)
        self.embed = nn.Sequential(nn.Flatten(), nn.Linear(width * side * side, features))
        self.people = nn.Parameter(torch.randn(n_people, features) / features**0.5)

    def embedding(self, pictures: Float[Tensor, "B 1 X Y"]) -> Float[Tensor, "B D"]:
        """The identity embedding, of length 1."""
        return F.normalize(self.embed(self.feature_map(pictures)), dim=1)

    def feature_map(self, pictures: Float[Tensor, "B 1 X Y"]) -> Float[Tensor, "B D H W"]:
        """The last layer that still has places."""
        maps: Tensor = self.map((pictures - GREY_MEAN) / GREY_SPREAD)
        return maps

    def forward(self, pictures: Float[Tensor, "B 1 X Y"]) -> Float[Tensor, "B C"]:
        return self.embedding(pictures) @ F.normalize(self.people, dim=1).T


class TripletFaceNet(FaceNet):
    """The same with a compact embedding for triplets; gives all three at once."""

    def __init__(self, n_people: int, width: int = 24, features: int = 48, compact: int = 16) -> None:
        super().__init__(n_people, width, features)
        self.compact = nn.Linear(features, compact)

    def forward(self, pictures: Float[Tensor, "B 1 X Y"]) -> Outputs:  # type: ignore[override]
        feature_map = self.feature_map(pictures)
        embedding = self.embed(feature_map)
        cosine = F.normalize(embedding, dim=1) @ F.normalize(self.people, dim=1).T
        return Outputs(feature_map, cosine, F.normalize(self.compact(embedding), dim=1))
