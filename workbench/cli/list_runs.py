"""workbench list"""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from workbench.runs import open_runs, sample_runs


@click.command("list")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print machine-readable JSON.")
def command(folder: Path | None, as_json: bool) -> None:
    """List the runs in FOLDER (the sample runs when left out), e.g. workbench list runs/"""
    runs = open_runs(folder or sample_runs())
    frame = runs.frame()
    problems = [str(problem) for problem in runs.problems]
    if as_json:
        click.echo(json.dumps({"runs": frame.to_dict(orient="records"), "problems": problems}, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("run", "status", "seed", "question"):
        table.add_column(column, overflow="fold")
    for key, run in runs.items():
        table.add_row(key, run.info.status, "" if run.info.seed is None else str(run.info.seed), run.info.question)
    if len(frame):
        Console().print(table)
    else:
        click.echo(f"No runs in {runs.folder}. Record one (see the README), or give another folder.")
    for problem in problems:
        click.echo(f"Skipped: {problem}", err=True)
