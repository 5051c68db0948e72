"""What chosen samples are: how their domains, classes and attributes differ from all samples.

Shares are counted, not estimated: they describe these samples, and have no interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from workbench.core import Run
from workbench.core.schema import TRUTH
from workbench.lenses.words import listed, percent

#: Columns with more levels than this are names of samples rather than groups of them.
MAX_LEVELS = 200
#: Differences of shares below this are not worth a word.
NOTABLE = 0.05
COLUMNS = ("column", "level", "n", "share", "share_all")


def makeup(run: Run, samples: Sequence[int]) -> pd.DataFrame:
    """Levels of domain, dataset, split, every task's class and every attribute among chosen samples and among all.

    Returns:
        column, level (in words), n (chosen samples of the level), share (of the chosen ones that have a level),
        share_all (of all that have one). Columns in the order of the run, levels by ``share - share_all``, largest
        first. Columns of one level, of numbers and of more than ``MAX_LEVELS`` levels are left out; empty without a
        table ``samples``.
    """
    if not run.has("samples"):
        return pd.DataFrame(columns=list(COLUMNS))
    parts = []
    known = run.columns("samples")
    classes = {f"target_{task.name}": task for task in run.info.tasks if task.kind == "classification"}
    continuous = {attribute.name for attribute in run.info.attributes if attribute.kind == "continuous"}
    wanted = dict.fromkeys(["domain", "dataset", "split", *classes, *run.attribute_names])
    for name in [name for name in wanted if name in known and name not in continuous]:
        found = _levels(run, name, samples)
        if 1 < len(found) <= MAX_LEVELS:
            task = classes.get(name)
            if task is not None:
                found["level"] = [_class_name(level, task.classes) for level in found["level"]]
            column = name if task is None else "class" if len(classes) == 1 else f"class of {task.name}"
            parts.append(found.assign(column=column))
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)] if parts else pd.DataFrame(columns=list(COLUMNS))


def _levels(run: Run, name: str, samples: Sequence[int]) -> pd.DataFrame:
    quoted = '"' + name.replace('"', '""') + '"'
    found = run.query(
        f"""
        SELECT CAST({quoted} AS VARCHAR) AS level, count(*) AS n_all,
               count(*) FILTER (WHERE sample IN (SELECT unnest($ids))) AS n
        FROM samples WHERE {quoted} IS NOT NULL AND lower(CAST({quoted} AS VARCHAR)) NOT IN ('', 'nan')
        GROUP BY ALL ORDER BY level LIMIT {MAX_LEVELS + 1}
        """,
        {"ids": [int(sample) for sample in samples]},
    )
    chosen, everything = max(int(found["n"].sum()), 1), max(int(found["n_all"].sum()), 1)
    found = found.assign(share=found["n"] / chosen, share_all=found["n_all"] / everything)
    more = found["share"] - found["share_all"]
    return found.iloc[(-more).argsort(kind="stable")]


def _class_name(level: str, classes: Sequence[str]) -> str:
    """The name of a class that was recorded as its number."""
    try:
        place = float(level)
    except ValueError:
        return level
    if place.is_integer() and 0 <= place < len(classes):
        return classes[int(place)]
    return f"{place:g}"


def in_words(found: pd.DataFrame, limit: int = 3) -> str:
    """One sentence: what chosen samples have more often than all samples, the largest differences first."""
    first = found.drop_duplicates("column")
    more = first["share"] - first["share_all"]
    first = first[more >= NOTABLE].iloc[(-more[more >= NOTABLE]).argsort(kind="stable")].head(limit)
    if first.empty:
        return "They are mixed like all samples of the run, as far as its attributes tell."
    shares = first[["share", "share_all"]].to_numpy(dtype=float)
    said = [
        f"{column} '{level}' {percent(share)} (of all samples {percent(share_all)})"
        for column, level, (share, share_all) in zip(first["column"], first["level"], shares, strict=True)
    ]
    return f"More often than elsewhere: {listed(said)}."


def shares_of(found: pd.DataFrame, names: Sequence[str], column: str | None = None) -> dict[str, float]:
    """Share of the chosen samples in every level of one of these names, the largest first; absent levels are left out.

    Args:
        column: Only this column; by default any, such as groups that a run's tasks are named by.
    """
    rows = found if column is None else found[found["column"] == column]
    rows = rows[rows["level"].isin(names) & (rows["n"] > 0)].sort_values("share", ascending=False, kind="stable")
    return {str(level): float(share) for level, share in zip(rows["level"], rows["share"], strict=True)}


def annotated(run: Run, samples: Sequence[int]) -> pd.DataFrame:
    """What chosen samples are annotated with, beside all samples of the same dataset.

    Returns:
        dataset, label, n (chosen samples that hold the label), share and share_all (of the annotated weight, within the
        dataset), most over-represented first. Empty where no annotation of these samples was recorded.
    """
    columns = ["dataset", "label", "n", "share", "share_all"]
    if not (run.has("label_counts") and run.has("samples")):
        return pd.DataFrame(columns=columns)
    found = run.query(
        f"""
        WITH told AS (
            SELECT l.dataset, l.label, l.weight, l.sample, l.sample IN (SELECT unnest($ids)) AS chosen
            FROM label_counts l WHERE l.source = '{TRUTH}'
              AND EXISTS (
                  SELECT 1 FROM samples s WHERE s.sample = l.sample AND coalesce(s.dataset, l.dataset) = l.dataset
              )
        ), totals AS (
            SELECT dataset, sum(weight) FILTER (WHERE chosen) AS chosen_weight, sum(weight) AS weight
            FROM told GROUP BY dataset
        )
        SELECT t.dataset AS dataset, t.label AS label, count(DISTINCT t.sample) FILTER (WHERE t.chosen) AS n,
               coalesce(sum(t.weight) FILTER (WHERE t.chosen), 0) / any_value(o.chosen_weight) AS share,
               sum(t.weight) / any_value(o.weight) AS share_all
        FROM told t JOIN totals o ON o.dataset = t.dataset WHERE o.chosen_weight > 0
        GROUP BY ALL ORDER BY share - share_all DESC, dataset, label
        """,
        {"ids": [int(sample) for sample in samples]},
    )
    return found[columns]
