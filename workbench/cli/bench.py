"""workbench bench"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click


def _gsnr(rounds: int) -> str:
    from workbench.diagnostics.benchmark import gsnr

    return "## GSNR of every parameter\n\n" + gsnr.markdown(gsnr.run(rounds=rounds))


def _gramian(rounds: int) -> str:
    from workbench.diagnostics.benchmark import gramian_cases, gsnr

    figures = gramian_cases.run(rounds=rounds)
    return "## Gramians of task gradients\n\n" + gsnr.markdown(figures, error_of="Gramian")


def _recording(rounds: int) -> str:
    from workbench.diagnostics.benchmark import recording

    return "## What recording costs a training\n\n" + recording.markdown(recording.run(rounds=rounds))


def _readers(rounds: int) -> str:
    from workbench.runs import benchmark

    return "## Scalar logs\n\n" + benchmark.markdown(benchmark.run(rounds=rounds))


def _groups(rounds: int) -> str:
    from workbench.lenses.bias import benchmark

    return "## Accuracy of all groups\n\n" + benchmark.markdown(benchmark.run(rounds=rounds))


#: What can be measured, by name.
BENCHMARKS: dict[str, Callable[[int], str]] = {
    "gsnr": _gsnr,
    "gramian": _gramian,
    "recording": _recording,
    "readers": _readers,
    "groups": _groups,
}


@click.command("bench")
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option("--rounds", type=click.IntRange(2), default=7, show_default=True, help="Repeats; the median is shown.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables to this file.")
def command(names: tuple[str, ...], rounds: int, out: Path | None) -> None:
    """Measure what the diagnostics and readers cost on this machine, beside other tools where they are installed.

    \b
    workbench bench gsnr --rounds 3
    workbench bench --out benchmark.md        everything

    Figures are ratios measured in turn within one run; every table says to what. They take minutes.
    """
    tables = []
    for name in names or BENCHMARKS:
        click.echo(f"Measuring {name}…", err=True)
        tables.append(BENCHMARKS[name](rounds))
    text = "\n".join(tables)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
        click.echo(out)
