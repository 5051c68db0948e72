"""DomainBed: results.jsonl, one record a checkpoint, with the arguments of the run in every record."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from workbench.core import Domain, Problem, RunFormatError, RunWriter
from workbench.runs.format import Format, as_number, as_step

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
    found, bad = [], []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if not isinstance(record["args"]["test_envs"], list):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            bad.append(number)
        else:
            found.append(record)
    problems = [Problem(file, f"{len(bad)} line(s) are no DomainBed records, first line {bad[0]}")] if bad else []
    return found, problems


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Accuracy per environment and split as ``accuracy/<environment>/<in|out>``; other numbers keep their names.

    Raises:
        RunFormatError: not one line of the file is a record.
    """
    file = path / FILE
    entries, problems = records(file)
    if not entries:
        raise RunFormatError(f"{file} holds no DomainBed record.")
    arguments = entries[-1]["args"]
    names = _environment_names(str(arguments.get("dataset", "")), entries[-1])
    step, tag, value = [], [], []
    for position, record in enumerate(entries):
        at = as_step(record.get("step"), position)
        for key, item in record.items():
            number = as_number(item)
            if key == "step" or number is None:
                continue
            match = _ENVIRONMENT.match(key)
            step.append(at)
            tag.append(f"accuracy/{names[int(match[1])]}/{match[2]}" if match else key)
            value.append(number)
    writer.write("scalars", {"step": step, "tag": tag, "value": value, "wall_time": file.stat().st_mtime})
    held_out = set(arguments["test_envs"])
    hyperparameters = entries[-1].get("hparams")
    writer.update(
        name=f"{arguments.get('algorithm')} on {arguments.get('dataset')}, {path.name[:8]}",
        method=str(arguments.get("algorithm")),
        seed=arguments.get("seed") if isinstance(arguments.get("seed"), int) else None,
        domains=[Domain(name, held_out=index in held_out) for index, name in names.items()],
        config=arguments | {"hparams": hyperparameters if isinstance(hyperparameters, dict) else {}},
    )
    return problems


def _environment_names(dataset: str, record: dict[str, Any]) -> dict[int, str]:
    indices = sorted({int(match[1]) for key in record if (match := _ENVIRONMENT.match(key))})
    known = ENVIRONMENTS.get(dataset, ())
    return {index: known[index] if index < len(known) else f"env{index}" for index in indices}


FORMAT = Format("domainbed", "DomainBed results", recognises, sources, read)
