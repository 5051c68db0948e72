"""workbench checkpoints"""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd
from rich.console import Console
from rich.table import Table

from workbench.core import RunFormatError
from workbench.runs.checkpoints import changes, find_checkpoints, open_checkpoint


@click.command("checkpoints")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.argument("other", type=click.Path(exists=True, path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print machine-readable JSON.")
def command(path: Path, other: Path | None, as_json: bool) -> None:
    """Look into the checkpoint PATH, or say what changed from PATH to OTHER. Nothing in them is executed.

    \b
    workbench checkpoints runs/mine                                   the checkpoints of a folder
    workbench checkpoints model.safetensors                           names, shapes, norms
    workbench checkpoints step-100.safetensors epoch=9.ckpt           what changed
    """
    if other is not None:
        frame = changes(open_checkpoint(path), open_checkpoint(other))
    elif path.is_dir():
        found = find_checkpoints(path)
        if not found:
            raise RunFormatError(f"There is no checkpoint in {path}: no .safetensors, .ckpt, .pt, .pth or .bin file.")
        rows = [(str(file.relative_to(path)), file.stat().st_size / 1e6) for file in found]
        frame = pd.DataFrame(rows, columns=["checkpoint", "megabytes"])
    else:
        frame = open_checkpoint(path).frame()
    if as_json:
        click.echo(frame.to_json(orient="records", indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in frame.columns:
        table.add_column(str(column), overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console().print(table)
