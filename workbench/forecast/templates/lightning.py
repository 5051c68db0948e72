"""A LightningModule. Run it as it is:  workbench diagnose THIS_FILE   (needs the package lightning)

Import your own module and data module in place of the two below. The module is used as it is; only the losses of the
single tasks have to be had one by one. Only the five names marked (needed) must be there.
"""

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

tasks = ["depth", "normal"]  # (needed)


class Model(LightningModule):
    def __init__(self, width: int = 32, lr: float = 3e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.backbone = nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.heads = nn.ModuleDict({"depth": nn.Linear(width, 1), "normal": nn.Linear(width, 3)})

    def task_losses(self, batch: list[Tensor]) -> dict[str, Tensor]:
        """Task -> loss of every sample; training_step adds them up."""
        x, depth, normal = batch
        features = self.backbone(x)
        return {
            "depth": mse_loss(self.heads["depth"](features), depth, reduction="none").mean(dim=1),
            "normal": mse_loss(self.heads["normal"](features), normal, reduction="none").mean(dim=1),
        }

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return torch.stack([loss.mean() for loss in self.task_losses(batch).values()]).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])


class Data(LightningDataModule):
    """Made-up scenes: both answers are functions of the same input."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(
            self._scenes(0, 1024), batch_size=32, generator=torch.Generator().manual_seed(self.seed), shuffle=True
        )

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self._scenes(1, 128), batch_size=32)

    def _scenes(self, part: int, n: int) -> TensorDataset:
        rule = torch.Generator().manual_seed(100)
        slope, axes = torch.randn(16, 1, generator=rule) / 4, torch.randn(16, 3, generator=rule) / 4
        x = torch.randn(n, 16, generator=torch.Generator().manual_seed(part))
        return TensorDataset(x, x @ slope, torch.tanh(x @ axes))


def build_model(seed: int) -> Model:  # (needed) fresh weights; torch is already seeded
    return Model()


def shared(model: Model) -> nn.Module:  # (needed)
    return model.backbone


def batches(seed: int) -> Iterator[list[Tensor]]:  # (needed)
    yield from Data(seed).train_dataloader()


def validation(seed: int) -> Iterator[list[Tensor]]:  # judged by; without it some training batches are held out
    yield from Data(seed).val_dataloader()


def losses(model: Model, batch: list[Tensor]) -> dict[str, Tensor]:  # (needed)
    return model.task_losses(batch)


def optimizer(model: Model) -> torch.optim.Optimizer:
    return model.configure_optimizers()


def outputs(
    model: Model, inputs: Tensor
) -> dict[str, Tensor]:  # for attribution; else what the module's forward returns
    features = model.backbone(inputs)  # once, so that a layer has one output
    return {task: head(features) for task, head in model.heads.items()}
