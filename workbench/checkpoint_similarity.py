"""What two checkpoints make of the same inputs, layer by layer: linear CKA, where the model can be built.

    frame = checkpoint_cka(build, "epoch=1.ckpt", "epoch=9.ckpt", inputs)      # build() returns your untrained model
    frame = recorded_cka(open_run("runs/a"), open_run("runs/b"))               # nets of our own recipes

CKA is 1 for representations that are equal up to rotation and scale, and near 0 for unrelated ones. It is debiased and
has a 95 % interval over samples; see :func:`workbench.lenses.domains.similarity.cka_interval`. Weights are read as
everywhere: nothing in a checkpoint is executed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.core import ConfigError, Run, RunFormatError
from workbench.runs.checkpoints import Checkpoint, open_checkpoint

if TYPE_CHECKING:
    from torch import nn

#: Inputs that are compared at most: the cost grows with their square.
MOST_SAMPLES = 1000
COLUMNS = ("layer", "cka", "low", "high", "samples")


def checkpoint_cka(
    build: Callable[[], nn.Module],
    before: str | Path | Checkpoint,
    after: str | Path | Checkpoint,
    inputs: Any,
    layers: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Linear CKA between the layers of one model with two sets of weights.

    Args:
        build: Makes the model; its weights are replaced.
        before, after: Checkpoints whose tensor names are those of the model's state dict, perhaps behind one prefix
            (``model.``, ``module.``…).
        inputs: One tensor [N, ...], or an iterable of batches as the model takes them.
        layers: Names of modules; by default those without children that return a tensor.

    Returns:
        One row a layer in the order of the forward pass: layer, cka, low, high (95 % interval), samples. NaN where a
        layer says the same about every input.

    Raises:
        RunFormatError: a checkpoint that does not fit the model (names a tensor).
        ConfigError: an unknown layer, or fewer than 16 inputs.
    """
    inputs = list(inputs) if not hasattr(inputs, "shape") else inputs
    nets = [with_weights(build(), which) for which in (before, after)]
    return similarity(nets[0], nets[1], inputs, layers)


def recorded_cka(before: Run, after: Run, layers: Sequence[str] | None = None) -> pd.DataFrame:
    """As :func:`checkpoint_cka` for the last checkpoints of two recorded demo runs, on the pictures of the first one.

    Raises:
        RunFormatError: a net cannot be rebuilt, or the nets take pictures of different sizes.
    """
    from workbench.demos.rebuilt import rebuild

    first, second = rebuild(before), rebuild(after)
    if first.inputs.shape[1:] != second.inputs.shape[1:]:
        raise RunFormatError(
            f"{before.name} and {after.name} take pictures of different sizes: CKA needs the same ones."
        )
    return similarity(first.net, second.net, first.inputs, layers)


def similarity(before: nn.Module, after: nn.Module, inputs: Any, layers: Sequence[str] | None = None) -> pd.DataFrame:
    """CKA between the same layers of two models on the same inputs; rows as of :func:`checkpoint_cka`."""
    from workbench.diagnostics import embeddings
    from workbench.lenses.domains.similarity import cka_interval, gram

    chosen = list(layers) if layers is not None else _layers(before, inputs)
    first, second = (embeddings.collect(model, inputs, chosen) for model in (before, after))
    rows = []
    for layer in chosen:
        x, y = first[layer][:MOST_SAMPLES], second[layer][:MOST_SAMPLES]
        if len(x) < 16:
            raise ConfigError(f"CKA needs at least 16 inputs; got {len(x)}.")
        rows.append((layer, *cka_interval(gram(x), gram(y)), len(x)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def with_weights(model: nn.Module, which: str | Path | Checkpoint) -> nn.Module:
    """A model with the weights of a checkpoint, in evaluation mode. Raises RunFormatError when they do not fit."""
    import torch

    checkpoint = which if isinstance(which, Checkpoint) else open_checkpoint(which)
    wanted = model.state_dict()
    prefix = _prefix(checkpoint.shapes, wanted)
    missing = [name for name in wanted if prefix + name not in checkpoint.shapes]
    if missing:
        raise RunFormatError(
            f"{checkpoint.path} has no tensor for '{missing[0]}' of the model ({len(missing)} missing)."
        )
    for name, tensor in wanted.items():
        found = checkpoint.shapes[prefix + name]
        if tuple(tensor.shape) != found:
            raise RunFormatError(
                f"{checkpoint.path}: '{name}' has the shape {found}, the model wants {tuple(tensor.shape)}."
            )
    state = {
        name: torch.from_numpy(np.array(checkpoint.load(prefix + name))).to(tensor.dtype)
        for name, tensor in wanted.items()
    }
    model.load_state_dict(state)
    return model.eval()


def _prefix(names: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What stands before every name of the model in a checkpoint that keeps it as a part of something larger."""
    first = next(iter(wanted), "")
    found = [name[: -len(first)] for name in names if name.endswith(first)] if first else []
    return next((prefix for prefix in sorted(found, key=len) if all(prefix + name in names for name in wanted)), "")


def _layers(model: nn.Module, inputs: Any) -> list[str]:
    """The modules without children that return a tensor, in the order in which they first run."""
    import torch

    from workbench.diagnostics.untouched import apply, device_of, in_batches, on_device, untouched

    seen: dict[str, None] = {}
    handles = []
    for name, module in model.named_modules():
        if name and not any(True for _ in module.children()):

            def note(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
                if isinstance(output, torch.Tensor) and output.ndim >= 2:
                    seen.setdefault(name)

            handles.append(module.register_forward_hook(note))
    try:
        with untouched(model), torch.no_grad():
            apply(model, on_device(next(iter(in_batches(inputs))), device_of(model)))
    finally:
        for handle in handles:
            handle.remove()
    return list(seen)
