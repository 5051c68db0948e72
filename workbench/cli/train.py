"""workbench train"""

from __future__ import annotations

from pathlib import Path

import click

from workbench.cli.long_work import progress, progress_file_option, stop_on_interrupt
from workbench.cli.output import json_option, print_json
from workbench.demos import RECIPES, Recipe, find_recipe
from workbench.demos import train as train_recipe


@click.command("train")
@click.argument("recipe", required=False, metavar="[RECIPE]")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the runs, one sub-folder each.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same run.")
@click.option("--only", multiple=True, metavar="VARIANT", help="Train only this variant; may be repeated.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads for torch.")
@click.option("--overwrite", is_flag=True, help="Replace runs that are already there.")
@click.option("--lean", is_flag=True, help="Record scalars and results only, as for the claims board.")
@click.option("--short", is_flag=True, help="Take a tenth of the steps: a check that it trains, not a result.")
@click.option("--gradients", default="", metavar="RULE", help="Combine the losses by an aggregator or a method's rule.")
@progress_file_option
@json_option
def command(
    recipe: str | None,
    out: Path | None,
    seed: int,
    only: tuple[str, ...],
    threads: int,
    overwrite: bool,
    lean: bool,
    short: bool,
    gradients: str,
    progress_file: Path | None,
    as_json: bool,
) -> None:
    """Train the demo RECIPE and record its runs. Without RECIPE: list the recipes.

    \b
    workbench train digit-pairs --out runs/pairs --seed 1
    workbench train digit-pairs --out runs/pairs --only joint
    workbench train digit-pairs --out runs/pairs-upgrad --only joint --gradients UPGrad

    Ctrl+C stops after the step in hand; what was recorded so far is kept and the run says so.
    """
    if recipe is None:
        if as_json:
            print_json([_described(item) for item in RECIPES])
        else:
            for item in RECIPES:
                _describe(item)
        return
    chosen = find_recipe(recipe)
    folder = out or Path("runs") / chosen.name
    import torch

    torch.set_num_threads(threads)
    with stop_on_interrupt() as stopped, progress(chosen.name, progress_file) as report:
        paths = train_recipe(
            chosen,
            folder,
            seed,
            report,
            stop=lambda: bool(stopped),
            only=only,
            overwrite=overwrite,
            lean=lean,
            short=short,
            gradients=gradients,
        )
    if as_json:
        print_json({"recipe": chosen.name, "seed": seed, "runs": paths, "stopped": bool(stopped)})
    else:
        for path in paths:
            click.echo(path)
    if stopped:
        click.echo("Stopped. The runs above hold what was recorded until then.", err=True)
        raise click.exceptions.Exit(130)
    click.echo(f"See them with: workbench app {folder}", err=True)


def _describe(recipe: Recipe) -> None:
    click.echo(f"{recipe.name}: {recipe.question}")
    for variant in recipe.variants:
        click.echo(f"    {variant.name}: {variant.about}")


def _described(recipe: Recipe) -> dict[str, object]:
    variants = {variant.name: variant.about for variant in recipe.variants}
    return {"recipe": recipe.name, "question": recipe.question, "variants": variants}
