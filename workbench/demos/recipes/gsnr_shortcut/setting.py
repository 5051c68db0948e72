"""What every run of the recipe shares: the net, the batches, the losses, the test."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from workbench.demos.data.cues import CLASSES, INPUT_GROUPS, SOURCES, Cued
from workbench.demos.trainer import Training

#: The cue's share of the highest GSNR is followed at these steps; everything else of a full record at some of them.
PROBES = (0, 10, 20, 30, 40, 60, 80, 100, 150, 200, 250, 300, 400, 500)
FULL = (0, 20, 60, 150, 300, 500)
#: The loss is a sum over the sources, so the learning rate is that of their mean over their number.
TRAINING = Training(probes=PROBES, lr=0.05 / len(SOURCES), batch=32 * len(SOURCES))
WIDTH = 64

#: Domain -> inputs and labels.
Batch = Mapping[str, tuple[Tensor, Tensor]]


def make_net() -> nn.Sequential:
    """74 inputs, two hidden layers of 64, ten classes."""
    n_inputs = sum(INPUT_GROUPS.values())
    layers = {
        "first": nn.Linear(n_inputs, WIDTH),
        "relu1": nn.ReLU(),
        "second": nn.Linear(WIDTH, WIDTH),
        "relu2": nn.ReLU(),
        "last": nn.Linear(WIDTH, CLASSES),
    }
    return nn.Sequential(OrderedDict(layers))


def tensors(cued: Cued) -> tuple[Float[Tensor, "N 74"], Tensor]:
    return torch.from_numpy(cued.inputs), torch.from_numpy(cued.labels)


def draw_batch(sources: Mapping[str, tuple[Tensor, Tensor]], n: int, rng: np.random.Generator) -> Batch:
    """As many samples of every source, n in all."""
    batch = {}
    for name, (inputs, labels) in sources.items():
        index = torch.from_numpy(rng.integers(len(labels), size=n // len(sources)))
        batch[name] = inputs[index], labels[index]
    return batch


def losses_with(
    net: nn.Module, parameters: Mapping[str, Tensor], batch: Batch, domains: Sequence[str]
) -> dict[str, Float[Tensor, " _"]]:
    """Domain -> cross-entropy of every sample in nats, with these parameters in place of the net's own."""
    inputs = torch.cat([batch[name][0] for name in domains])
    labels = torch.cat([batch[name][1] for name in domains])
    nats = cross_entropy(functional_call(net, dict(parameters), (inputs,)), labels, reduction="none")
    return dict(zip(domains, nats.split([len(batch[name][1]) for name in domains]), strict=True))


def per_sample_loss(net: nn.Module, inputs: Tensor, labels: Tensor) -> Float[Tensor, " _"]:
    return cross_entropy(net(inputs), labels, reduction="none")


@torch.no_grad()
def accuracy(net: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    inputs, labels = data
    return float((net(inputs).argmax(dim=1) == labels).double().mean())
