"""The net of a recorded demo run, rebuilt from its checkpoint, and the pictures it can be asked about again."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from workbench.core import Run, RunFormatError

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.diagnostics.subject import Drawn, Subject

#: A recorded picture stands for the net's input when the confidence from it is as recorded up to this.
TOLERANCE = 0.1


def why_not(run: Run) -> str | None:
    """Why a run's net cannot be rebuilt and asked again, in one sentence; None when it can be tried. Needs no torch."""
    if _checkpoint(run) is None:
        return "The run has no checkpoint with the description of its net beside it (step-*.json)."
    if "thumbnail" not in run.columns("samples"):
        return "The samples table has no pictures (column thumbnail) to ask the net about."
    if not run.has("predictions"):
        return "The run recorded no predictions to hold the rebuilt net against."
    return None


def rebuild(run: Run, tested: Drawn | None = None) -> Subject:
    """The net of the last checkpoint, with its recorded test samples.

    Its inputs are those of ``tested``, in the order of the samples table, where they are known; otherwise the recorded
    pictures of the net's own size. These keep fewer levels of brightness than the inputs had. ``faithful`` says where
    that does not matter: from the picture the net gives, for every task, the class that was recorded, with a confidence
    that differs by at most :data:`TOLERANCE`.

    Raises:
        RunFormatError: the net cannot be rebuilt, its parameters are not finite, none of its heads is a task whose
            predictions were recorded with it, or no picture has the size of its inputs.
    """
    import torch

    from workbench.demos.nets import load_net
    from workbench.diagnostics import predictions
    from workbench.diagnostics.subject import Subject

    reason, found = why_not(run), _checkpoint(run)
    if reason is not None or found is None:
        raise RunFormatError(f"{run.path.name}: {reason}")
    step, file = found
    try:
        net = load_net(file)
    except (ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
        raise RunFormatError(f"{file} does not hold the net that {file.stem}.json describes ({error}).") from None
    if not all(bool(torch.isfinite(parameter).all()) for parameter in net.parameters()):
        raise RunFormatError(f"The parameters in {file.name} are not finite: the training diverged.")
    if tested is None:
        samples, inputs = _pictures(run, (net.spec.channels, *net.spec.size))
    else:
        samples = run.query("SELECT DISTINCT sample FROM samples ORDER BY sample")["sample"].to_numpy(np.int64)
        inputs = tested.inputs
    said = predictions.collect(net, inputs)
    recorded = {task: _recorded(run, task, step, samples) for task in said}
    tasks = tuple(task for task, (answers, _sure) in recorded.items() if (answers >= 0).any())
    if not tasks:
        heads, trained = ", ".join(said), ", ".join(task.name for task in run.info.tasks)
        raise RunFormatError(
            f"No head of the net ({heads}) has predictions recorded at step {step}; the run's tasks are: {trained}."
        )
    faithful = np.ones(len(samples), dtype=bool)
    for task in tasks:
        answers, sure = recorded[task]
        faithful &= (said[task].prediction == answers) & (np.abs(said[task].confidence - sure) <= TOLERANCE)
    said = {task: said[task] for task in tasks}
    return Subject(net, step, tasks, samples, inputs, said, faithful, exact=tested is not None)


def grounds(inputs: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """For every picture one of the same size in its own ground: the median of each channel over its pixels."""
    return inputs.flatten(2).median(dim=2).values[:, :, None, None].expand_as(inputs).contiguous()


def _checkpoint(run: Run) -> tuple[int, Path] | None:
    """The last checkpoint that has the description of a demo net beside it."""
    for step, file in sorted(run.checkpoints().items(), reverse=True):
        try:
            described: Any = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(described, dict) and isinstance(described.get("net"), dict):
            return step, file
    return None


def _pictures(run: Run, shape: tuple[int, int, int]) -> tuple[Int[np.ndarray, " N"], Float[Tensor, "N C H W"]]:
    """The recorded pictures of that shape, with their samples' numbers."""
    from workbench.demos.trainer import as_pictures

    frame = run.query("SELECT sample, thumbnail FROM samples WHERE thumbnail IS NOT NULL ORDER BY sample")
    contents = zip(frame["sample"].tolist(), frame["thumbnail"], strict=True)
    pictures = {sample: _picture(content, shape) for sample, content in contents}
    known = {sample: picture for sample, picture in pictures.items() if picture is not None}
    if not known:
        raise RunFormatError(f"No recorded picture has the size of the net's inputs, {shape[1]} by {shape[2]} pixels.")
    return np.array(list(known), dtype=np.int64), as_pictures(np.stack(list(known.values())))


def _picture(content: object, shape: tuple[int, int, int]) -> np.ndarray | None:
    """A PNG as [H, W] (grey) or [3, H, W] in [0, 1]; None when it is no picture of that shape."""
    from PIL import Image, UnidentifiedImageError

    channels, height, width = shape
    if not isinstance(content, (bytes, bytearray)):
        return None
    try:
        with Image.open(BytesIO(content), formats=("PNG",)) as image:
            if image.size != (width, height) or image.mode != ("L" if channels == 1 else "RGB"):
                return None
            values = np.asarray(image, dtype=np.float32) / 255
    except (UnidentifiedImageError, OSError, ValueError):
        return None
    return values if channels == 1 else np.moveaxis(values, -1, 0)


def _recorded(run: Run, task: str, step: int, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The recorded class (-1 where there is none) and confidence of these samples."""
    frame = (
        run.query(
            "SELECT sample, any_value(prediction) AS prediction, any_value(confidence) AS confidence FROM predictions "
            "WHERE task = ? AND step = ? GROUP BY sample",
            [task, step],
        )
        .set_index("sample")
        .reindex(samples)
    )
    return frame["prediction"].fillna(-1).to_numpy(dtype=np.int64), frame["confidence"].to_numpy(dtype=np.float64)
