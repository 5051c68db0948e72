"""Which labels a cosine classifier finds related, beside the relations that were planted and those it trained with.

    S_ck = mean of cos(f(x), w_k) over the pixels x that a dataset annotates c
    k is related to c  <=>  S_ck > max(S_cc, τ)

Read from, each where it is there:

    array mean_cosines   dataset -> S [K, K], row the annotated label; NaN rows for labels without pixels
    array targets        dataset -> T [K, K]: 1 where the loss asks for the column as well, 0 a negative, -1 no loss
    config               outputs: the K names; threshold: τ; planted.relations: [dataset, label, related label]

Source: the rule and τ are those of Kim et al. 2022, arXiv:2202.14030.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from workbench.core import Run

COSINES, TARGETS = "mean_cosines", "targets"
#: τ where a run does not name its own.
THRESHOLD = -0.08
COLUMNS = ["dataset", "label", "related", "cosine", "own_cosine", "found", "planted", "trained_with"]


@dataclass(frozen=True)
class Relatedness:
    """S at every recorded step, and what is known of the relations.

    Attributes:
        outputs: Names of the K outputs.
        cosines: Step -> dataset -> S.
        taken: The step at which training took its relations; None where it took none.
        trained_with: Dataset -> the relations it took, row the annotated label; empty where none were taken.
        planted: (dataset, label, related label) that are known to hold; None where nothing was planted.
        threshold: τ of the run.
    """

    outputs: tuple[str, ...]
    cosines: Mapping[int, Mapping[str, Float[np.ndarray, "K K"]]]
    taken: int | None
    trained_with: Mapping[str, Bool[np.ndarray, "K K"]]
    planted: frozenset[tuple[str, str, str]] | None
    threshold: float

    @property
    def steps(self) -> tuple[int, ...]:
        return tuple(self.cosines)

    @property
    def shown(self) -> int:
        """The step to look at first: where training took its relations, else the last."""
        return self.steps[-1] if self.taken is None or self.taken not in self.cosines else self.taken

    def table(self, step: int | None = None, threshold: float | None = None) -> pd.DataFrame:
        """One row a dataset, annotated label with pixels, and other output: :data:`COLUMNS`.

        ``found`` by the rule at this step and τ; ``planted`` and ``trained_with`` are False where nothing is known.
        """
        limit = self.threshold if threshold is None else threshold
        rows = []
        for dataset, s in self.cosines[self.shown if step is None else step].items():
            taken = self.trained_with.get(dataset, np.zeros(s.shape, dtype=bool))
            for c in np.flatnonzero(np.isfinite(np.diag(s))).tolist():
                for k in (k for k in range(len(s)) if k != c):
                    name = (dataset, self.outputs[c], self.outputs[k])
                    found = bool(s[c, k] > s[c, c] and s[c, k] > limit)
                    known = name in (self.planted or ())
                    rows.append((*name, float(s[c, k]), float(s[c, c]), found, known, bool(taken[c, k])))
        return pd.DataFrame(rows, columns=COLUMNS)


def read_relatedness(run: Run) -> Relatedness | None:
    """None where no mean cosines were recorded, or their size is not that of ``config.outputs``."""
    outputs = run.info.config.get("outputs")
    if not isinstance(outputs, list) or not run.array_steps(COSINES):
        return None
    names = tuple(map(str, outputs))
    cosines = {step: _square(run.array(COSINES, step), len(names)) for step in run.array_steps(COSINES)}
    cosines = {step: found for step, found in cosines.items() if found}
    if not cosines:
        return None
    switches = run.array_steps(TARGETS)
    targets = _square(run.array(TARGETS, switches[-1]), len(names)) if switches else {}
    own = np.eye(len(names), dtype=bool)
    threshold = run.info.config.get("threshold")
    return Relatedness(
        names,
        cosines,
        switches[-1] if targets else None,
        {dataset: (t == 1) & ~own for dataset, t in targets.items()},
        _planted(run.info.config.get("planted")),
        float(threshold) if isinstance(threshold, (int, float)) else THRESHOLD,
    )


def _square(arrays: Mapping[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    return {name: values.astype(float) for name, values in arrays.items() if values.shape == (n, n)}


def _planted(given: object) -> frozenset[tuple[str, str, str]] | None:
    relations = given.get("relations") if isinstance(given, Mapping) else None
    if not isinstance(relations, list) or not all(isinstance(r, list) and len(r) == 3 for r in relations):
        return None
    return frozenset((str(dataset), str(label), str(related)) for dataset, label, related in relations)
