"""workbench bench"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from workbench.cli.long_work import progress, stop_on_interrupt
from workbench.cli.output import json_option, print_json
from workbench.core.files import write_content_atomically

#: What a benchmark measured, and the same as a Markdown table.
Measured = tuple[Any, str]


def _gsnr(rounds: int) -> Measured:
    from workbench.diagnostics.benchmark import gsnr

    found = gsnr.run(rounds=rounds)
    return found, gsnr.markdown(found)


def _gramian(rounds: int) -> Measured:
    from workbench.diagnostics.benchmark import gramian_cases, gsnr

    found = gramian_cases.run(rounds=rounds)
    return found, gsnr.markdown(found, error_of="Gramian")


def _recording(rounds: int) -> Measured:
    from workbench.demos.benchmark import DigitPairs
    from workbench.diagnostics.benchmark import recording

    found = recording.run((DigitPairs(),), steps=600, rounds=rounds) | recording.run(rounds=rounds)
    return found, recording.markdown(found)


def _readers(rounds: int) -> Measured:
    from workbench.runs import benchmark, memory_benchmark

    times, memory = benchmark.run(rounds=rounds), memory_benchmark.measure()
    return {"time": times, "memory": memory}, f"{benchmark.markdown(times)}\n{memory_benchmark.markdown(memory)}"


def _groups(rounds: int) -> Measured:
    from workbench.lenses.bias import benchmark

    found = benchmark.run(rounds=rounds)
    return found, benchmark.markdown(found)


def _many_groups(rounds: int) -> Measured:
    from workbench.lenses.bias import large_benchmark

    found = large_benchmark.run(rounds=rounds)
    return found, large_benchmark.markdown(found)


def _pages(sizes: tuple[str, ...], rounds: int) -> Measured:
    from workbench.lenses.conflict import benchmark

    given = [benchmark.Size(*(int(number) for number in size.split("x"))) for size in sizes] or benchmark.SIZES
    found = benchmark.run(given, rounds=rounds)
    return found, benchmark.markdown(found)


def _forecast(folder: Path | None, quick: bool, rounds: int) -> Measured:
    from workbench.cli import bench_forecast
    from workbench.core.files import cache_folder

    with stop_on_interrupt() as stopped, progress("forecast") as report:
        found = bench_forecast.run(
            folder or cache_folder() / "forecast-benchmark", quick=quick, progress=report, stop=lambda: bool(stopped)
        )
    if stopped:
        click.echo("Stopped. What is done is kept; run the command again to go on.", err=True)
        raise click.exceptions.Exit(130)
    return {name: frame.to_dict("records") for name, frame in found.items()}, bench_forecast.markdown(found)


#: What can be measured: name -> title of its table, and the function that measures.
BENCHMARKS: dict[str, tuple[str, Callable[[int], Measured]]] = {
    "gsnr": ("GSNR of every parameter", _gsnr),
    "gramian": ("Gramians of task gradients", _gramian),
    "recording": ("What recording costs a training", _recording),
    "readers": ("Scalar logs", _readers),
    "groups": ("Accuracy of all groups", _groups),
}


#: Measured only when named: forecasts take half an hour, the others hold much in memory or on the disk.
FORECAST, MANY_GROUPS, PAGES = "forecast", "groups-10m", "pages"


def _size(context: click.Context, option: click.Parameter, sizes: tuple[str, ...]) -> tuple[str, ...]:
    for size in sizes:
        if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){2,3}", size):
            raise click.BadParameter(f"'{size}' is not like 40x200x1000 (tasks x modules x steps, or x mini-batches).")
    return sizes


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """A Markdown text with a section a table, by title: one of that title is replaced, others stay, new ones follow."""
    head, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    known = {section.partition("\n")[0].removeprefix("## ").strip(): section for section in sections}
    known |= {title: f"## {title}\n\n{table}" for title, table in tables.items()}
    parts = [head, *known.values()] if head.strip() else list(known.values())
    return "\n".join(f"{part.rstrip()}\n" for part in parts)


@click.command("bench")
@click.argument("names", nargs=-1, type=click.Choice([*BENCHMARKS, MANY_GROUPS, PAGES, FORECAST]))
@click.option("--rounds", type=click.IntRange(2), default=7, show_default=True, help="Repeats; the median is shown.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Put the tables into this file; others in it stay."
)
@click.option("--quick", is_flag=True, help="forecast: five problems and few steps, to see that it runs.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="forecast: where results are kept.")
@click.option("--size", "sizes", multiple=True, callback=_size, help="pages: tasks x modules x steps, e.g. 8x200x1000.")
@json_option
def command(
    names: tuple[str, ...],
    rounds: int,
    out: Path | None,
    quick: bool,
    folder: Path | None,
    sizes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure what the diagnostics and readers cost on this machine, beside other tools where they are installed.

    \b
    workbench bench gsnr --rounds 3
    workbench bench --out benchmark.md        everything but groups-10m, pages and forecast
    workbench bench groups-10m                do ten million predictions stay interactive?
    workbench bench pages --size 40x200x100   how fast is the conflict page on a large record?
    workbench bench forecast                  are forecasts of conflict true?

    Figures are ratios measured in turn within one run; every table says to what. They take minutes. "groups-10m" and
    "pages" measure seconds. "forecast" forecasts a hundred problems, trains them all, and compares: half an hour or
    more. Ctrl+C stops it; it goes on where it was when it is started again.
    """
    on_request: dict[str, tuple[str, Callable[[int], Measured]]] = {
        MANY_GROUPS: ("Accuracy of all groups of ten million predictions", _many_groups),
        PAGES: ("The conflict page on a large record", partial(_pages, sizes)),
        FORECAST: ("Forecasts of the cost of sharing", partial(_forecast, folder, quick)),
    }
    tables, figures = {}, {}
    for name in names or BENCHMARKS:
        click.echo(f"Measuring {name}…", err=True)
        title, measure = (BENCHMARKS | on_request)[name]
        figures[name], tables[title] = measure(rounds)
    text = with_tables("", tables)
    if out is not None:
        earlier = out.read_text(encoding="utf-8") if out.exists() else ""
        write_content_atomically(out, with_tables(earlier, tables))
    if as_json:
        print_json(figures)
    else:
        click.echo(text if out is None else out, nl=out is not None)
