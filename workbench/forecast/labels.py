"""What two datasets' label lists say before any picture is seen: which labels meet, and which will contradict.

Names are the only evidence here. A label that one dataset lists and another does not, while the other has a class for
"everything else", will be taught both ways by one network: what the first calls by its name, the second calls
background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

import pandas as pd

from workbench.lenses.labels.names import is_background, similarity

#: Names at least so alike are taken for the same label; between this and MAYBE a person should look.
SAME, MAYBE = 0.9, 0.7
COLUMNS = ("dataset_a", "label_a", "dataset_b", "label_b", "kind", "similarity")


def relations(labels: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """One row a finding: kind is "same" (merge), "alike" (look), or "contradicts" (label_b is a background class)."""
    rows = []
    place = {name: i for i, name in enumerate(labels)}
    for first, second in permutations(labels, 2):
        others = [name for name in labels[second] if not is_background(name)]
        background = next((name for name in labels[second] if is_background(name)), None)
        for name in labels[first]:
            if is_background(name):
                continue
            best = max(others, key=lambda other: similarity(name, other), default=None)
            score = similarity(name, best) if best is not None else 0.0
            kind = "same" if score >= SAME else "alike" if score >= MAYBE else ""
            if kind and best is not None and place[first] < place[second]:
                rows.append((first, name, second, best, kind, score))
            if score < SAME and background is not None:
                rows.append((first, name, second, background, "contradicts", score))
    return pd.DataFrame(rows, columns=list(COLUMNS))
