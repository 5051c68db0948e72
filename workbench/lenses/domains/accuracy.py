"""Accuracy per domain beside the accuracy in its reference domains: does a shift do harm?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from workbench.core import Run
from workbench.lenses.domains.points import Cohort
from workbench.lenses.intervals import wilson

COLUMNS = (
    "step", "domain", "accuracy", "low", "high", "n",
    "reference_accuracy", "reference_low", "reference_high", "reference_n", "drop", "drop_low", "drop_high",
)  # fmt: skip


def reference_codes(domain: int, held_out: tuple[bool, ...]) -> list[int]:
    """What a domain is compared with as a whole: the training domains without itself; all others if there are none."""
    training = [code for code, held in enumerate(held_out) if not held and code != domain]
    return training or [code for code in range(len(held_out)) if code != domain]


def accuracy_by_domain(run: Run, who: Cohort, steps: tuple[int, ...]) -> pd.DataFrame:
    """Accuracy of the cohort's task per domain at the last prediction step up to each of ``steps``.

    The reference accuracy pools its domains' samples, each domain with the same weight; its Wilson interval uses the
    effective number of samples (sum w)² / sum w² of those weights. ``drop`` = reference - domain with Newcombe's
    interval. Empty when there is no class, no predictions, or predictions that are not classes.
    """
    counts = _counts(run, who)
    rows = []
    for step in steps:
        before = counts[counts["step"] <= step]
        if before.empty:
            continue
        now = before[before["step"] == before["step"].max()].set_index("domain")
        for code, name in enumerate(who.domains):
            reference = [who.domains[i] for i in reference_codes(code, who.held_out) if who.domains[i] in now.index]
            if name in now.index:
                rows.append({"step": step, "domain": name} | _against(now, name, reference))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _counts(run: Run, who: Cohort) -> pd.DataFrame:
    """Correct and all predictions per step and domain over the cohort's splits."""
    columns = ["step", "domain", "correct", "n"]
    if who.task is None or not run.has("predictions"):
        return pd.DataFrame(columns=columns)
    target, by = identifier(f"target_{who.task}"), identifier(who.by)
    splits = sorted(set(who.frame["split"].fillna("").astype(str)))
    frame = run.query(
        f"""
        SELECT p.step AS step, coalesce(CAST(s.{by} AS VARCHAR), '') AS domain,
               sum({right_answer(target)}) AS correct, count(*) AS n
        FROM predictions p JOIN samples s ON s.sample = p.sample
        WHERE p.task = $task AND s.{target} IS NOT NULL AND p.prediction IS NOT NULL
              AND lower(CAST(s.{target} AS VARCHAR)) <> 'nan'
              AND list_contains($splits, coalesce(s.split, ''))
        GROUP BY ALL ORDER BY ALL
        """,
        {"task": who.task, "splits": splits},
    )
    return frame[columns]


def identifier(name: str) -> str:
    """The name of a column as SQL."""
    return '"' + name.replace('"', '""') + '"'


def right_answer(target: str) -> str:
    """SQL: 1 where the prediction ``p`` is the target of its sample ``s``, as text or as a number, else 0.

    Args:
        target: The column of ``samples``, as :func:`identifier` gives it.
    """
    return (
        f"CASE WHEN CAST(p.prediction AS VARCHAR) = CAST(s.{target} AS VARCHAR) "
        f"OR TRY_CAST(p.prediction AS DOUBLE) = TRY_CAST(s.{target} AS DOUBLE) THEN 1 ELSE 0 END"
    )


def _against(now: pd.DataFrame, name: str, reference: list[str]) -> dict[str, float]:
    n, correct = (float(now[column].to_numpy(dtype=float)[now.index == name][0]) for column in ("n", "correct"))
    accuracy, (low, high) = correct / n, _wilson(correct / n, n)
    row = {"accuracy": accuracy, "low": low, "high": high, "n": n}
    if not reference:
        return row
    sizes = now.loc[reference, "n"].to_numpy(dtype=float)
    base = float((now.loc[reference, "correct"].to_numpy(dtype=float) / sizes).mean())
    effective = len(sizes) ** 2 / float((1 / sizes).sum())
    base_low, base_high = _wilson(base, effective)
    drop = base - accuracy
    return row | {
        "reference_accuracy": base, "reference_low": base_low, "reference_high": base_high, "reference_n": sizes.sum(),
        "drop": drop,
        "drop_low": drop - float(np.hypot(base - base_low, high - accuracy)),
        "drop_high": drop + float(np.hypot(base_high - base, accuracy - low)),
    }  # fmt: skip


def _wilson(share: float, n: float) -> tuple[float, float]:
    low, high = wilson(np.array([share * n]), np.array([n]))
    return float(low[0]), float(high[0])


@dataclass(frozen=True)
class Answers:
    """What the model says about every sample of a cohort, in its order, at one step.

    Attributes:
        predicted: Class code; -1 where there is no prediction or it is no known class.
        confidence: As recorded; NaN where unknown.
        right: Whether the prediction is the target.
    """

    predicted: Int[np.ndarray, " N"]
    confidence: Float[np.ndarray, " N"]
    right: Bool[np.ndarray, " N"]

    @property
    def known(self) -> Bool[np.ndarray, " N"]:
        return self.predicted >= 0


def answers_of(run: Run, who: Cohort, step: int) -> Answers | None:
    """Predictions of the cohort's task at the last step up to ``step``; None without any, or without classes."""
    if who.task is None or not run.has("predictions"):
        return None
    frame = run.query(
        """
        SELECT sample, CAST(prediction AS VARCHAR) AS prediction, confidence FROM predictions
        WHERE task = $task AND sample IN (SELECT DISTINCT sample FROM embeddings)
              AND step = (SELECT max(step) FROM predictions WHERE task = $task AND step <= $step)
        """,
        {"task": who.task, "step": step},
    ).drop_duplicates("sample")
    if frame.empty:
        return None
    frame = frame.set_index("sample").reindex(who.frame.index)
    number = pd.to_numeric(frame["prediction"], errors="coerce")
    if run.info.task(who.task).classes and number.notna().any():
        code = number.where((number >= 0) & (number < len(who.classes)), -1)
    else:
        whole = number.notna() & (number % 1 == 0)
        text = frame["prediction"].where(~whole, number.fillna(0).astype(np.int64).astype(str))
        code = text.map({name: code for code, name in enumerate(who.classes)}).fillna(-1)
    predicted = code.to_numpy(dtype=np.int64)
    confidence = frame["confidence"].to_numpy(dtype=float)
    return Answers(predicted, confidence, (predicted >= 0) & (predicted == who.target))
