"""What a probe measured, and its place in the record."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float

from workbench.core import Run, RunFormatError, RunWriter

#: Name of the arrays of a forecast in its run, all at step 0.
ARRAYS = "forecast"


@dataclass(frozen=True)
class Measured:
    """What the probe found. R seeds, S marks (``steps`` of a trajectory), Q points with gradients, P pairs i < j.

    Attributes:
        alone: Held-out mean loss of every task trained alone.
        paired: Of the two tasks of every pair, trained together; NaN where pairs were not trained.
        together: Of every task when all are trained together.
        lookahead: Z_ij: relative fall of task j's held-out loss by a plain step on task i; see trajectory.lookahead.
    """

    steps: Float[np.ndarray, " S"]
    alone: Float[np.ndarray, "R S T"]
    paired: Float[np.ndarray, "R S P 2"]
    together: Float[np.ndarray, "R S T"]
    lookahead: Float[np.ndarray, "R Q T T"]

    @property
    def n_seeds(self) -> int:
        return len(self.alone)

    @property
    def has_pairs(self) -> bool:
        return bool(np.isfinite(self.paired).any())


def save(recorder: RunWriter, measured: Measured) -> None:
    """Write the numbers behind a forecast into its run."""
    recorder.array(ARRAYS, 0, {f.name: getattr(measured, f.name) for f in fields(Measured)})


def load(run: Run) -> Measured:
    """Read them back. Raises MissingTable where a run holds none, RunFormatError where they are damaged."""
    arrays = run.array(ARRAYS, 0)
    try:
        return Measured(**{f.name: arrays[f.name].astype(np.float64) for f in fields(Measured)})
    except KeyError as error:
        raise RunFormatError(f"{run.path}: the arrays of the forecast lack {error}. Diagnose again.") from None
