"""The run card: what was trained on what, with which code, what the lenses say, and what to keep in mind."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from workbench.core import Run
from workbench.lenses import Verdict, lens, verdicts

CAVEATS = {
    "conflict": "Cosines are unbiased estimates over mini-batches; a conflict is called only when its whole 95 % "
    "interval lies below 0. They hold for the recorded steps and say nothing about other trajectories.",
    "gsnr": "GSNR is corrected for the number of samples as for Gaussian gradients; real gradients have heavier tails.",
    "bias": "Groups are compared with Wilson intervals and corrected for the number of comparisons; small groups stay "
    "undecided.",
    "labels": "Shares between labels come from what the model says of the other dataset's samples: they show the "
    "model's view of the labels.",
    "domains": "Distances are compared with those between random halves of one domain; a distance says nothing about "
    "accuracy by itself.",
}


def card(run: Run) -> dict[str, Any]:
    """Everything the card says, ready for JSON.

    ``data_digest`` is a SHA-256 over the samples table (ids, targets, attributes, not the thumbnails), so that two runs
    on the same data have the same digest; None without that table.
    """
    info = run.info
    found = verdicts(run)
    return {
        "name": run.name,
        "question": info.question,
        "created": info.created,
        "status": info.status,
        "trained": {
            "recipe": info.recipe,
            "method": info.method,
            "seed": info.seed,
            "tasks": [task.name for task in info.tasks],
            "domains": [domain.name for domain in info.domains],
            "held_out_domains": [domain.name for domain in info.domains if domain.held_out],
            "datasets": [dataset.name for dataset in info.datasets],
            "attributes": [attribute.name for attribute in info.attributes],
            "config": dict(info.config),
        },
        "results": dict(info.summary),
        "data_digest": data_digest(run),
        "code": dict(info.code),
        "environment": dict(info.versions),
        "recorded": {name: _rows(run, name) for name in run.tables},
        "verdicts": [{"lens": slug} | _verdict(verdict) for slug, verdict in found.items()],
        "caveats": [CAVEATS[slug] for slug, verdict in found.items() if verdict.level != "cannot tell"],
        "not_readable": [str(problem) for problem in run.problems],
        "notes": list(info.notes),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return dataclasses.asdict(verdict) | {"options": dict(verdict.options)}


def _rows(run: Run, table: str) -> int:
    return int(run.query(f"SELECT count(*) AS n FROM {table}")["n"].iloc[0])


def data_digest(run: Run) -> str | None:
    """SHA-256 of the samples in the order of their ids, without thumbnails; None when none were recorded."""
    if not run.has("samples"):
        return None
    columns = ", ".join(f'"{name}"' for name in sorted(run.columns("samples")) if name != "thumbnail")
    frame = run.query(f"SELECT {columns} FROM samples ORDER BY sample")
    return hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()


def card_markdown(run: Run) -> str:
    """The card as Markdown."""
    content = card(run)
    lines = [f"# {_text(content['name'])}", "", _text(content["question"]), ""]
    lines += ["## What the lenses say", ""]
    for verdict in content["verdicts"]:
        lines.append(f"- **{lens(verdict['lens']).title}** {verdict['level']}: {_text(verdict['sentence'])}")
        if verdict["next_step"] and verdict["level"] != "cannot tell":
            lines.append(f"  Next: {_text(verdict['next_step'])}")
    lines += ["", "## What was trained", "", *_table(_flat(content["trained"]))]
    if content["results"]:
        lines += ["", "## Results", "", *_table({name: f"{value:.4g}" for name, value in content["results"].items()})]
    lines += ["", "## Where it comes from", ""]
    origin = {"created": content["created"], "status": content["status"], "data digest": content["data_digest"] or "-"}
    lines += _table(origin | _flat(content["code"]) | _flat(content["environment"]))
    lines += ["", "## What was recorded", "", *_table({name: f"{n} rows" for name, n in content["recorded"].items()})]
    for title, key in (("Keep in mind", "caveats"), ("Could not be read", "not_readable"), ("Notes", "notes")):
        if content[key]:
            lines += ["", f"## {title}", "", *(f"- {_text(text)}" for text in content[key])]
    return "\n".join(lines) + "\n"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif value not in (None, "", []):
            flat[f"{prefix}{key}"] = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return flat


def _table(values: Mapping[str, str]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {_text(key)} | {_text(value)} |" for key, value in values.items())]


def _text(value: str) -> str:
    """On one line, with nothing that Markdown or HTML would take for markup in names from a run."""
    for mark in "\\|<>`*_[]":
        value = value.replace(mark, f"\\{mark}")
    return " ".join(value.split())
