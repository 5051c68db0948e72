"""workbench sweep"""

from __future__ import annotations

from pathlib import Path

import click

from workbench.cli.output import json_option, print_json, print_table
from workbench.core import RunFormatError
from workbench.lenses.domains.sweep import sweep_table
from workbench.runs import open_runs


@click.command("sweep")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
def command(folder: Path, as_json: bool) -> None:
    """Sum up the DomainBed sweep in FOLDER: accuracy per held-out environment under three model-selection rules.

    Percent, mean ± standard error over trials, as in DomainBed's own tables.
    """
    frame = sweep_table(dict(open_runs(folder).items()))
    if frame.empty:
        raise RunFormatError(f"There is no DomainBed run in {folder}: no results.jsonl with records was found.")
    if as_json:
        print_json(frame)
    else:
        print_table(frame.astype(str))
