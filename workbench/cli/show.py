"""workbench show"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import click

from workbench.cli.output import json_option, print_json
from workbench.core import Run
from workbench.lenses import LENSES, Verdict, lens, read, verdicts
from workbench.runs import open_run


@click.command("show")
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.option("--lens", "slug", type=click.Choice([item.slug for item in LENSES]), help="All verdicts of one lens.")
@json_option
def command(run: Path, slug: str | None, as_json: bool) -> None:
    """Say in words what the lenses see in RUN, worst first, e.g. workbench show runs/mine --lens conflict"""
    opened = open_run(run)
    if slug:
        found = [(slug, verdict) for verdict in read(opened, lens(slug)).verdicts]
    else:
        found = list(verdicts(opened).items())
    if as_json:
        print_json(_as_json(opened, found))
        return
    click.echo(f"{opened.name}: {opened.info.question}" if opened.info.question else opened.name)
    click.echo(_facts(opened))
    for name, verdict in found:
        click.echo(f"\n{lens(name).title}\n  {verdict}")
    for problem in opened.problems:
        click.echo(f"Skipped: {problem}", err=True)


def _facts(run: Run) -> str:
    facts: Mapping[str, tuple[str, ...]] = {
        "tasks": run.task_names,
        "domains": run.domain_names,
        "datasets": run.dataset_names,
        "attributes": run.attribute_names,
        "tables": run.tables,
    }
    return "\n".join(f"  {name}: {', '.join(values)}" for name, values in facts.items() if values)


def _as_json(run: Run, found: list[tuple[str, Verdict]]) -> dict[str, object]:
    return {
        "run": run.name,
        "path": str(run.path),
        "tables": list(run.tables),
        "verdicts": [{"lens": name} | dataclasses.asdict(verdict) for name, verdict in found],
        "problems": [str(problem) for problem in run.problems],
    }
