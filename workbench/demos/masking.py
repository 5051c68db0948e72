"""GSNR dropout inside the one training loop: remembers the batch, so that its losses can be had with masked weights.

masking = Masking(rec, net, losses_at, config, seed)
fit(..., losses=masking.losses, rule=masking.rule)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from workbench.core import RunWriter
from workbench.methods.gsnr_dropout import Config, GsnrDropout

Batch = TypeVar("Batch")
#: (parameters by name, batch, the domains wanted) -> domain -> loss of every sample.
LossesAt = Callable[[Mapping[str, Tensor], Batch, Sequence[str]], Mapping[str, Tensor]]


class Masking(Generic[Batch]):
    """One training with GSNR dropout; ratio 0 is training without.

    Args:
        domains: The source domains, in the order of the losses.
        log_every: The ratios and how far two masks in a row overlap are logged once in this many steps.
    """

    def __init__(
        self,
        rec: RunWriter,
        net: nn.Module,
        losses_at: LossesAt[Batch],
        domains: Sequence[str],
        config: Config,
        seed: int,
        log_every: int = 10,
    ) -> None:
        self.rec, self.net, self.losses_at, self.domains, self.log_every = rec, net, losses_at, domains, log_every
        self.method = GsnrDropout(net, config, seed)
        self.batch: Batch | None = None

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        """The losses of the net as it is, by domain."""
        self.batch = batch
        return self.losses_at(self.method.parameters, batch, self.domains)

    def rule(self, losses: Mapping[str, Tensor]) -> None:
        """Fill the gradients of this step, masked."""
        batch = self.batch
        assert batch is not None  # fit asks for the losses first
        step, active = self.method.step, self.method.active
        logged = self.method.backward(losses, lambda parameters, domains: self.losses_at(parameters, batch, domains))
        if active and step % self.log_every == 0:
            self.rec.scalars(step, {tag_of(name): value for name, value in logged.items() if np.isfinite(value)})

    def record_mask(self, step: int, scored: Sequence[str] = ()) -> None:
        """Write which weights the last step left out, and what ranked them, as the array ``gsnr_mask``.

        Per weight tensor ``kept/<name>`` (1 or 0); of the tensors ``scored`` also ``score/<name>`` (log10). Nothing
        before the first mask.
        """
        arrays: dict[str, np.ndarray] = {}
        for name, mask in self.method.masks.items():
            arrays[f"kept/{name}"] = mask.cpu().numpy().astype(np.uint8)
            if name in scored:
                arrays[f"score/{name}"] = torch.log10(self.method.scores[name]).cpu().numpy().astype(np.float16)
        if arrays:
            self.rec.array("gsnr_mask", step, arrays)

    def with_and_without(self, measure: Callable[[], float]) -> tuple[float, float | None]:
        """A number of the whole net, and of the net without the weights that the last step left out (None: none)."""
        whole = measure()
        if not self.method.masks:
            return whole, None
        kept = {name: value.detach().clone() for name, value in self.method.weights.items()}
        with torch.no_grad():
            for name, mask in self.method.masks.items():
                self.method.weights[name].mul_(mask)
            masked = measure()
            for name, value in kept.items():
                self.method.weights[name].copy_(value)
        return whole, masked


def tag_of(name: str) -> str:
    """The scalar under which a number of the method is logged."""
    return {"overlap": "mask overlap"}.get(name, f"mask {name}")
