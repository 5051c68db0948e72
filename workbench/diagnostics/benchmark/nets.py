"""The networks of the benchmarks, each with a batch and a loss per sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Problem:
    """A network, a batch of inputs and class targets; the loss is the cross-entropy of each sample in nats."""

    model: nn.Module
    inputs: Tensor
    targets: Tensor

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(self.model(inputs), targets, reduction="none")

    @property
    def batch(self) -> tuple[Tensor, Tensor]:
        return self.inputs, self.targets


@dataclass(frozen=True)
class Case:
    """A named problem that can be built anew, e.g. in a fresh process."""

    name: str
    build: Callable[[], Problem]


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut, as in ResNet-18."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = norm(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet18(width: int, norm: Callable[[int], nn.Module], classes: int = 10) -> nn.Module:
    """ResNet-18 for small images: no pooling after the first 3×3 convolution."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), norm(width), nn.ReLU()]
    inputs = width
    for stage in range(4):
        outputs = width * 2**stage
        layers += [
            ResidualBlock(inputs, outputs, 1 if stage == 0 else 2, norm),
            ResidualBlock(outputs, outputs, 1, norm),
        ]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


class Attention(nn.Module):
    """Causal self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, time, width = x.shape
        q, k, v = self.qkv(x).view(n, time, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(n, time, width))


class Transformer(nn.Module):
    """A GPT-2-style classifier of token sequences: learned positions, pre-norm blocks, mean over time."""

    def __init__(self, vocabulary: int, width: int, depth: int, heads: int, time: int, classes: int = 10) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(time, width)
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
            self.blocks.append(
                nn.ModuleDict(
                    {
                        "norm1": nn.LayerNorm(width),
                        "attention": Attention(width, heads),
                        "norm2": nn.LayerNorm(width),
                        "mlp": mlp,
                    }
                )
            )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            parts: nn.ModuleDict = block  # type: ignore[assignment]
            x = x + parts["attention"](parts["norm1"](x))
            x = x + parts["mlp"](parts["norm2"](x))
        return self.head(self.norm(x).mean(1))


def lenet(classes: int = 10) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, classes),
    )


def mlp(classes: int = 10) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, classes)
    )


def group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(8, channels)


def _images(model: Callable[[], nn.Module], samples: int, shape: tuple[int, ...], train: bool = True) -> Problem:
    torch.manual_seed(0)
    return Problem(model().train(train), torch.randn(samples, *shape), torch.randint(10, (samples,)))


def _resnet_batch_norm() -> nn.Module:
    """With running statistics that fit the inputs, as after some training."""
    net = resnet18(16, nn.BatchNorm2d)
    with torch.no_grad():
        for _ in range(5):
            net(torch.randn(32, 3, 32, 32))
    return net


def _transformer(samples: int) -> Problem:
    torch.manual_seed(0)
    net = Transformer(1000, 192, 4, 6, 64)
    return Problem(net, torch.randint(1000, (samples, 64)), torch.randint(10, (samples,)))


CASES = (
    Case("ResNet-18 w16, GroupNorm, B=32", lambda: _images(lambda: resnet18(16, group_norm), 32, (3, 32, 32))),
    Case("ResNet-18 w16, GroupNorm, B=128", lambda: _images(lambda: resnet18(16, group_norm), 128, (3, 32, 32))),
    Case("ResNet-18 w16, BatchNorm (eval), B=32", lambda: _images(_resnet_batch_norm, 32, (3, 32, 32), train=False)),
    Case("Transformer d192 L4, B=8", lambda: _transformer(8)),
    Case("Transformer d192 L4, B=32", lambda: _transformer(32)),
    Case("MLP 670k, B=128", lambda: _images(mlp, 128, (784,))),
    Case("LeNet, B=128", lambda: _images(lenet, 128, (1, 28, 28))),
    Case("LeNet, B=32", lambda: _images(lenet, 32, (1, 28, 28))),
)
