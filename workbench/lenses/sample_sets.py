"""Samples that a person chose in one lens and takes to another: their ids, and where they came from in words.

Every set has an address of a few characters. An unnamed one is kept in the cache under a digest of what it holds; a
named one is kept with the analysis of the run (:mod:`workbench.lenses.kept`) and its address is its name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.core import ConfigError, Run
from workbench.core.files import cache_folder, write_content_atomically
from workbench.lenses.kept import keep, kept, run_key

#: Under which :mod:`workbench.lenses.kept` keeps named sets.
KIND = "selections"
#: The largest set. It is read in whole by every page that shows it.
MAX_SAMPLES = 200_000
#: Unnamed sets kept for one run; the oldest go first.
MAX_UNNAMED = 200
#: Begins the address of an unnamed set.
UNNAMED = "~"


@dataclass(frozen=True)
class SampleSet:
    """Ids in ascending order, and words that say where they came from, e.g. ``colour: red (bias, task digit)``."""

    samples: tuple[int, ...]
    words: str


def sample_set(samples: Iterable[int], words: str) -> SampleSet:
    """A set of at least one sample.

    Raises:
        ConfigError: there are none, or more than ``MAX_SAMPLES``.
    """
    found = tuple(sorted({int(sample) for sample in samples}))
    if not found:
        raise ConfigError(f"'{words}' holds no sample, so there is nothing to take along.")
    if len(found) > MAX_SAMPLES:
        raise ConfigError(
            f"'{words}' holds {len(found):,} samples; at most {MAX_SAMPLES:,} can be taken along. "
            "Choose a smaller group, such as one of two factors."
        )
    return SampleSet(found, words)


def remember(run: Run, chosen: SampleSet) -> str:
    """Keep an unnamed set in the cache. Returns its address."""
    content = _content(chosen)
    address = UNNAMED + hashlib.sha256(content.encode()).hexdigest()[:12]
    folder = _folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    write_content_atomically(folder / f"{address[1:]}.json", content)
    by_age = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
    for path in by_age[: max(0, len(by_age) - MAX_UNNAMED)]:
        path.unlink(missing_ok=True)
    return address


def name_it(run: Run, chosen: SampleSet, name: str) -> str:
    """Keep a set with the run's analysis under a name. Returns its address, which is the name.

    Raises:
        ConfigError: the name is empty, too long, or begins like the address of an unnamed set.
    """
    name = name.strip()
    if name.startswith(UNNAMED):
        raise ConfigError(f"A name must not begin with '{UNNAMED}'; got '{name}'.")
    keep(run, KIND, name, json.loads(_content(chosen)))
    return name


def named(run: Run) -> dict[str, SampleSet]:
    """Name -> set of all that were named, by name."""
    found = {name: _restored(value) for name, value in kept(run, KIND).items()}
    return {name: chosen for name, chosen in found.items() if chosen is not None}


def recall(run: Run, address: str) -> SampleSet | None:
    """The set at an address; None where this run has none there."""
    if not address.startswith(UNNAMED):
        return named(run).get(address)
    digest = address[len(UNNAMED) :]
    if not digest.isalnum():
        return None
    try:
        return _restored(json.loads((_folder(run) / f"{digest}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _content(chosen: SampleSet) -> str:
    return json.dumps({"words": chosen.words, "samples": chosen.samples}, ensure_ascii=False)


def _restored(value: Any) -> SampleSet | None:
    """What was kept, unless it is damaged."""
    try:
        return sample_set(value["samples"], str(value["words"]))
    except (ConfigError, KeyError, TypeError, ValueError):
        return None


def _folder(run: Run) -> Path:
    return cache_folder() / "selections" / run_key(run)
