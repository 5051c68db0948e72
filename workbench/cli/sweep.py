"""workbench sweep"""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from workbench.core import RunFormatError
from workbench.lenses.domains.sweep import sweep_table
from workbench.runs import open_runs


@click.command("sweep")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print machine-readable JSON.")
def command(folder: Path, as_json: bool) -> None:
    """Sum up the DomainBed sweep in FOLDER: accuracy per held-out environment under three model-selection rules.

    Percent, mean ± standard error over trials, as in DomainBed's own tables.
    """
    frame = sweep_table(dict(open_runs(folder).items()))
    if frame.empty:
        raise RunFormatError(f"There is no DomainBed run in {folder}: no results.jsonl with records was found.")
    if as_json:
        click.echo(frame.to_json(orient="records", indent=2, force_ascii=False))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in frame.columns:
        table.add_column(str(column), overflow="fold")
    for row in frame.astype(str).itertuples(index=False):
        table.add_row(*row)
    Console().print(table)
