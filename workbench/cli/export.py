"""workbench export"""

from __future__ import annotations

import json
from pathlib import Path

import click

from workbench.cli.output import json_option, print_json
from workbench.core import Run
from workbench.core.files import write_content_atomically
from workbench.lenses import figure_files
from workbench.reports import card, card_markdown
from workbench.reports.figures import draw, draw_all
from workbench.runs import open_run
from workbench.runs.export import FORMATS, export


@click.command("export")
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.option("--to", "kind", type=click.Choice([*FORMATS, "card"]), help="Tables, scalars, or the run card.")
@click.option("--figure", "figures", multiple=True, metavar="LENS[/VIEW]", help="This figure; all of them with: all.")
@click.option(
    "--format", "picture", type=click.Choice(figure_files.KINDS), default="html", show_default=True, help="Of figures."
)
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="Of the figure, e.g. step=300.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to. A card is printed when left out.")
@click.option("--table", "tables", multiple=True, help="Only this table; may be repeated.")
@json_option
def command(
    run: Path,
    kind: str | None,
    figures: tuple[str, ...],
    picture: str,
    options: tuple[str, ...],
    out: Path | None,
    tables: tuple[str, ...],
    as_json: bool,
) -> None:
    """Take RUN elsewhere: its tables, its scalars for TensorBoard, its figures, or a card that sums it up.

    \b
    workbench export runs/mine --to parquet --out exported
    workbench export runs/mine --to tensorboard --out exported
    workbench export runs/mine --figure conflict --figure conflict/ladder --format svg --out exported
    workbench export runs/mine --to card > card.md

    A figure is named by its lens, or lens and view; losses and accuracies are called scalars.
    """
    if (kind is None) == (not figures):
        raise click.UsageError("Say what to write: --to KIND or --figure LENS.")
    opened = open_run(run)
    if kind == "card":
        _card(opened, out, as_json)
        return
    if out is None:
        raise click.UsageError("--out is needed: the folder to write to.")
    missing: dict[str, str] = {}
    if kind is not None:
        files = export(opened, out, kind, tables)
    else:
        files, missing = _figures(opened, figures, picture, _pairs(options), out)
    if as_json:
        print_json({"files": files, "missing": missing})
        return
    for file in files:
        click.echo(file)
    for name, reason in missing.items():
        click.echo(f"Skipped: {name}: {reason}", err=True)


def _card(run: Run, out: Path | None, as_json: bool) -> None:
    if out is None and as_json:
        print_json(card(run))
    elif out is None:
        click.echo(card_markdown(run), nl=False)
    else:
        out.mkdir(parents=True, exist_ok=True)
        file = out / ("card.json" if as_json else "card.md")
        text = json.dumps(card(run), indent=2) + "\n" if as_json else card_markdown(run)
        write_content_atomically(file, text)
        if as_json:
            print_json({"files": [file], "missing": {}})
        else:
            click.echo(file)


def _figures(
    run: Run, names: tuple[str, ...], kind: str, options: dict[str, str], out: Path
) -> tuple[list[Path], dict[str, str]]:
    """Write figures; the files, and why others could not be drawn when all were asked for."""
    drawn, missing = draw_all(run) if names == ("all",) else ({name: draw(run, name, options) for name in names}, {})
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for name, fig in drawn.items():
        file = out / f"{name.replace('/', '-')}.{kind}"
        write_content_atomically(file, figure_files.content(fig, kind))
        files.append(file)
    return files, missing


def _pairs(options: tuple[str, ...]) -> dict[str, str]:
    for option in options:
        if "=" not in option:
            raise click.UsageError(f"--option needs NAME=VALUE; got '{option}'.")
    return {name: value for name, _, value in (option.partition("=") for option in options)}
