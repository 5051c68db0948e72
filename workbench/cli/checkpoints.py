"""workbench checkpoints"""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd

from workbench.cli.output import json_option, print_json, print_table
from workbench.core import RunFormatError
from workbench.runs.checkpoints import changes, find_checkpoints, open_checkpoint


@click.command("checkpoints")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.argument("other", type=click.Path(exists=True, path_type=Path), required=False)
@json_option
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
        print_json(frame)
    else:
        print_table(frame)
