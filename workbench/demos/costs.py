"""What every way of training costs to run, and how well it does: points of a plane, one a variant, over paired seeds.

    Δ = 1/T Σ_i (s_i − s_i*) / s_i*      mean relative gain over the T tasks against a reference variant's scores s_i*

A recipe says what is laid against what (:class:`Plane`); ``workbench claims`` writes the points beside its board, into
``costs/<recipe>.json``. Δ is what the field calls Δ_MTL, in percent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from workbench.core import WorkbenchError
from workbench.core.files import write_content_atomically
from workbench.demos.board import BOARD
from workbench.demos.recipe import Plane, Recipe

FOLDER = "costs"


@dataclass(frozen=True)
class Point:
    """One variant: a number a seed of everything that its recipe's plane names.

    Attributes:
        costs: Result -> one number a seed.
        score: Mean score over the tasks, one number a seed.
        delta: Δ in percent, one number a seed.
    """

    variant: str
    seeds: tuple[int, ...]
    costs: Mapping[str, tuple[float, ...]]
    score: tuple[float, ...]
    delta: tuple[float, ...]


def points_of(recipe: Recipe, trained: Mapping[int, Mapping[str, Mapping[str, float]]]) -> list[Point]:
    """The points of a recipe's plane from the seeds for which the reference and all variants of it were trained.

    Args:
        trained: Seed -> variant -> results.
    """
    plane = recipe.plane
    if plane is None:
        return []
    wanted = {plane.reference, *plane.variants}
    seeds = tuple(seed for seed, results in sorted(trained.items()) if wanted <= set(results))
    found = []
    for variant in plane.variants if seeds else ():
        rows = [trained[seed][variant] for seed in seeds]
        delta = tuple(_delta(row, trained[seed][plane.reference], plane) for seed, row in zip(seeds, rows, strict=True))
        costs = {name: tuple(row[name] for row in rows) for name in plane.costs}
        found.append(Point(variant, seeds, costs, tuple(row[plane.score] for row in rows), delta))
    return found


def _delta(results: Mapping[str, float], reference: Mapping[str, float], plane: Plane) -> float:
    tasks = [name for name in reference if name.startswith(f"{plane.score}/")]
    return 100 * fmean((results[name] - reference[name]) / reference[name] for name in tasks)


def write_costs(folder: Path, recipe: Recipe, points: list[Point]) -> None:
    """Put the points of a recipe beside a board; nothing where there are none."""
    if points:
        file = folder / FOLDER / f"{recipe.name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_content_atomically(file, json.dumps([asdict(point) for point in points], indent=2) + "\n")


def read_costs(recipe: str, folder: Path = BOARD) -> list[Point]:
    """The points of a recipe; none where the board has no such file.

    Raises:
        WorkbenchError: the file is damaged; it is named, with the command that writes it anew.
    """
    file = folder / FOLDER / f"{recipe}.json"
    if not file.is_file():
        return []
    try:
        return [_point(entry) for entry in json.loads(file.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        remedy = f"Write it anew with: workbench claims {recipe} --board {folder}"
        raise WorkbenchError(f"{file} does not hold the costs of a recipe ({error!r}). {remedy}") from None


def _point(entry: Mapping[str, object]) -> Point:
    values: dict[str, object] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()
    }
    costs = entry["costs"]
    if not isinstance(costs, Mapping):
        raise TypeError("costs")
    return Point(**values | {"costs": {name: tuple(numbers) for name, numbers in costs.items()}})  # type: ignore[arg-type]
