"""DomainBed: results.jsonl, one record a checkpoint, with the arguments of the run in every record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.core import Domain, Problem, RunFormatError, RunWriter
from workbench.runs.format import Format, Points, as_number, as_step

FILE = "results.jsonl"
#: Names of the environments by dataset, as DomainBed's tables print them.
ENVIRONMENTS = {
    "ColoredMNIST": ("+90%", "+80%", "-90%"),
    "RotatedMNIST": ("0", "15", "30", "45", "60", "75"),
    "VLCS": ("C", "L", "S", "V"),
    "PACS": ("A", "C", "P", "S"),
    "OfficeHome": ("A", "C", "P", "R"),
    "TerraIncognita": ("L100", "L38", "L43", "L46"),
    "DomainNet": ("clip", "info", "paint", "quick", "real", "sketch"),
}
_ENVIRONMENT = re.compile(r"env(\d+)_(in|out)_acc$")


def recognises(path: Path) -> bool:
    file = path / FILE
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return b'"algorithm"' in stream.readline(1_000_000)


def sources(path: Path) -> list[Path]:
    return [path / FILE]


def records(file: Path) -> tuple[list[dict[str, Any]], list[Problem]]:
    """The records of a results.jsonl; lines that are no records are skipped and counted."""
    bad: list[int] = []
    found = list(_each(file, bad))
    return found, _described(file, bad)


def _each(file: Path, bad: list[int]) -> Iterator[dict[str, Any]]:
    """The records one by one; the numbers of lines that are none go to ``bad``."""
    with file.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                if not isinstance(record["args"]["test_envs"], list):
                    raise TypeError
            except (ValueError, KeyError, TypeError, RecursionError):
                bad.append(number)
            else:
                yield record


def _described(file: Path, bad: list[int]) -> list[Problem]:
    return [Problem(file, f"{len(bad)} line(s) are no DomainBed records, first line {bad[0]}")] if bad else []


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Accuracy per environment and split as ``accuracy/<environment>/<in|out>``; other numbers keep their names.

    Raises:
        RunFormatError: not one line of the file is a record.
    """
    file = path / FILE
    points, wall_time = Points(writer), file.stat().st_mtime
    bad: list[int] = []
    record: dict[str, Any] = {}
    names: dict[int, str] = {}
    for position, record in enumerate(_each(file, bad)):
        at, dataset = as_step(record.get("step"), position), str(record["args"].get("dataset", ""))
        for key, item in record.items():
            number = as_number(item)
            if key == "step" or number is None:
                continue
            match = _ENVIRONMENT.match(key)
            if match:
                name = names.setdefault(int(match[1]), _environment_name(dataset, int(match[1])))
            points.add(at, f"accuracy/{name}/{match[2]}" if match else key, number, wall_time)
    points.write()
    if not record:
        raise RunFormatError(f"{file} holds no DomainBed record.")
    arguments, hyperparameters = record["args"], record.get("hparams")
    held_out = {index for index in arguments["test_envs"] if isinstance(index, int)}
    writer.update(
        name=f"{arguments.get('algorithm')} on {arguments.get('dataset')}, {path.name[:8]}",
        method=str(arguments.get("algorithm")),
        seed=arguments.get("seed") if isinstance(arguments.get("seed"), int) else None,
        domains=[Domain(name, held_out=index in held_out) for index, name in sorted(names.items())],
        config=arguments | {"hparams": hyperparameters if isinstance(hyperparameters, dict) else {}},
    )
    return _described(file, bad)


def _environment_name(dataset: str, index: int) -> str:
    known = ENVIRONMENTS.get(dataset, ())
    return known[index] if index < len(known) else f"env{index}"


FORMAT = Format("domainbed", "DomainBed results", recognises, sources, read)
