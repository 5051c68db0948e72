"""Exact per-sample gradients of the parameters that no rule covers, at the usual cost.

First vmap over functional gradients of one sample at a time. Where that is impossible, or where a sample's loss is
another one when it is computed alone, one backward pass per sample.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench.diagnostics.per_sample.batch import Batch, map_rows
from workbench.diagnostics.per_sample.rules import working
from workbench.diagnostics.per_sample.sums import BatchSums
from workbench.diagnostics.per_sample.uses import Direct, blocks

#: Bytes of per-sample gradients that vmap forms at a time.
_VMAP_BYTES = 1 << 26


def measure(batch: Batch, reasons: Mapping[str, str], sums: BatchSums) -> dict[str, str]:
    """Add the per-sample gradients of the parameters named in ``reasons`` to ``sums``.

    Returns:
        parameter -> a sentence on how it was measured and why.
    """
    names = list(reasons)
    trial = BatchSums(sums.groups)
    if batch.samples > 1 and _by_vmap(batch, names, trial):
        how = "per-sample functional gradients"
        sums.update(trial)
    else:
        how = "one backward pass per sample"
        _by_loop(batch, names, sums)
    return {name: f"{how}: {reason}" for name, reason in reasons.items()}


class _Closed(nn.Module):
    """The loss as a module, so that functional_call can put other tensors in place of the parameters."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self.model, self.batch = batch.model, batch

    def forward(self, inputs: Sequence[Any]) -> Tensor:
        return self.batch.evaluate(inputs)


def _by_vmap(batch: Batch, names: Sequence[str], sums: BatchSums) -> bool:
    """Whether it could be done. Inputs must be tensors with one row per sample, or constants."""
    paths = {id(parameter): path for path, parameter in batch.model.named_parameters()}
    parameters = {name: batch.parameters[name] for name in names}
    if any(id(parameter) not in paths for parameter in parameters.values()):
        return False
    flat, rebuild = _split_inputs(batch.inputs, batch.samples)
    if not flat:
        return False
    closed = _Closed(batch)
    values = {f"model.{paths[id(parameter)]}": parameter.detach() for parameter in parameters.values()}

    def loss_of_one(values: dict[str, Tensor], *rows: Tensor) -> tuple[Tensor, Tensor]:
        loss = torch.func.functional_call(closed, values, (rebuild([row.unsqueeze(0) for row in rows]),))
        return loss.sum(), loss.sum().detach()

    gradients = torch.func.vmap(
        torch.func.grad(loss_of_one, has_aux=True), in_dims=(None, *[0] * len(flat)), randomness="different"
    )
    size = sum(parameter.numel() for parameter in parameters.values())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "there is a performance drop …": the result says so by name
            for start, stop in blocks(batch.samples, (size,), _VMAP_BYTES):
                found, losses = gradients(values, *(t[start:stop] for t in flat))
                if not _same(losses, batch.losses[start:stop]):
                    return False
                for name, parameter in parameters.items():
                    sums.add(name, Direct(working(found[f"model.{paths[id(parameter)]}"])), start)
    except Exception:
        return False
    return True


def _same(alone: Tensor, together: Tensor) -> bool:
    tolerance = torch.finfo(together.dtype).eps ** 0.5
    return torch.allclose(alone.to(together.dtype), together.detach(), rtol=tolerance, atol=tolerance)


def _split_inputs(inputs: Sequence[Any], samples: int) -> tuple[list[Tensor], Callable[[Sequence[Tensor]], Any]]:
    """Tensors with a row per sample, and a function that puts others in their places."""
    flat: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        flat.append(tensor)
        return tensor

    map_rows(inputs, samples, keep)

    def rebuild(rows: Sequence[Tensor]) -> Any:
        queue = iter(rows)
        return map_rows(inputs, samples, lambda _: next(queue))

    return flat, rebuild


def _by_loop(batch: Batch, names: Sequence[str], sums: BatchSums) -> None:
    parameters = [batch.parameters[name] for name in names]
    losses = batch.again()
    for i in range(batch.samples):
        last = i == batch.samples - 1
        gradients = torch.autograd.grad(losses[i], parameters, retain_graph=not last, allow_unused=True)
        for name, gradient in zip(names, gradients, strict=True):
            if gradient is not None:
                sums.add(name, Direct(working(gradient.to_dense() if gradient.is_sparse else gradient)[None]), i)
