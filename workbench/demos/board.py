"""The claims board: every claim of the recipes, what its paper reports, and what was measured here.

A board is a folder of JSON files, one a recipe, and their table in ``README.md``. The one that comes with the package
is :data:`BOARD`; ``workbench claims`` writes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

from workbench.core import ConfigError, WorkbenchError
from workbench.core.files import write_content_atomically
from workbench.demos.claim import Answer, judge
from workbench.demos.recipe import Recipe

#: The committed board.
BOARD = Path(__file__).parent / "claims_board"


@dataclass(frozen=True)
class Row:
    """One claim with its finding, as plain values, so that an old board can be read when a recipe has changed.

    Attributes:
        recipe, claim, sentence, reported, result, unit, margin: As the recipe states them.
        method: File of ``workbench.methods``.
        variants: The runs that it compares, the method's first.
        seeds: The seeds that were trained; fewer than the recipe's where a board is not whole.
        differences: One number a seed, in ``unit``; above the margin means better.
        mean, low, high: Mean difference and its 95 % Student-t interval; NaN with fewer than two seeds.
        seconds: Median time that one training took, in seconds.
        short: Trained with a tenth of the steps: shows that it trains, says nothing about the claim.
    """

    recipe: str
    claim: str
    sentence: str
    reported: str
    method: str
    result: str
    unit: str
    margin: float
    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    mean: float
    low: float
    high: float
    answer: Answer
    seconds: float
    short: bool = False

    @property
    def paired_runs(self) -> list[str]:
        """Where the runs behind the row lie below the folder they were trained in."""
        return [f"{self.recipe}/seed-{seed}/{variant}" for seed in self.seeds for variant in self.variants]

    @property
    def measured(self) -> str:
        """The finding in words, e.g. ``+10.8 (7.4 to 14.1) percentage points, 5 seeds``."""
        n = len(self.seeds)
        if not n:
            return "not trained yet"
        interval = "" if math.isnan(self.low) else f" ({self.low:.3g} to {self.high:.3g})"
        floor = f", margin {self.margin:g}" if self.margin else ""
        mean = round(self.mean, 9) + 0.0  # what differs from 0 by rounding alone is 0
        return f"{mean:+.3g}{interval} {self.unit}{floor}, {n} seed{'s' if n > 1 else ''}"


def rows_of(
    recipe: Recipe,
    trained: Mapping[int, Mapping[str, Mapping[str, float]]],
    seconds: Sequence[float] = (),
    *,
    short: bool = False,
) -> list[Row]:
    """The board's rows of one recipe.

    Args:
        trained: Seed -> variant -> results. A seed that lacks a variant of a claim does not count for it.
        seconds: How long each training took.
        short: The trainings were short, so that nothing can be told from them.
    """
    rows = []
    for claim in recipe.claims:
        seeds = tuple(seed for seed, results in sorted(trained.items()) if set(claim.variants) <= set(results))
        differences = tuple(claim.difference(trained[seed]) for seed in seeds)
        finding = judge(differences, claim.margin)
        rows.append(
            Row(
                recipe=recipe.name,
                claim=claim.name,
                sentence=claim.sentence,
                reported=claim.reported,
                method=recipe.method,
                result=claim.result,
                unit=claim.unit,
                margin=claim.margin,
                variants=claim.variants,
                seeds=seeds,
                differences=differences,
                mean=finding.mean,
                low=finding.low,
                high=finding.high,
                answer="cannot tell" if short else finding.answer,
                seconds=float(median(seconds)) if seconds else math.nan,
                short=short,
            )
        )
    return rows


def write_board(folder: Path, rows: Sequence[Row]) -> None:
    """Put the rows into a board, each recipe's in place of its earlier ones, and write its table anew."""
    folder.mkdir(parents=True, exist_ok=True)
    for recipe in dict.fromkeys(row.recipe for row in rows):
        entries = [_finite(asdict(row)) for row in rows if row.recipe == recipe]
        write_content_atomically(folder / f"{recipe}.json", json.dumps(entries, indent=2) + "\n")
    write_content_atomically(folder / "README.md", table(read_board(folder)))


def read_board(folder: Path = BOARD) -> list[Row]:
    """The rows of a board, by recipe.

    Raises:
        WorkbenchError: a file of the board is damaged; it is named, with the command that writes it anew.
    """
    rows = []
    for file in sorted(folder.glob("*.json")):
        try:
            rows += [_row(entry) for entry in json.loads(file.read_text(encoding="utf-8"))]
        except (ValueError, TypeError, KeyError) as error:
            remedy = f"Write it anew with: workbench claims {file.stem} --board {folder}"
            raise WorkbenchError(f"{file} is not a claims board ({error}). {remedy}") from None
    return rows


def find_rows(board: Sequence[Row], recipe: str) -> list[Row]:
    """The rows of one recipe. Raises ConfigError where the board has none."""
    if found := [row for row in board if row.recipe == recipe]:
        return found
    known = ", ".join(dict.fromkeys(row.recipe for row in board)) or "none"
    raise ConfigError(f"The board has no row of '{recipe}'. It has: {known}.")


def table(rows: Sequence[Row]) -> str:
    """The board in Markdown."""
    lines = [
        "# Claims board",
        "",
        "What published methods claim, and what small trainings on a laptop say about it. A claim holds when the 95 %",
        "Student-t interval of the difference over paired seeds lies above its margin, and does not hold at this scale",
        "when the interval lies at or below it. The intervals are not corrected for the number of claims. No seed here",
        "was used to choose a setting. Written by `workbench claims`.",
        "",
        "| recipe | claim | the paper reports | measured here | verdict | time of a training |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        verdict = f"{row.answer} (short trainings)" if row.short else row.answer
        time = "" if math.isnan(row.seconds) else f"{row.seconds:.0f} s"
        cells = (row.recipe, row.sentence, row.reported, row.measured, verdict, time)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _finite(entry: object) -> object:
    """JSON has no NaN."""
    if isinstance(entry, dict):
        return {name: _finite(value) for name, value in entry.items()}
    if isinstance(entry, tuple):
        return [_finite(value) for value in entry]
    return None if isinstance(entry, float) and not math.isfinite(entry) else entry


def _row(entry: Mapping[str, Any]) -> Row:
    known = {field.name for field in fields(Row)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in entry.items() if name in known
    }
    values["differences"] = tuple(math.nan if value is None else value for value in values["differences"])
    for name in ("mean", "low", "high", "seconds"):
        values[name] = math.nan if values[name] is None else values[name]
    return Row(**values)
