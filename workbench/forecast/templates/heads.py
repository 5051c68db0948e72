"""One input, one head a task. Run it as it is:  workbench diagnose THIS_FILE

Replace the network, the batches and the losses by your own. Only the five names marked (needed) must be there.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

tasks = ["shape", "colour", "size"]  # (needed)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.heads = nn.ModuleDict({"shape": nn.Linear(16, 4), "colour": nn.Linear(16, 3), "size": nn.Linear(16, 1)})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.backbone(x)
        return {task: head(features) for task, head in self.heads.items()}


def build_model(seed: int) -> nn.Module:  # (needed) fresh weights; torch is already seeded
    return Net()


def shared(model: Net) -> nn.Module:  # (needed) what all tasks share; or a list, or a dict of its parts
    return model.backbone


def batches(
    seed: int,
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:  # (needed) one pass, e.g. yield from your DataLoader
    rule = torch.Generator().manual_seed(0)  # what is to be learnt is the same for every seed
    shapes, colours, sizes = (torch.randn(24, n, generator=rule) for n in (4, 3, 1))
    order = torch.Generator().manual_seed(seed)
    for _ in range(40):
        x = torch.randn(64, 24, generator=order)
        yield x, {"shape": (x @ shapes).argmax(1), "colour": (x @ colours).argmax(1), "size": (x @ sizes)[:, 0]}


def losses(model: Net, batch: tuple[Tensor, dict[str, Tensor]]) -> dict[str, Tensor]:  # (needed) one loss a sample
    x, target = batch
    output = model(x)
    return {
        "shape": cross_entropy(output["shape"], target["shape"], reduction="none"),
        "colour": cross_entropy(output["colour"], target["colour"], reduction="none"),
        "size": mse_loss(output["size"][:, 0], target["size"], reduction="none") / 24,
    }


def optimizer(model: nn.Module) -> torch.optim.Optimizer:  # the one you will train with
    return torch.optim.Adam(model.parameters(), lr=3e-3)


def attributes(batch: tuple[Tensor, dict[str, Tensor]]) -> dict[str, list[str]]:  # groups to count, one value a sample
    return {"light": ["dark" if value < -1 else "bright" for value in batch[0][:, 0].tolist()]}
