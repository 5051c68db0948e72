"""A net and the samples that it is asked about: what attribution, concepts and influence start from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from workbench.diagnostics.predictions import Predictions
from workbench.diagnostics.untouched import apply


@dataclass(frozen=True)
class Subject:
    """A net in eval mode with N samples.

    Attributes:
        step: Of the checkpoint.
        tasks: The classification outputs that can be asked about.
        samples: Numbers of the samples, as in the run's tables, ascending.
        said: Task -> what the net says about the inputs.
        faithful: Which inputs stand for what the net saw: from them it gives the recorded answers. All of them where
            the inputs are the net's own.
        exact: Whether the inputs are the net's own, rather than the recorded pictures of them.
        forward: Runs the net on inputs; returns a mapping task -> logits [B, C].
    """

    net: nn.Module
    step: int
    tasks: tuple[str, ...]
    samples: Int[np.ndarray, " N"]
    inputs: Float[Tensor, "N ..."]
    said: Mapping[str, Predictions]
    faithful: Bool[np.ndarray, " N"]
    exact: bool = False
    forward: Callable[[nn.Module, Any], Any] = field(default=apply)


@dataclass(frozen=True)
class Drawn:
    """A set of N samples to train on or to test with.

    Attributes:
        targets: Task -> the label that the net was trained on (or is tested against); -100 where there is none.
        levels: Attribute, or ``domain`` -> the level of each sample.
    """

    inputs: Float[Tensor, "N ..."]
    targets: Mapping[str, Int[np.ndarray, " N"]]
    levels: Mapping[str, np.ndarray]
