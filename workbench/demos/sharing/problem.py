"""A problem: tasks on real digits that may share a small network, described in a few words and built on demand.

It has the functions that ``workbench.forecast.Problem`` asks for. The data are the same for every seed; a seed draws
the weights and the order of batches.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workbench.core import ConfigError
from workbench.demos.sharing.pictures import SIDE, Pictures, draw, origin, origin_of
from workbench.demos.sharing.tasks import TaskSpec, answers

#: Digits kept for testing and for validation, by set: (test, validation). UCI has fewer.
KEPT = {"mnist": (1500, 300), "uci": (700, 200)}
#: Slope of the activations below 0, so that no unit of a narrow layer dies.
SLOPE = 0.1

#: Pictures with the answers of every task, or task -> its own pictures and answers.
Batch = tuple[Tensor, dict[str, Tensor]] | dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Data:
    """One task's pictures and answers (numbers, or classes): to train on, to test on, and to judge a probe by."""

    images: Float[Tensor, "N D"]
    answers: Tensor
    test_images: Float[Tensor, "M D"]
    test_answers: Tensor
    held_out_images: Float[Tensor, "V D"]
    held_out_answers: Tensor


class SharedNet(nn.Module):
    """Two narrow layers that every task shares, and linear heads; tasks may share a head too.

    ``net(pictures)`` is a dict of outputs [B, C] of all tasks; of some, if ``pictures`` maps them to their own.
    """

    def __init__(self, outputs: Mapping[str, int], head_of: Mapping[str, str], widths: tuple[int, ...]) -> None:
        super().__init__()
        layers = [nn.Sequential(nn.Linear(a, b), nn.LeakyReLU(SLOPE)) for a, b in pairwise((SIDE * SIDE, *widths))]
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleDict({head: nn.Linear(widths[-1], n) for head, n in outputs.items()})
        self.head_of = dict(head_of)

    def forward(self, pictures: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        if isinstance(pictures, Mapping):
            return {task: self.heads[self.head_of[task]](self.trunk(x)) for task, x in pictures.items()}
        features = self.trunk(pictures)
        return {task: self.heads[head](features) for task, head in self.head_of.items()}


@dataclass(frozen=True)
class Sharing:
    """Two tasks or more that may share a network.

    Attributes:
        name: Also names the files of its results; seeds the draw of its data.
        family: What is to be expected of it, in the words of :mod:`workbench.demos.sharing.catalogue`.
        specs: Task -> what it is.
        common: All tasks are asked about the same pictures; else each has its own.
        widths: Of the shared layers.
        steps: Updates of the full training, by Adam.
        lr: Its step size.
        batch_size: Pictures in a batch; a task that has fewer takes all of them.
    """

    name: str
    family: str
    specs: Mapping[str, TaskSpec]
    common: bool = False
    widths: tuple[int, ...] = (16, 8)
    steps: int = 600
    lr: float = 1e-2
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.common and len({(spec.source, spec.n) for spec in self.specs.values()}) > 1:
            raise ConfigError(f"Tasks of '{self.name}' have common pictures, so their source and n must be the same.")

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.specs)

    @cached_property
    def data(self) -> dict[str, Data]:
        """Task -> its data. No digit that is trained on is tested on, or trained on by another task's own pictures."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        left = {name: rng.permutation(len(origin(name))).tolist() for name in KEPT}
        kept = {name: [_take(left[name], n) for n in sizes] for name, sizes in KEPT.items()}
        drawn: list[Pictures] = []
        data = {}
        for task, spec in self.specs.items():
            place = origin_of(spec.source)
            if not (self.common and drawn):
                digits = origin(place)
                parts = (_take(left[place], spec.n), *kept[place])
                drawn = [draw(spec.source, digits.take(part), rng) for part in parts]
            train, *true = drawn
            given, *answered = answers(spec, train, true, rng)
            pairs = zip((train, *true), (given, *answered), strict=True)
            data[task] = Data(*(torch.from_numpy(a) for images, said in pairs for a in (images.images, said)))
        return data

    def build_model(self, seed: int) -> SharedNet:
        """A net with weights drawn from torch's generator, seeded here."""
        torch.manual_seed(seed)
        head_of = {task: spec.head or task for task, spec in self.specs.items()}
        outputs = {head_of[task]: max(spec.classes, 1) for task, spec in self.specs.items()}
        return SharedNet(outputs, head_of, self.widths)

    def shared(self, model: SharedNet) -> dict[str, nn.Module]:
        """The layers of the trunk, and the heads that several tasks read."""
        layers = {f"layer {i + 1}": layer for i, layer in enumerate(model.trunk)}
        common = {head for head in model.heads if sum(owner == head for owner in model.head_of.values()) > 1}
        return layers | {f"head {head}": model.heads[head] for head in model.heads if head in common}

    def order(self, seed: int) -> Iterator[dict[str, Int[np.ndarray, " B"]]]:
        """Without end: task -> which of its pictures are in the next batch. Every epoch is a new permutation.

        Tasks with few pictures begin new epochs more often; a task's order does not depend on the other tasks.
        """
        streams = {
            task: _epochs(self.specs[task].n, self.batch_size, np.random.default_rng((seed, 0 if self.common else i)))
            for i, task in enumerate(self.tasks)
        }
        while True:
            yield {task: next(stream) for task, stream in streams.items()}

    def batches(self, seed: int) -> Iterator[Batch]:
        """Without end."""
        for index in self.order(seed):
            yield self._batch(index)

    def validation(self, seed: int) -> Iterator[Batch]:
        """Pictures that are neither trained on nor tested on, in one batch."""
        parts = {task: (data.held_out_images, data.held_out_answers) for task, data in self.data.items()}
        yield self._as_batch(parts)

    def _batch(self, index: Mapping[str, np.ndarray]) -> Batch:
        """The batch of these pictures."""
        parts = {task: (self.data[task].images[at], self.data[task].answers[at]) for task, at in index.items()}
        return self._as_batch(parts)

    def _as_batch(self, parts: dict[str, tuple[Tensor, Tensor]]) -> Batch:
        if not self.common:
            return parts
        return next(iter(parts.values()))[0], {task: y for task, (_, y) in parts.items()}

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Float[Tensor, " B"]]:
        """Loss per task and sample."""
        if isinstance(batch, tuple):
            images, given = batch
            return {task: self.loss(task, output, given[task]) for task, output in model(images).items()}
        outputs = model({task: images for task, (images, _) in batch.items()})
        return {task: self.loss(task, output, batch[task][1]) for task, output in outputs.items()}

    def loss(self, task: str, output: Float[Tensor, "*B C"], given: Tensor) -> Float[Tensor, "*B"]:
        """Of every sample, times the task's scale: nats, or half a squared error."""
        spec = self.specs[task]
        if spec.classes:
            nats = cross_entropy(output.flatten(0, -2), given.flatten(), reduction="none")
            return spec.scale * nats.view(given.shape)
        return spec.scale * 0.5 * (output[..., 0] - given).square()

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=self.lr)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Task -> score on its test pictures: accuracy, or the share of variance explained (1 at best)."""
        with torch.no_grad():
            outputs = {task: model({task: data.test_images})[task] for task, data in self.data.items()}
        return {task: self.score(task, output) for task, output in outputs.items()}

    def score(self, task: str, output: Float[Tensor, "M C"]) -> float:
        true = self.data[task].test_answers
        if self.specs[task].classes:
            return float((output.argmax(dim=1) == true).double().mean())
        return float(1 - (output[:, 0] - true).square().mean() / (true - true.mean()).square().mean())


def _epochs(n: int, size: int, rng: np.random.Generator) -> Iterator[Int[np.ndarray, " B"]]:
    size = min(size, n)
    while True:
        order = rng.permutation(n)
        for start in range(0, n - size + 1, size):
            yield order[start : start + size]


def _take(left: list[int], n: int) -> Int[np.ndarray, " N"]:
    """The next ``n`` digits, which nobody else gets."""
    if len(left) < n:
        raise ConfigError(f"A problem asks for {n} more digits, and {len(left)} are left.")
    taken, left[:n] = np.array(left[:n]), []
    return taken
