"""Training methods from the literature, one file a paper.

A method's docstring is also its page: the first line, the equations, and the paragraphs that begin with "In plain
words:", "Look at:", "Family:" and "Cite:". :func:`describe` reads them without importing the method, so without torch.
"""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from workbench.core import ConfigError

#: The methods, each a module of this package; a test holds the tuple to the files.
METHODS: tuple[str, ...] = ("uniseg", "mvcom", "cdt", "gsnr_dropout", "gradsplit", "mahalanobis_continual")

#: The families of methods, in the order of lists.
FAMILIES = ("domain generalisation", "multi-task", "many datasets", "bias-aware margins", "continual learning")


@dataclass(frozen=True)
class Description:
    """What a method's docstring says.

    Attributes:
        slug: Its file.
        name: The paper's name for it.
        line: What it does, in one line.
        plain: What it does, without jargon.
        look_at: Which view shows it at work.
        equations: The indented lines.
        letters: What stands between the equations and the plain words, and before the equations.
        cite: The paper, what is taken from it, and what is our choice.
    """

    slug: str
    name: str
    line: str
    plain: str
    look_at: str
    family: str
    equations: str
    letters: str
    cite: str


@cache
def describe(slug: str) -> Description:
    """What a method is.

    Raises:
        ConfigError: there is no such method; the known ones are given.
    """
    slug = slug.replace("-", "_")
    if slug not in METHODS:
        raise ConfigError(f"There is no method '{slug}'. Methods: {', '.join(METHODS)}.")
    tree = ast.parse((Path(__file__).parent / f"{slug}.py").read_text(encoding="utf-8"))
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(ast.get_docstring(tree) or ""))
    name, _, line = blocks[0].partition(": ")
    parts: dict[str, list[str]] = {heading: [] for heading in _HEADINGS}
    equations: list[str] = []
    letters: list[str] = []
    heading = ""
    for block in blocks[1:]:
        found = next((each for each in _HEADINGS if block.startswith(f"{each}:")), "")
        heading = found or heading
        if heading:
            parts[heading].append(block.removeprefix(f"{heading}:"))
        else:
            (equations if block.startswith("    ") else letters).append(block)
    text = {heading: "\n\n".join(_joined(block) for block in found) for heading, found in parts.items()}
    return Description(
        slug=slug,
        name=name,
        line=_joined(line),
        plain=text["In plain words"],
        look_at=text["Look at"],
        family=text["Family"].lower(),
        equations="\n\n".join(inspect.cleandoc("\n" + block) for block in equations),
        letters="\n\n".join(_joined(block) for block in letters),
        cite=text["Cite"],
    )


_HEADINGS = ("In plain words", "Look at", "Family", "Cite")


def _joined(block: str) -> str:
    """A paragraph as one line that begins with a capital letter."""
    line = " ".join(block.split())
    return line[:1].upper() + line[1:]
