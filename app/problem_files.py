"""The user's own problem files: named on the command line, or found below a folder. Finding one runs nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

from workbench.cli.app import PROBLEMS_VARIABLE

#: Problem files offered at most, and how deep below the folder they are looked for.
MAX_FILES, DEPTH = 60, 2
#: What a Python file must mention to be offered as a problem file.
SIGNS = ("tasks", "def losses", "def batches")


def named() -> list[Path]:
    """The files named on the command line of the app; naming one allows to execute it."""
    return [path for text in json.loads(os.environ.get(PROBLEMS_VARIABLE, "[]")) if (path := Path(text)).is_file()]


def problem_files(folder: Path) -> list[Path]:
    """Python files that look like a problem, by their text alone."""
    found = []
    for pattern in ("/".join(["*"] * depth + ["*.py"]) for depth in range(DEPTH + 1)):
        for file in sorted(folder.glob(pattern)):
            try:
                source = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            if all(sign in source for sign in SIGNS) or "Problem(" in source:
                found.append(file)
            if len(found) >= MAX_FILES:
                return found
    return found
