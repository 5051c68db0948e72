"""Which column of somebody's table plays which role: guessed from the names, or said in a small TOML file.

table = "predictions"            # or "scalars", "label_counts"

[columns]
target = "gold"
prediction = "model_output"
attributes = ["gender", "age"]
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from workbench.core import RunFormatError
from workbench.runs.table_files import is_nameless

Kind = Literal["scalars", "predictions", "label_counts"]

#: Role -> names under which people store it, in lower case, most telling first.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "step": ("step", "_step", "global_step", "iteration", "iter", "epoch"),
    "sample": ("sample", "sample_id", "id", "image_id", "image", "filename", "file", "path", "index"),
    "target": (
        "target",
        "y_true",
        "label_true",
        "true_label",
        "truth",
        "gold",
        "ground_truth",
        "target_label",
        "label",
        "y",
    ),
    "prediction": (
        "prediction",
        "y_pred",
        "pred",
        "predicted",
        "predicted_label",
        "pred_label",
        "yhat",
        "y_hat",
        "output",
    ),
    "confidence": ("confidence", "probability", "prob", "score", "p"),
    "loss": ("loss", "nll", "cross_entropy"),
    "task": ("task", "head"),
    "domain": ("domain", "environment", "env"),
    "dataset": ("dataset", "data_source"),
    "split": ("split", "subset", "fold"),
    "tag": ("tag", "metric", "name"),
    "value": ("value",),
    "wall_time": ("wall_time", "timestamp", "_timestamp", "time"),
    "label": ("label", "class", "category", "label_name", "class_name"),
    "weight": ("weight", "pixels", "count", "area"),
    "source": ("source", "annotator", "labelled_by"),
    "region": ("region", "box", "segment"),
}
#: Roles of every kind of table: those it needs, those it may have.
ROLES: Mapping[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "predictions": (
        ("target", "prediction"),
        ("sample", "step", "task", "confidence", "loss", "domain", "dataset", "split"),
    ),
    "label_counts": (("dataset", "sample", "label"), ("region", "weight", "source")),
    "scalars": ((), ("step", "tag", "value", "wall_time")),
}

#: What the columns without a role are, by the kind of table; the name of their list in a mapping file.
_REST: Mapping[Kind, str] = {"predictions": "attributes", "scalars": "tags"}


@dataclass(frozen=True)
class Mapped:
    """A table's kind and the column of every role; ``rest`` are columns without a role (attributes, or tags)."""

    kind: Kind
    columns: Mapping[str, str]
    rest: tuple[str, ...] = field(default=())

    @property
    def rest_name(self) -> str:
        """What columns without a role are in a table of this kind."""
        return _REST.get(self.kind, "unused")

    def __str__(self) -> str:
        roles = ", ".join(f"{role} = '{column}'" for role, column in self.columns.items())
        return f"Read as {self.kind}: {roles or 'no named roles'}; {self.rest_name}: {', '.join(self.rest) or 'none'}."

    def toml(self) -> str:
        """The mapping as a file that :func:`read_mapping` reads back."""
        # A JSON string is a TOML string as long as no character is escaped as half a surrogate pair.
        lines = [f'table = "{self.kind}"', "", "[columns]"]
        lines += [f"{role} = {json.dumps(column, ensure_ascii=False)}" for role, column in self.columns.items()]
        if self.kind in _REST:
            lines.append(f"{self.rest_name} = {json.dumps(list(self.rest), ensure_ascii=False)}")
        return "\n".join(lines) + "\n"


def guess(names: Sequence[str], numeric: Sequence[str]) -> Mapped | None:
    """The most plausible reading of a table with these columns; None when no kind fits.

    Args:
        names: All columns.
        numeric: Those that hold numbers: without a better reading they are scalar tags over a step column.
    """
    names = [name for name in names if not is_nameless(name)]
    for kind in ("predictions", "label_counts"):
        columns = _assign(names, kind)
        if columns is not None:
            return Mapped(kind, columns, tuple(name for name in names if name not in columns.values()))
    columns = _assign(names, "scalars") or {}
    if {"step", "tag", "value"} <= set(columns):
        return Mapped("scalars", columns)
    rest = tuple(name for name in numeric if name in names and name not in columns.values())
    if "step" in columns and rest:
        return Mapped("scalars", {role: columns[role] for role in ("step", "wall_time") if role in columns}, rest)
    return None


def _assign(names: Sequence[str], kind: Kind) -> dict[str, str] | None:
    by_lower = {name.strip().lower(): name for name in names}
    needed, optional = ROLES[kind]
    found: dict[str, str] = {}
    for role in (*needed, *optional):
        for candidate in _NAMES[role]:
            if candidate in by_lower and by_lower[candidate] not in found.values():
                found[role] = by_lower[candidate]
                break
    return found if all(role in found for role in needed) else None


def read_mapping(file: Path, names: Sequence[str]) -> Mapped:
    """The mapping a person wrote, checked against the table's columns.

    Raises:
        RunFormatError: not TOML, an unknown kind or role, a needed role that is missing, or a column that is not there.
    """
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunFormatError(f"{file} is not valid TOML ({error}).") from None
    kind, columns = cast(Kind, data.get("table")), data.get("columns", {})
    if kind not in get_args(Kind) or not isinstance(columns, dict):
        raise RunFormatError(f'{file} needs table = "..." with one of {", ".join(ROLES)}, and a section [columns].')
    listed = columns.pop(_REST.get(kind, "attributes"), None)
    if listed is not None and not isinstance(listed, list):
        raise RunFormatError(f"{file}: '{_REST.get(kind, 'attributes')}' must be a list of columns.")
    return checked(kind, columns, listed, names, str(file))


def checked(
    kind: Kind, columns: Mapping[str, str], rest: Sequence[str] | None, names: Sequence[str], about: str
) -> Mapped:
    """A mapping, if it fits a table with these columns; without ``rest`` every column without a role is taken.

    Raises:
        RunFormatError: an unknown role, a needed role that is missing, or a column that is not there.
    """
    needed, optional = ROLES[kind]
    unknown = sorted(set(columns) - {*needed, *optional})
    if unknown:
        known = ", ".join((*needed, *optional))
        raise RunFormatError(f"{about}: '{unknown[0]}' is no role of {kind}. Roles: {known}.")
    missing = [role for role in needed if role not in columns]
    if missing:
        raise RunFormatError(f"{about}: the role '{missing[0]}' has no column.")
    absent = [column for column in (*columns.values(), *(rest or ())) if column not in names]
    if absent:
        raise RunFormatError(f"{about}: the table has no column '{absent[0]}'. It has: {', '.join(names)}.")
    if kind == "scalars" and ("tag" in columns) != ("value" in columns):
        raise RunFormatError(f"{about}: a table with one point a row needs both roles 'tag' and 'value'.")
    others = tuple(rest) if rest is not None else tuple(name for name in names if name not in columns.values())
    return Mapped(kind, dict(columns), others)
