"""What every command prints: lines and tables for people, or with --json one JSON document for programs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import click
import numpy as np
import pandas as pd

#: Every command has it. What is not finite is null, as JSON wants it.
json_option = click.option("--json", "as_json", is_flag=True, help="Print machine-readable JSON.")


def print_json(data: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False))


def print_table(frame: pd.DataFrame) -> None:
    """A table for people, numbers with four digits."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in frame.columns:
        table.add_column(str(column), overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console().print(table)


def plain(data: Any) -> Any:
    """Dataclasses, tables, arrays and paths as what JSON knows; the parts of a compound key are joined by " / "."""
    if isinstance(data, pd.DataFrame):
        return plain(data.to_dict(orient="records"))
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return {field.name: plain(getattr(data, field.name)) for field in dataclasses.fields(data)}
    if isinstance(data, Mapping):
        return {_key(key): plain(value) for key, value in data.items()}
    if isinstance(data, np.ndarray):
        return plain(data.tolist())
    if isinstance(data, (list, tuple, set)):
        return [plain(item) for item in data]
    if isinstance(data, np.generic):
        return plain(data.item())
    if (isinstance(data, float) and not math.isfinite(data)) or data is pd.NA:
        return None
    return data if isinstance(data, (str, int, float, bool)) or data is None else str(data)


def _key(key: Any) -> str:
    return " / ".join(map(str, key)) if isinstance(key, tuple) else str(key)
