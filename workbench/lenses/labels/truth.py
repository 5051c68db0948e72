"""How many of the relations that were found are right, and how many of the known ones were found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.lenses.intervals import wilson

#: (dataset a, label a, dataset b, label b).
Pair = tuple[str, str, str, str]


@dataclass(frozen=True)
class AgainstTruth:
    """Found relations against known ones.

    Found are relations of any kind but *unrelated* that are not explained by the heads' own confusion; pending ones do
    not count. One is right when the two labels are related; its kind is right, too, when *same* is the same, *part of*
    and *contradicts* (a part whose name clashes) are inside each other the right way round, and *overlaps* is neither.

    Attributes:
        table: One row a pair that was found or is known: the labels, ``found`` and ``known`` (what each says, "" for
            not related), ``right`` (both or neither related) and ``kind_right``.
    """

    table: pd.DataFrame

    @property
    def n_found(self) -> int:
        return int((self.table["found"] != "").sum())

    @property
    def n_known(self) -> int:
        return int((self.table["known"] != "").sum())

    @property
    def n_right(self) -> int:
        return int(self.table["right"].sum())

    @property
    def n_kind_right(self) -> int:
        return int(self.table["kind_right"].sum())

    @property
    def precision(self) -> tuple[float, float, float]:
        """Share of the found relations that are right, with Wilson's 95 % interval; NaN when none was found."""
        return _share(self.n_right, self.n_found)

    @property
    def recall(self) -> tuple[float, float, float]:
        """Share of the known relations that were found, with Wilson's 95 % interval; NaN when none is known."""
        return _share(self.n_right, self.n_known)


def against_truth(relations: pd.DataFrame, known: Mapping[Pair, str]) -> AgainstTruth:
    """Compare a lens's relations (:func:`relations.relation_table`) with what is known.

    Args:
        known: Pair of labels -> "same", "a in b", "b in a" or "overlaps"; pairs that are not related are left out.
            Either order of the two datasets will do.
    """
    columns = ["dataset_a", "label_a", "dataset_b", "label_b"]
    held = relations[(relations["kind"] != "unrelated") & ~relations["pending"].astype(bool)]
    if "explained" in held:
        held = held[~held["explained"].astype(bool)]
    found: dict[Pair, str] = {}
    for row in held.itertuples():
        pair = (str(row.dataset_a), str(row.label_a), str(row.dataset_b), str(row.label_b))
        found[pair] = str(row.direction) if row.kind in ("part of", "contradicts") else str(row.kind)
    told = {_as_in(pair, found): _turned(kind) if _as_in(pair, found) != pair else kind for pair, kind in known.items()}
    rows = []
    for pair in dict.fromkeys([*told, *found]):
        says, is_ = found.get(pair, ""), told.get(pair, "")
        rows.append((*pair, says, is_, bool(says and is_), bool(says) and says == is_))
    return AgainstTruth(pd.DataFrame(rows, columns=[*columns, "found", "known", "right", "kind_right"]))


def _as_in(pair: Pair, found: Mapping[Pair, str]) -> Pair:
    """The pair in the order of the two datasets that the found ones have."""
    orders = {(a, b) for a, _, b, _ in found}
    turned = (pair[2], pair[3], pair[0], pair[1])
    return turned if (pair[2], pair[0]) in orders and (pair[0], pair[2]) not in orders else pair


def _turned(kind: str) -> str:
    return {"a in b": "b in a", "b in a": "a in b"}.get(kind, kind)


def _share(part: int, n: int) -> tuple[float, float, float]:
    low, high = wilson(np.array([float(part)]), np.array([float(n)]))
    return (part / n if n else float("nan")), float(low[0]), float(high[0])
