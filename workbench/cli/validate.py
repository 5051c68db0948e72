"""workbench validate"""

from __future__ import annotations

from pathlib import Path

import click

from workbench.cli.output import json_option, print_json
from workbench.core import Run, RunFormatError, validate
from workbench.runs import open_runs


def _problems(run: Run) -> list[str]:
    """What is wrong with a run; for a log of another program also what could not be read from it."""
    try:
        run.sync()
    except RunFormatError as error:
        return [str(error)]
    return list(dict.fromkeys(str(problem) for problem in [*validate(run.path), *run.problems]))


@click.command("validate")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@json_option
def command(folder: Path, as_json: bool) -> None:
    """Check every file of the run or runs in FOLDER; exit code 1 when something is wrong."""
    runs = open_runs(folder)
    if not len(runs) and not runs.problems:
        raise RunFormatError(f"There is no run in {folder}: no run.json was found, up to four folders deep.")
    found = {key: _problems(run) for key, run in runs.items()}
    found |= {str(problem.path): [problem.reason] for problem in runs.problems}
    if as_json:
        print_json(found)
    else:
        for key, problems in found.items():
            click.echo(f"{key}: sound" if not problems else f"{key}: {len(problems)} problem(s)")
            for problem in problems:
                click.echo(f"  {problem}")
    if any(found.values()):
        raise click.exceptions.Exit(1)
