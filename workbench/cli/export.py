"""workbench export"""

from __future__ import annotations

import json
from pathlib import Path

import click

from workbench.reports import card, card_markdown
from workbench.runs import open_run
from workbench.runs.export import FORMATS, export


@click.command("export")
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.option("--to", "kind", type=click.Choice([*FORMATS, "card"]), required=True, help="What to write.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to. A card is printed when left out.")
@click.option("--table", "tables", multiple=True, help="Only this table; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="The card as JSON instead of Markdown.")
def command(run: Path, kind: str, out: Path | None, tables: tuple[str, ...], as_json: bool) -> None:
    """Take RUN elsewhere: its tables, its scalars for TensorBoard, or a card that sums it up.

    \b
    workbench export runs/mine --to parquet --out exported
    workbench export runs/mine --to tensorboard --out exported
    workbench export runs/mine --to card > card.md
    """
    opened = open_run(run)
    if kind == "card":
        text = json.dumps(card(opened), indent=2) + "\n" if as_json else card_markdown(opened)
        if out is None:
            click.echo(text, nl=False)
            return
        out.mkdir(parents=True, exist_ok=True)
        file = out / ("card.json" if as_json else "card.md")
        file.write_text(text, encoding="utf-8")
        click.echo(file)
        return
    if out is None:
        raise click.UsageError("--out is needed: the folder to write to.")
    for file in export(opened, out, kind, tables):
        click.echo(file)
