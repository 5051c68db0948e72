"""The net of every run: a trunk of layers that tasks share, unless a layer is given to each task for itself."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from workbench.demos.nets import Net, NetSpec

#: The trunk's layers, first to last; each is split or given away as a whole, with its norm.
LAYERS = ("conv1", "conv2", "conv3", "embed")


class Branched(Net):
    """A net in which each task may have its own copy of some layers of the trunk.

    Without such layers it is :class:`Net` to the last bit. From the first own layer on, every task computes its own
    features, also where they pass through layers that are shared.

    Attributes:
        own: The layers that are not shared.
    """

    def __init__(self, spec: NetSpec) -> None:
        super().__init__(spec)
        self.own: tuple[str, ...] = ()

    def branch(self, layers: Sequence[str]) -> None:
        """Give each task its own copy of these layers; copies start from the present weights."""
        self.own = tuple(layer for layer in LAYERS if layer in layers)
        for name in self.own:
            layer = getattr(self.trunk, name)
            setattr(self.trunk, name, nn.ModuleDict({task: copy.deepcopy(layer) for task in self.heads}))

    def answer(self, task: str, images: Float[Tensor, "B C H W"]) -> Tensor:
        """The output of one task's head."""
        return self.heads[task](self._through(LAYERS, task, images))

    def forward(self, images: Float[Tensor, "B C H W"]) -> dict[str, Tensor]:
        """All outputs; what tasks have in common is computed once."""
        first = LAYERS.index(self.own[0]) if self.own else len(LAYERS)
        common = self._through(LAYERS[:first], "", images)
        return {task: head(self._through(LAYERS[first:], task, common)) for task, head in self.heads.items()}

    def layer(self, name: str, task: str = "") -> nn.Module:
        """A layer as one task meets it."""
        module = getattr(self.trunk, name)
        return module[task] if name in self.own else module

    def _through(self, layers: Sequence[str], task: str, values: Tensor) -> Tensor:
        for name in layers:
            values = self.layer(name, task)(values)
        return values
