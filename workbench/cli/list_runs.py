"""workbench list"""

from __future__ import annotations

from pathlib import Path

import click

from workbench.cli.output import json_option, print_json, print_table
from workbench.runs import open_runs, sample_runs


@click.command("list")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@json_option
def command(folder: Path | None, as_json: bool) -> None:
    """List the runs in FOLDER (the sample runs when left out), e.g. workbench list runs/"""
    runs = open_runs(folder or sample_runs())
    frame = runs.frame()
    problems = [str(problem) for problem in runs.problems]
    if as_json:
        print_json({"runs": frame, "problems": problems})
        return
    if len(frame):
        shown = frame[["run", "status", "seed", "question"]]
        print_table(shown.assign(seed=["" if run.info.seed is None else str(run.info.seed) for _, run in runs.items()]))
    else:
        click.echo(f"No runs in {runs.folder}. Record one (see the README), or give another folder.")
    for problem in problems:
        click.echo(f"Skipped: {problem}", err=True)
