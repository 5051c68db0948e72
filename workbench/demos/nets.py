"""Small convolutional nets: one trunk, and heads that share it.

Normalisation is by groups of channels, never over the batch, so that a sample's gradient is its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.diagnostics.recorder import Recorder


@dataclass(frozen=True)
class NetSpec:
    """All that is needed to build a net again; stored beside its checkpoints.

    Attributes:
        channels: 1 for grey pictures, 3 for coloured ones.
        size: Height and width of a picture, in pixels.
        width: Channels of the first convolution; the others have twice as many.
        features: Width of the trunk's output.
        heads: Task -> number of classes. 0 makes a head that rebuilds the picture.
        slope: Of the activations below 0: 0 is ReLU; above 0 (leaky) no unit can die.
        norm_groups: Groups of channels that are normalised together.
    """

    heads: Mapping[str, int]
    channels: int = 1
    size: tuple[int, int] = (28, 28)
    width: int = 16
    features: int = 48
    slope: float = 0.0
    norm_groups: int = 4

    def __post_init__(self) -> None:
        if not self.heads:
            raise ConfigError("A net needs at least one head; got none.")


class Trunk(nn.Module):
    """Three convolutions and a linear layer: picture [B, C, H, W] to features [B, D]."""

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        narrow, wide = spec.width, 2 * spec.width
        self.conv1 = _block(spec, spec.channels, narrow)
        self.conv2 = _block(spec, narrow, wide)
        self.conv3 = _block(spec, wide, wide)
        height, width = (side // 8 for side in spec.size)
        linear = nn.Linear(wide * height * width, spec.features)
        self.embed = nn.Sequential(nn.Flatten(), linear, _activation(spec.slope))

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
        return self.embed(self.conv3(self.conv2(self.conv1(images))))


class Net(nn.Module):
    """A trunk with one head per task. ``net(images)`` is a dict of logits [B, C] or rebuilt pictures [B, C, H, W]."""

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.trunk = Trunk(spec)
        self.heads = nn.ModuleDict({task: _head(spec, classes) for task, classes in spec.heads.items()})

    def forward(self, images: Float[Tensor, "B C H W"]) -> dict[str, Tensor]:
        features = self.trunk(images)
        return {task: head(features) for task, head in self.heads.items()}


def save_net(rec: Recorder, step: int, net: Net) -> None:
    """Write the net's parameters as a checkpoint of the run, with its spec beside it."""
    rec.checkpoint_model(step, net)
    file = rec.path / "checkpoints" / f"step-{step:08d}.json"
    file.write_text(json.dumps({"net": asdict(net.spec)}, indent=2) + "\n", encoding="utf-8")


def load_net(checkpoint: Path) -> Net:
    """The net of a checkpoint that :func:`save_net` wrote, in evaluation mode."""
    from safetensors.torch import load_file

    spec: dict[str, Any] = json.loads(checkpoint.with_suffix(".json").read_text(encoding="utf-8"))["net"]
    net = Net(NetSpec(**spec | {"size": tuple(spec["size"])}))
    net.load_state_dict(load_file(checkpoint))
    return net.eval()


def _block(spec: NetSpec, inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    norm = nn.GroupNorm(spec.norm_groups, outputs)
    return nn.Sequential(convolution, norm, _activation(spec.slope), nn.MaxPool2d(2))


def _activation(slope: float) -> nn.Module:
    return nn.LeakyReLU(slope) if slope else nn.ReLU()


def _head(spec: NetSpec, classes: int) -> nn.Module:
    if classes > 0:
        return nn.Linear(spec.features, classes)
    height, width = (side // 4 for side in spec.size)
    return nn.Sequential(
        nn.Linear(spec.features, 8 * height * width),
        nn.ReLU(),
        nn.Unflatten(1, (8, height, width)),
        nn.ConvTranspose2d(8, spec.channels, kernel_size=4, stride=4),
        nn.Sigmoid(),
    )
