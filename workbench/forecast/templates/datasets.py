"""One dataset a task, with their own label lists. Run it as it is:  workbench diagnose THIS_FILE

Replace the datasets, the network and the losses by your own. Only the five names marked (needed) must be there.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

# Label lists are compared before any training: "walker" and "person" meet, "other" of one may hold labels of the other.
labels = {"city": ["road", "car", "person", "bicycle"], "highway": ["road", "car", "lane marking", "other"]}

tasks = list(labels)  # (needed)

Batch = Mapping[str, list[Tensor]]  # dataset -> [inputs, labels]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.heads = nn.ModuleDict({name: nn.Linear(16, len(names)) for name, names in labels.items()})

    def forward(self, images: Tensor, dataset: str) -> Tensor:
        output: Tensor = self.heads[dataset](self.encoder(images))
        return output


def build_model(seed: int) -> nn.Module:  # (needed) fresh weights; torch is already seeded
    return Net()


def shared(model: Net) -> nn.Module:  # (needed) what all datasets share
    return model.encoder


def dataset(name: str) -> TensorDataset:
    """Made-up pictures: stripes whose direction is the label; the second dataset sees them darker."""
    generator = torch.Generator().manual_seed(len(name))
    label = torch.randint(4, (512,), generator=generator)
    axis = torch.arange(16.0)
    angle = label * torch.pi / 4
    wave = torch.cos(angle)[:, None, None] * axis[:, None] + torch.sin(angle)[:, None, None] * axis
    images = torch.sin(wave)[:, None] + torch.randn(512, 1, 16, 16, generator=generator)
    return TensorDataset(images * (1.0 if name == "city" else 0.6), label)


def batches(seed: int) -> Iterator[Batch]:  # (needed) one pass; the keys are the tasks
    order = torch.Generator().manual_seed(seed)
    loaders = {name: DataLoader(dataset(name), batch_size=32, shuffle=True, generator=order) for name in tasks}
    for parts in zip(*loaders.values(), strict=True):
        yield dict(zip(loaders, parts, strict=True))


def losses(model: Net, batch: Batch) -> dict[str, Tensor]:  # (needed) may be asked about some of the datasets only
    return {name: cross_entropy(model(x, name), y, reduction="none") for name, (x, y) in batch.items()}


def outputs(model: Net, inputs: Tensor) -> dict[str, Tensor]:  # for attribution: every dataset's head on any picture
    features = model.encoder(inputs)  # once, so that a layer has one output
    return {name: head(features) for name, head in model.heads.items()}
