"""workbench import"""

from __future__ import annotations

from pathlib import Path

import click

from workbench.cli.output import json_option, print_json
from workbench.core import ConfigError, Run, RunFormatError
from workbench.runs import FORMATS, convert, format_of
from workbench.runs.tables import table_format


@click.command("import")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run folder to write.")
@click.option(
    "--map",
    "mapping",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file that says what the columns of a table mean.",
)
@click.option("--overwrite", is_flag=True, help="Replace a run that is already there.")
@json_option
def command(source: Path, out: Path, mapping: Path | None, overwrite: bool, as_json: bool) -> None:
    """Write a run folder from SOURCE, a log of another program.

    \b
    workbench import lightning_logs/version_0 --out runs/mine
    workbench import answers.csv --map columns.toml --out runs/answers

    The app and the notebook also open such logs directly; import them to keep, to share, or to add records.
    """
    found = format_of(source) if mapping is None else table_format(mapping)
    if found is None:
        known = ", ".join(candidate.name for candidate in FORMATS)
        raise RunFormatError(f"{source} is no log of a known format. Known: {known}.")
    if (out / "run.json").exists() and not overwrite:
        raise ConfigError(f"{out} already holds a run. Choose another folder, or pass --overwrite.")
    problems = convert(source, found, out)
    notes = [note for note in Run(out).info.notes if note not in map(str, problems)]
    if as_json:
        print_json({"run": out, "format": found.name, "notes": notes, "problems": problems})
        return
    for line in (f"{out}: read from {found.name}", *notes):
        click.echo(line)
    for problem in problems:
        click.echo(f"Skipped: {problem}", err=True)
