"""How well every dataset's pictures are read in every dataset's labels, and which labels each loss speaks about.

Scores are read from the scalars ``mIoU/<pictures>/<label list>`` and ``IoU/<pictures>/<label list>/<label>``, shares in
[0, 1], at the last step that has them.

A loss over K outputs has K terms a pixel. With the annotated label c of dataset i, whose labels are Y_i:

    softmax over the union      positive: c; negative: all others
    one binary loss a label     positive: c; negative: the others of Y_i; silent: all others (null loss)
    class-relational            the same, but every label related to c is positive

Source: the losses are those of Kim et al. 2022, arXiv:2202.14030.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from workbench.core import Run
from workbench.core.schema import TRUTH
from workbench.lenses.labels.relatedness import Relatedness

SCORE_COLUMNS = ["pictures", "labels", "label", "step", "value"]
TERM_COLUMNS = ["dataset", "loss", "positive", "negative", "silent"]
SOFTMAX, BINARY, RELATIONAL = "softmax over all labels", "one binary loss a label", "class-relational loss"


def scores(run: Run) -> pd.DataFrame:
    """One row a score: pictures, label list, label ("" for the mean over labels), step, value."""
    found = run.query(
        "SELECT tag, arg_max(value, step) AS value, max(step) AS step FROM scalars "
        "WHERE regexp_matches(tag, '^(mIoU/[^/]+/[^/]+|IoU/[^/]+/[^/]+/[^/]+)$') AND isfinite(value) "
        "GROUP BY tag ORDER BY tag"
    )
    parts = [(*tag.split("/")[1:], "")[:3] for tag in found["tag"]]
    frame = pd.DataFrame(parts, columns=["pictures", "labels", "label"])
    return frame.assign(step=found["step"], value=found["value"])[SCORE_COLUMNS]


def annotated_shares(run: Run, spaces: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """One row a dataset and label of its list: ``share`` of the dataset's annotated weight; NaN where none is known."""
    found = run.query(
        "SELECT dataset, label, sum(weight) AS weight FROM label_counts WHERE source = ? GROUP BY ALL", [TRUTH]
    )
    weights = dict(zip(zip(found["dataset"], found["label"], strict=True), found["weight"].tolist(), strict=True))
    rows = []
    for dataset, labels in spaces.items():
        total = sum(weights.get((dataset, label), 0.0) for label in labels)
        share = [weights.get((dataset, label), 0.0) / total if total > 0 else np.nan for label in labels]
        rows += [(dataset, label, value) for label, value in zip(labels, share, strict=True)]
    return pd.DataFrame(rows, columns=["dataset", "label", "share"])


def terms(shares: pd.DataFrame, spaces: Mapping[str, Sequence[str]], relatedness: Relatedness | None) -> pd.DataFrame:
    """Shares of the (pixel, output) terms of each loss over the union of names, one row a dataset and loss.

    The class-relational loss has a row where the run trained with relations. Every label of a list counts alike where
    nothing is known of its pixels.
    """
    n = len({label for labels in spaces.values() for label in labels})
    rows = []
    for dataset, labels in spaces.items():
        rows.append((dataset, SOFTMAX, 1 / n, (n - 1) / n, 0.0))
        rows.append((dataset, BINARY, 1 / n, (len(labels) - 1) / n, (n - len(labels)) / n))
        taken = relatedness.trained_with.get(dataset) if relatedness else None
        if relatedness is None or taken is None or len(relatedness.outputs) != n:
            continue
        own = shares[shares["dataset"] == dataset].set_index("label")["share"]
        weight = own.fillna(1 / len(labels))
        extra = negative = 0.0
        for label in labels:
            related = {relatedness.outputs[k] for k in np.flatnonzero(taken[relatedness.outputs.index(label)])}
            extra += weight[label] * len(related)
            negative += weight[label] * (len(labels) - 1 - len(related & set(labels)))
        positive = (1 + extra) / n
        rows.append((dataset, RELATIONAL, positive, negative / n, 1 - positive - negative / n))
    return pd.DataFrame(rows, columns=TERM_COLUMNS)
