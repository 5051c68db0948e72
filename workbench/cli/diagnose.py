"""workbench diagnose"""

from __future__ import annotations

from pathlib import Path

import click

from workbench.cli.long_work import progress, progress_file_option, stop_on_interrupt
from workbench.cli.output import json_option, print_json, print_table
from workbench.forecast.plan import MAX_STEPS
from workbench.forecast.templates import TEMPLATES


@click.command("diagnose")
@click.argument("problem", required=False, type=click.Path(path_type=Path), metavar="[PROBLEM.py]")
@click.option("--template", type=click.Choice(list(TEMPLATES)), help="Write an example problem file instead.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run; with --template, the file to write.")
@click.option("--budget", type=float, default=120.0, show_default=True, metavar="SECONDS", help="Time of the probe.")
@click.option("--seeds", type=click.IntRange(2), default=4, show_default=True, help="Starts; intervals are over them.")
@click.option("--steps", type=click.IntRange(1), default=MAX_STEPS, show_default=True, help="Longest trajectory.")
@click.option("--interval", type=float, default=0.1, show_default=True, help="Half-width wished for a pooled cosine.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads for torch.")
@click.option("--estimate", "only_estimate", is_flag=True, help="Say what the probe would cost, and stop.")
@click.option("--overwrite", is_flag=True, help="Replace a run that is already there.")
@progress_file_option
@json_option
def command(
    problem: Path | None,
    template: str | None,
    out: Path | None,
    budget: float,
    seeds: int,
    steps: int,
    interval: float,
    threads: int,
    only_estimate: bool,
    overwrite: bool,
    progress_file: Path | None,
    as_json: bool,
) -> None:
    """Forecast, before any long training, which tasks of PROBLEM.py will fight, where, and what to do.

    \b
    workbench diagnose --template heads        write heads.py, an example to change
    workbench diagnose heads.py                probe it for two minutes; the run is in runs/forecast-heads
    workbench diagnose heads.py --estimate     only say what that would cost

    PROBLEM.py is your own code, and is executed. Its cost is estimated and said first. Ctrl+C ends the probe; what
    whole seeds found until then is kept.
    """
    if template is not None:
        from workbench.forecast.templates import write

        written = write(template, out or Path(f"{template}.py"))
        click.echo(written)
        click.echo(f"Change it to your training, then: workbench diagnose {written}", err=True)
        return
    if problem is None:
        raise click.UsageError("Name a problem file, or write one with --template heads.")
    import torch

    from workbench.forecast import estimate, forecast, load_problem

    torch.set_num_threads(threads)
    described = load_problem(problem)
    cost = estimate(described, budget=budget, seeds=seeds, max_steps=steps, interval=interval)
    click.echo(str(cost), err=True)
    if only_estimate:
        if as_json:
            print_json(cost)
        return
    folder = out or Path("runs") / f"forecast-{described.name}"
    with stop_on_interrupt() as stopped, progress(f"diagnose {described.name}", progress_file) as report:
        found = forecast(
            described, budget=budget, folder=folder, cost=cost, overwrite=overwrite, progress=report,
            stop=lambda: bool(stopped),
        )  # fmt: skip
    if as_json:
        print_json({"run": folder, "verdicts": found.verdicts(), "pairs": found.pairs, "groups": found.groups})
    else:
        for verdict in found.verdicts():
            click.echo(verdict)
        print_table(found.pairs[["task_a", "task_b", "cost", "low", "high", "call", "where"]])
        click.echo(folder)
    if stopped:
        click.echo("Stopped. The forecast rests on the seeds that were whole.", err=True)
        raise click.exceptions.Exit(130)
    click.echo(f"See it with: workbench app {folder.parent}, page Before training", err=True)
