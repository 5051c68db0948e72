"""workbench checkpoints"""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd

from workbench.cli.output import json_option, print_json, print_table
from workbench.core import RunFormatError
from workbench.runs import open_run
from workbench.runs.checkpoint_files import below
from workbench.runs.checkpoint_series import series
from workbench.runs.checkpoints import changes, open_checkpoint

#: Columns that are printed only where they say something.
_BRIEF = ("problem", "most_changed", "tensors", "step")


@click.command("checkpoints")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.argument("other", type=click.Path(exists=True, path_type=Path), required=False)
@click.option("--cka", is_flag=True, help="Compare what the nets of two recorded demo runs make of the same pictures.")
@json_option
def command(path: Path, other: Path | None, cka: bool, as_json: bool) -> None:
    """Look into the checkpoint PATH, or say what changed from PATH to OTHER. Nothing in them is executed.

    \b
    workbench checkpoints runs/mine                                   all of a folder, and how much it moved
    workbench checkpoints model.safetensors                           names, shapes, norms
    workbench checkpoints step-100.safetensors epoch=9.ckpt           what changed
    workbench checkpoints runs/joint runs/left-alone --cka            layer by layer, on the same pictures

    CKA needs the model: the nets of our recipes are rebuilt here; for your own, call workbench.checkpoint_cka.
    """
    if cka:
        frame = _cka(path, other)
    elif other is not None:
        frame = changes(open_checkpoint(path), open_checkpoint(other))
    elif path.is_dir():
        found = below(path)
        if not found:
            raise RunFormatError(f"There is no checkpoint in {path}: no .safetensors, .ckpt, .pt, .pth or .bin file.")
        frame, _ = series(found)
    else:
        frame = open_checkpoint(path).frame()
    if as_json:
        print_json(frame)
    else:
        print_table(frame.drop(columns=[name for name in _BRIEF if name in frame and not frame[name].any()]))


def _cka(path: Path, other: Path | None) -> pd.DataFrame:
    from workbench.checkpoint_similarity import recorded_cka

    if other is None:
        raise click.UsageError("--cka needs two run folders.")
    return recorded_cka(open_run(path), open_run(other))
