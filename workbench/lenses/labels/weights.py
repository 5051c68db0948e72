"""How alike two labels' rows of the classifier are: evidence that needs no predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.core import Run

#: Name of the array that holds classifier rows: one entry a dataset, or "weight" in the order of config["union"].
ARRAY = "classifier"


def classifier_rows(
    run: Run, spaces: Mapping[str, Sequence[str]], step: int | None
) -> dict[tuple[str, str], Float[np.ndarray, " D"]]:
    """The centred classifier row of every (dataset, label); empty where none fits the label lists.

    The array ``classifier`` holds [labels, D] for each dataset in the order of its labels, or once, as ``weight``, for
    the union of names in the order of ``config["union"]``. Rows are centred by the mean of their head, because a
    softmax ignores what all its rows share.
    """
    steps = [known for known in run.array_steps(ARRAY) if step is None or known <= step]
    if not steps:
        return {}
    found: dict[tuple[str, str], np.ndarray] = {}
    arrays = run.array(ARRAY, steps[-1])
    union = [str(label) for label in run.info.config.get("union", ())]
    for dataset, labels in spaces.items():
        rows, order = (arrays[dataset], list(labels)) if dataset in arrays else (arrays.get("weight"), union)
        if rows is None or rows.ndim != 2 or len(rows) != len(order):
            continue
        centred = rows.astype(float) - rows.mean(axis=0)
        found |= {(dataset, label): centred[order.index(label)] for label in labels if label in order}
    return found


def with_weight_cosines(
    relations: pd.DataFrame, rows: Mapping[tuple[str, str], Float[np.ndarray, " D"]]
) -> pd.DataFrame:
    """Add ``weight_cosine``: cos(w_a − mean, w_b − mean); NaN where a row is unknown or 0.

    High cosine with little co-occurrence says that the domains differ, not the concepts. Labels of one name that share
    one output have cosine 1 by construction.
    """
    values = []
    for _, row in relations.iterrows():
        a, b = rows.get((row["dataset_a"], row["label_a"])), rows.get((row["dataset_b"], row["label_b"]))
        if a is None or b is None or len(a) != len(b) or not (a.any() and b.any()):
            values.append(np.nan)
        else:
            values.append(float(a @ b / np.sqrt((a @ a) * (b @ b))))
    return relations.assign(weight_cosine=np.array(values, dtype=float))
