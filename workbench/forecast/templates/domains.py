"""One task in many domains, which play the tasks. Which domains disagree? Run it:  workbench diagnose THIS_FILE

Replace the data, the network and the loss by your own. Only the five names marked (needed) must be there.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

tasks = ["photo", "sketch", "night", "mirror"]  # (needed) the domains

Batch = tuple[Tensor, Tensor, Tensor]  # inputs, classes, which domain


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.classifier = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.classifier(self.features(x))
        return output


def build_model(seed: int) -> nn.Module:  # (needed) fresh weights; torch is already seeded
    return Net()


def shared(model: Net) -> list[nn.Module]:  # (needed) the domains share the classifier too
    return [model.classifier, model.features]


def batches(seed: int) -> Iterator[Batch]:  # (needed) one pass, all domains in every batch
    rule = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    order = torch.Generator().manual_seed(seed)
    for _ in range(40):
        x = torch.randn(128, 20, generator=order)
        domain = torch.arange(128) % len(tasks)
        y = (x @ rule).argmax(dim=1)
        x[domain == 1] *= 1.5  # sketches have more contrast
        x[domain == 2] = 0.4 * x[domain == 2] - 1  # nights are dark
        x[domain == 3] = -x[domain == 3]  # mirrored: the same class asks for the opposite
        yield x, y, domain


def losses(model: Net, batch: Batch) -> dict[str, Tensor]:  # (needed) the loss of every sample, domain by domain
    x, y, domain = batch
    loss = cross_entropy(model(x), y, reduction="none")
    return {name: loss[domain == i] for i, name in enumerate(tasks)}


def domains(batch: Batch) -> list[str]:  # for the distances between domains
    return [tasks[i] for i in batch[2].tolist()]


def embed(model: Net, batch: Batch) -> Tensor:  # one vector a sample
    features: Tensor = model.features(batch[0])
    return features


def optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
