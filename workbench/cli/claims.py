"""workbench claims"""

from __future__ import annotations

import os
from pathlib import Path

import click

from workbench.cli.long_work import progress, progress_file_option, stop_on_interrupt
from workbench.cli.output import json_option, print_json
from workbench.core import ConfigError
from workbench.demos import RECIPES, Recipe, find_recipe
from workbench.demos.board import table, write_board
from workbench.demos.claims import Failure, findings, orders_of, results_of, train_all
from workbench.demos.costs import points_of, write_costs

#: Seeds that --quick takes.
QUICK_SEEDS = 1


@click.command("claims")
@click.argument("names", nargs=-1, metavar="[RECIPE]...")
@click.option("--seeds", type=click.IntRange(1), help="How many of the reported seeds; all of them by default.")
@click.option("--jobs", type=click.IntRange(1), default=lambda: os.cpu_count() or 1, help="Trainings at a time.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/claims"), show_default=True, help="Runs.")
@click.option("--board", type=click.Path(path_type=Path), help="Folder of the board.  [default: OUT/board]")
@click.option("--quick", is_flag=True, help="One seed and a tenth of the steps: does everything train?")
@click.option("--ray", "on_ray", is_flag=True, help="Train on a Ray cluster (pip install 'urlearn-workbench[ray]').")
@progress_file_option
@json_option
def command(
    names: tuple[str, ...],
    seeds: int | None,
    jobs: int,
    out: Path,
    board: Path | None,
    quick: bool,
    on_ray: bool,
    progress_file: Path | None,
    as_json: bool,
) -> None:
    """Check what the papers claim: train every method and baseline over paired seeds, and write the claims board.

    \b
    workbench claims --quick                                   a check of a few minutes
    workbench claims gsnr-dropout --seeds 5 --jobs 2
    workbench claims --board workbench/demos/claims_board      the committed board

    Runs that are done are kept, so a board that was stopped with Ctrl+C goes on where it ended. Quick runs and whole
    runs lie in folders of their own.
    """
    recipes = _chosen(names)
    runs = out / "quick" if quick else out
    if quick and seeds is None:
        seeds = QUICK_SEEDS
    orders = orders_of(recipes, runs, seeds, short=quick)
    with stop_on_interrupt() as stopped, progress("trainings", progress_file) as report:
        failures = train_all(
            orders,
            jobs,
            report,
            stop=lambda: bool(stopped),
            engine="ray" if on_ray else "processes",
        )
    rows = findings(recipes, orders)
    folder = board or runs / "board"
    write_board(folder, rows)
    for recipe in recipes:
        write_costs(folder, recipe, points_of(recipe, results_of(recipe, orders)))
    if as_json:
        print_json({"rows": rows, "failures": failures, "stopped": bool(stopped), "board": folder})
    else:
        click.echo(table(rows))
        click.echo(f"Written to {folder}", err=True)
    _end(failures, bool(stopped))


def _chosen(names: tuple[str, ...]) -> list[Recipe]:
    if not names:
        return [recipe for recipe in RECIPES if recipe.claims]
    recipes = [find_recipe(name) for name in names]
    for recipe in recipes:
        if not recipe.claims:
            with_claims = ", ".join(each.name for each in RECIPES if each.claims)
            raise ConfigError(f"Recipe '{recipe.name}' makes no claims. These do: {with_claims}.")
    return recipes


def _end(failures: list[Failure], stopped: bool) -> None:
    for failure in failures:
        click.echo(f"Failed: {failure.order.path}: {failure.reason}", err=True)
    if stopped:
        click.echo("Stopped. The same command goes on where it ended.", err=True)
        raise click.exceptions.Exit(130)
    if failures:
        raise click.exceptions.Exit(1)
