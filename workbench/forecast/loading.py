"""Read a problem file, and put a checkpoint's weights into the model that it builds."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from workbench.core import ConfigError
from workbench.forecast.problem import OPTIONAL, REQUIRED, Problem, check_names, told
from workbench.runs.checkpoints import open_checkpoint


def load_problem(path: str | Path) -> Problem:
    """Run a Python file and read the problem it describes: module-level names, or one ``problem = Problem(...)``.

    The file is executed: it is code that the caller chose by name. Its folder can be imported from.

    Raises:
        ConfigError: no such file, an error while it runs (with its line), a missing or wrong name.
    """
    file = Path(path)
    if not file.is_file() or file.suffix != ".py":
        raise ConfigError(
            f"{file} is no Python file. Name one that describes a training; "
            "workbench diagnose --template heads writes one to start from."
        )
    module = _executed(file.resolve())
    given = getattr(module, "problem", None)
    if isinstance(given, Problem):
        return given if given.source else replace(given, name=_name(given, file), source=file.resolve())
    missing = [name for name in REQUIRED if not hasattr(module, name)]
    if missing:
        raise ConfigError(
            f"{file.name} does not define {', '.join(missing)}. A problem file needs {', '.join(REQUIRED)}; "
            "workbench diagnose --template heads writes an example."
        )
    names = (*REQUIRED, *OPTIONAL, "labels")
    values = {name: getattr(module, name) for name in names if hasattr(module, name)}
    check_names(file.name, values)
    return Problem(**values, name=str(getattr(module, "name", file.stem)), source=file.resolve())


def load_model(problem: Problem, checkpoint: str | Path, seed: int = 0) -> nn.Module:
    """The problem's model with the weights of a checkpoint file, in eval mode, for attribution and the like.

    Checkpoints open as in :func:`workbench.runs.checkpoints.open_checkpoint`: safetensors, or PyTorch files with
    ``weights_only=True``; the code of a checkpoint is never executed. Prefixes that trainers put before every name
    (``model.``, ``module.``, ``_orig_mod.``) are dropped when the names do not fit otherwise.

    Raises:
        ConfigError: tensors are missing or have another shape than the model's.
        RunFormatError: the file cannot be opened.
    """
    model = problem.model(seed)
    held = open_checkpoint(checkpoint)
    expected = model.state_dict()
    prefix = next((p for p in _prefixes(held.shapes) if all(p + name in held.shapes for name in expected)), "")
    missing = [name for name in expected if prefix + name not in held.shapes]
    if missing:
        raise ConfigError(
            f"{Path(checkpoint).name} lacks {len(missing)} of the {len(expected)} tensors of the model that "
            f"{problem.where} builds, e.g. '{missing[0]}'. It holds e.g. {', '.join(list(held.shapes)[:3])}."
        )
    for name, value in expected.items():
        if tuple(held.shapes[prefix + name]) != tuple(value.shape):
            raise ConfigError(
                f"{Path(checkpoint).name}: '{name}' has shape {tuple(held.shapes[prefix + name])}, "
                f"but the model that {problem.where} builds has {tuple(value.shape)}."
            )
    model.load_state_dict(
        {name: torch.as_tensor(held.load(prefix + name)).to(value.dtype) for name, value in expected.items()}
    )
    return model.eval()


def _prefixes(names: Mapping[str, Any]) -> list[str]:
    """No prefix, then every beginning that ends with a dot of the first name."""
    first = next(iter(names), "").split(".")
    return ["", *(".".join(first[:n]) + "." for n in range(1, len(first)))]


def _name(problem: Problem, file: Path) -> str:
    return file.stem if problem.name == "problem" else problem.name


def _executed(file: Path) -> ModuleType:
    # A name of its own, so that two files called problem.py do not meet in sys.modules.
    name = f"workbench_problem_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(file.parent) not in sys.path:  # as for a script, and for good: functions may import when they are called
        sys.path.append(str(file.parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ConfigError(f"{file.name}, line {error.lineno}: {error.msg}.") from error
    except Exception as error:
        raise ConfigError(f"{file.name} could not be run: it raised {told(error, file)}.") from error
    return module
