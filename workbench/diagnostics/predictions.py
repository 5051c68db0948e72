"""What the model says about each sample: class, confidence, loss and logits of classification tasks, in eval mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workbench.core import ConfigError
from workbench.diagnostics.untouched import apply, device_of, in_batches, on_device, untouched

#: Target index of a sample that has no label for a task (the default ``ignore_index`` of torch's losses).
NO_LABEL = -100


@dataclass(frozen=True)
class Predictions:
    """Predictions of one task.

    Attributes:
        prediction: The class with the largest logit.
        confidence: Its softmax probability in [0, 1]; NaN where a logit is NaN.
        loss: Cross-entropy in nats; NaN where the sample has no label.
    """

    prediction: Int[np.ndarray, " N"]
    confidence: Float[np.ndarray, " N"]
    loss: Float[np.ndarray, " N"]
    logits: Float[np.ndarray, "N C"]


def collect(
    model: nn.Module,
    batches: Tensor | Iterable[Any],
    *,
    task: str = "task",
    forward: Callable[[nn.Module, Any], Any] = apply,
) -> dict[str, Predictions]:
    """Predictions of every classification task, over all batches.

    The model returns logits [B, C], or a mapping task -> logits; outputs of another shape (a reconstruction, a
    regression) are left out. Labels are the second entry of a batch ``(inputs, labels)``: class indices [B], or a
    mapping task -> class indices, with -100 where a sample has none. Without labels the losses are NaN.

    The model runs in eval mode without gradients and is left as it was, also after an exception.

    Args:
        batches: Inputs [N, ...] in one tensor, or an iterable of inputs or of ``(inputs, labels)``.
        task: The task's name when the model returns one tensor.
        forward: How to run the model on a batch; by default as :func:`workbench.diagnostics.untouched.apply` says.

    Raises:
        ConfigError: no output has the shape [B, C], or labels do not fit.
    """
    found: dict[str, list[Predictions]] = {}
    device = device_of(model)
    with untouched(model), torch.no_grad():
        for given in in_batches(batches):
            batch = on_device(given, device)
            output = forward(model, batch)
            outputs = dict(output) if isinstance(output, Mapping) else {task: output}
            labels = batch[1] if isinstance(batch, (tuple, list)) and len(batch) > 1 else {}
            for name, logits in outputs.items():
                if isinstance(logits, Tensor) and logits.ndim == 2 and logits.is_floating_point():
                    target = labels.get(name) if isinstance(labels, Mapping) else labels
                    found.setdefault(name, []).append(from_logits(logits, target))
    if not found:
        raise ConfigError("No output of the model has the shape [B, C] of classification logits, or batches is empty.")
    return {name: _joined(pieces) for name, pieces in found.items()}


def from_logits(logits: Float[Tensor, "N C"], target: Tensor | None = None) -> Predictions:
    """Class, confidence and loss from logits, in float32.

    Raises:
        ConfigError: the targets are not class indices [N] in 0..C-1 (or -100).
    """
    logits = logits.detach().float()
    confidence, prediction = logits.softmax(1).max(1)
    loss = torch.full_like(confidence, torch.nan)
    if target is not None:
        n_classes = logits.shape[1]
        labelled = target != NO_LABEL
        fits = target.shape == confidence.shape and not target.is_floating_point()
        if not fits or bool(((target[labelled] < 0) | (target[labelled] >= n_classes)).any()):
            raise ConfigError(
                f"Labels must be class indices of shape ({len(logits)},) from 0 to {n_classes - 1}, or {NO_LABEL} for "
                f"none; got {target.dtype} of shape {tuple(target.shape)}."
            )
        loss[labelled] = cross_entropy(logits[labelled], target[labelled].long(), reduction="none")
    return Predictions(*(value.cpu().numpy() for value in (prediction, confidence, loss, logits)))


def _joined(pieces: list[Predictions]) -> Predictions:
    fields = ("prediction", "confidence", "loss", "logits")
    return Predictions(*(np.concatenate([getattr(piece, field) for piece in pieces]) for field in fields))
