"""How alike two label names are: the weakest evidence, and the only one before anything is recorded."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

#: Names that say "none of the labels" in common label lists.
BACKGROUND = frozenset(
    {"background", "bg", "other", "others", "void", "unlabeled", "unlabelled", "none", "misc", "ignore"}
)


def words(name: str) -> tuple[str, ...]:
    """Lower-case words without plural endings: "Lane Markings" -> ("lane", "marking")."""
    parts = re.findall(r"[a-z]+|\d+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    return tuple(
        part[:-1] if len(part) > 3 and part.endswith("s") and not part.endswith("ss") else part for part in parts
    )


def is_background(name: str) -> bool:
    return " ".join(words(name)) in BACKGROUND or name.lower() in BACKGROUND


def similarity(a: str, b: str) -> float:
    """1 for the same words, else the larger of shared words (Jaccard) and matching letters (Ratcliff and Obershelp)."""
    first, second = words(a), words(b)
    if first == second:
        return 1.0
    shared = len(set(first) & set(second)) / max(1, len(set(first) | set(second)))
    return max(shared, 0.99 * SequenceMatcher(None, " ".join(first), " ".join(second)).ratio())
