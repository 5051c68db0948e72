"""workbench remedy"""

from __future__ import annotations

from pathlib import Path

import click

from workbench.cli.long_work import progress, progress_file_option, stop_on_interrupt
from workbench.cli.output import json_option, print_json
from workbench.core import ConfigError, Run
from workbench.demos import find_recipe
from workbench.demos import train as train_recipe
from workbench.lenses import look
from workbench.lenses.compare import metrics
from workbench.lenses.conflict.remedy import remedies


@click.command("remedy")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/remedy"), show_default=True)
@click.option("--rule", default="", help="Gradient rule; by default the first that the conflict lens proposes.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads for torch.")
@click.option("--overwrite", is_flag=True, help="Replace a run that is already there.")
@click.option("--short", is_flag=True, help="Take a tenth of the steps: a check that it trains, not a result.")
@progress_file_option
@json_option
def command(
    run: Path,
    out: Path,
    rule: str,
    threads: int,
    overwrite: bool,
    short: bool,
    progress_file: Path | None,
    as_json: bool,
) -> None:
    """Train the demo of RUN again with a remedy for its conflict, and show both side by side.

    \b
    workbench remedy sample_runs/digit-pairs/joint
    workbench remedy sample_runs/digit-pairs/joint --rule UPGrad --out runs/remedy
    """
    before = Run(run)
    recipe_name, _, variant = before.info.name.partition("/")
    if before.info.recipe is None or before.info.recipe != recipe_name or not variant:
        raise ConfigError(f"{run} is not a plain demo run: only those can be trained again from here.")
    proposed = remedies(look(before, "conflict").stats)
    said = [{"rule": remedy.rule, "reason": remedy.reason} for remedy in proposed]
    if not rule and not proposed:
        if as_json:
            print_json({"proposed": said, "runs": []})
        else:
            click.echo(
                "The conflict lens calls no conflict in this run: there is nothing to mend. Choose a --rule to try one."
            )
        return
    if not as_json:
        for remedy in proposed:
            click.echo(f"{remedy.rule}: {remedy.reason}")
    chosen = rule or proposed[0].rule
    import torch

    torch.set_num_threads(threads)
    folder = out / chosen.lower()
    with stop_on_interrupt() as stopped, progress(f"{recipe_name} with {chosen}", progress_file) as report:
        paths = train_recipe(
            find_recipe(recipe_name),
            folder,
            before.info.seed or 0,
            progress=report,
            stop=lambda: bool(stopped),
            only=[variant],
            overwrite=overwrite,
            short=short,
            gradients=chosen,
        )
    if stopped or not paths:
        raise click.exceptions.Exit(130)
    compared = metrics(before, Run(paths[0]))
    if as_json:
        print_json({"proposed": said, "rule": chosen, "runs": paths, "metrics": compared})
        return
    click.echo(compared.to_string(index=False))
