"""Tasks learned one after the other: what is kept of each, from the recorded answers or from logged accuracies.

A run is such a stream if its samples have an attribute ``stream_stage`` (ordered: its levels are the tasks in the order
of learning) and its predictions were recorded once after each of them; or if it logged an accuracy per task after each
task, as continual-learning libraries do. ``accuracy[t, u]`` is read as in :mod:`workbench.core.continual`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.core import Run, WorkbenchError
from workbench.core.continual import average_accuracy, forgetting
from workbench.lenses.domains.accuracy import identifier, right_answer
from workbench.lenses.domains.class_geometry import Geometry, geometry_of
from workbench.lenses.domains.stability import NEW, OLD, Sweep, recorded_sweep, teacher_of
from workbench.lenses.intervals import wilson

#: The attribute that says with which task a sample's class was learned.
STAGE = "stream_stage"
SEEN, UNSEEN, ALL = "seen domains", "unseen domains", "all samples"
_DRAWS = 400
#: Tags of an accuracy on one task: ours and Mammoth's, and Avalanche's, whose experiences count from 0.
_TAGS = (
    re.compile(r"(?P<model>[^/]*acc[^/]*)/task (?P<task>\d+)(?:/(?P<domain>[^/]+))?$", re.IGNORECASE),
    re.compile(r"(?P<model>Top1_Acc_Exp)/eval_phase/(?P<domain>[^/]+)/Task\d+/Exp(?P<task>\d+)$"),
)


@dataclass(frozen=True)
class Stream:
    """What is kept of N tasks learned one after the other. Tasks count from 1 in all tables.

    Attributes:
        stages: Names of the tasks in the order of learning.
        steps: The training step after each of them.
        models: What answered: tasks of the run with recorded predictions, or the names of the logged accuracies.
        scopes: Domains, and the groups of domains that are averaged.
        accuracy: model, scope, learned (tasks so far), stage, accuracy, low, high (95 %: Wilson in one domain,
            bootstrap over samples in a group; NaN where only accuracies were logged), n.
        summary: model, scope, average and forgetting after the last task, each with low and high (95 % bootstrap over
            samples; forgetting takes the best of several accuracies and so leans upwards by their noise), n.
        recency: model, scope, learned, stage (of the class that is named), share of the answers, true_share, n: over
            samples of tasks learned so far. Empty when classes come back in several tasks.
        geometry: How classes lie and move in feature space; None without embeddings.
        teacher: step, quantity, value: how far the model is from its teacher and what it is asked for; may be empty.
        sweep: Accuracies over several values of a setting; None where the run holds none.
    """

    run: str
    stages: tuple[str, ...]
    steps: tuple[int, ...]
    models: tuple[str, ...]
    scopes: tuple[str, ...]
    accuracy: pd.DataFrame
    summary: pd.DataFrame
    recency: pd.DataFrame
    geometry: Geometry | None
    teacher: pd.DataFrame = field(default_factory=pd.DataFrame)
    sweep: Sweep | None = None

    def matrix(self, model: str, scope: str, column: str = "accuracy") -> Float[np.ndarray, "N N"]:
        """A column of :attr:`accuracy` as [learned, stage]; NaN above the diagonal."""
        rows = self.accuracy[(self.accuracy["model"] == model) & (self.accuracy["scope"] == scope)]
        found = np.full((len(self.stages),) * 2, np.nan)
        found[rows["learned"] - 1, rows["stage"] - 1] = rows[column]
        return found


def is_stream(run: Run) -> bool:
    """Whether :func:`stream_of` may find something: cheap, for lists of runs."""
    answered = STAGE in run.columns("samples") and run.has("predictions")
    return answered or any(_task_of(tag) for tag in _logged(run))


def stream_of(run: Run) -> Stream | None:
    """The stream of a run; None where it is none, or where the steps do not tell which task was learned when."""
    answered = STAGE in run.columns("samples") and run.has("predictions")
    found = _from_answers(run) if answered else _from_scalars(run)
    return found and replace(found, teacher=teacher_of(run), sweep=recorded_sweep(run))


def sweep_of(streams: Mapping[str, list[Stream]], setting: str) -> Sweep:
    """A sweep from separate runs.

    Args:
        streams: Value of the setting, as text -> the streams of the runs that were trained with it. The first model's
            answers count.
        setting: Its name, for the axis.

    Raises:
        WorkbenchError: the runs learned different numbers of tasks.
    """
    if len({len(stream.stages) for found in streams.values() for stream in found}) != 1:
        raise WorkbenchError("A sweep needs runs that learned equally many tasks.")
    rows = []
    for value, found in streams.items():
        for repetition, stream in enumerate(found):
            for scope in stream.scopes:
                matrix = stream.matrix(stream.models[0], scope)
                if np.isfinite(np.diagonal(matrix)).all():
                    old, new = float(matrix[-1, :-1].mean()), float(np.diagonal(matrix).mean())
                    row = {"setting": value, "scope": scope, "repetition": repetition, OLD: old, NEW: new}
                    rows.append(row)
    return Sweep(setting, pd.DataFrame(rows, columns=["setting", "scope", "repetition", OLD, NEW]))


# -- from recorded answers --------------------------------------------------------------------------------------------


def _from_answers(run: Run) -> Stream | None:
    stages, models = _stages(run), _models(run)
    found = run.query("SELECT DISTINCT step FROM predictions ORDER BY step")["step"].tolist()
    # One look more than there are tasks: the first was before any training.
    steps = found[1:] if len(found) == len(stages) + 1 else found
    if len(stages) < 2 or len(steps) != len(stages) or not models:
        return None
    domains = [str(name) for name in run.query("SELECT DISTINCT coalesce(domain, '') AS d FROM samples")["d"]]
    groups = _groups(run, domains)
    accuracy, summary, recency = [], [], []
    for model in models:
        answers = _patterns(run, model, stages, steps)
        draws = {name: drawn_accuracy(part, len(stages)) for name, part in answers.groupby("domain")}
        for scope, members in groups.items():
            known = [name for name in members if name in draws]
            if not known:
                continue
            point, sizes = (np.mean([draws[name][i] for name in known], axis=0) for i in (0, 1))
            drawn = np.mean([draws[name][2] for name in known], axis=0)
            many = len(known) * sizes
            accuracy.append(_accuracy_rows(model, scope, point, drawn, many, single=len(known) == 1))
            summary.append(_summary_row(model, scope, point, drawn, int(many.sum())))
            recency.append(_recency(run, model, scope, known, stages, steps))
    if not summary:
        return None
    scopes = tuple(dict.fromkeys(str(row["scope"]) for row in summary))
    return Stream(
        run.name, stages, tuple(steps), models, scopes, pd.concat(accuracy, ignore_index=True), pd.DataFrame(summary),
        pd.concat(recency, ignore_index=True), geometry_of(run, STAGE, stages, tuple(steps), models[0]),
    )  # fmt: skip


def _stages(run: Run) -> tuple[str, ...]:
    present = run.query(f"SELECT DISTINCT CAST({STAGE} AS VARCHAR) AS s FROM samples WHERE {STAGE} IS NOT NULL")["s"]
    declared = next((attribute.levels for attribute in run.info.attributes if attribute.name == STAGE), ())
    names = set(present)
    return tuple(name for name in declared if name in names) + tuple(sorted(names - set(declared)))


def _models(run: Run) -> tuple[str, ...]:
    columns = run.columns("samples")
    answered = set(run.query("SELECT DISTINCT task FROM predictions")["task"])
    return tuple(name for name in run.task_names if name in answered and f"target_{name}" in columns)


def _groups(run: Run, domains: list[str]) -> dict[str, list[str]]:
    """Scope -> its domains: the averages first, then each domain in the order of run.json."""
    held_out = {domain.name for domain in run.info.domains if domain.held_out}
    ordered = [name for name in run.domain_names if name in domains]
    ordered += sorted(set(domains) - set(ordered))
    if len(ordered) < 2:
        return {ALL: ordered}
    seen, unseen = ([name for name in ordered if (name in held_out) == held] for held in (False, True))
    groups = {SEEN: seen, UNSEEN: unseen} if seen and unseen else {ALL: ordered}
    return groups | {name: [name] for name in ordered}


def _patterns(run: Run, model: str, stages: tuple[str, ...], steps: list[int]) -> pd.DataFrame:
    """How many samples of each domain and stage were right at which steps: a row a pattern, columns t0, t1, ... and n.

    Patterns keep what an interval of a difference between two steps needs, however many samples there are.
    """
    right = right_answer(identifier(f"target_{model}"))
    looks = ", ".join(f"max(CASE WHEN p.step = {step} THEN {right} END) AS t{t}" for t, step in enumerate(steps))
    names = ", ".join(f"t{t}" for t in range(len(steps)))
    return run.query(
        f"""
        WITH one AS (
            SELECT p.sample, coalesce(any_value(s.domain), '') AS domain,
                   list_position($stages, CAST(any_value(s.{STAGE}) AS VARCHAR)) - 1 AS stage, {looks}
            FROM predictions p JOIN samples s ON s.sample = p.sample
            WHERE p.task = $task AND s.{STAGE} IS NOT NULL GROUP BY p.sample
        )
        SELECT domain, stage, {names}, count(*) AS n FROM one GROUP BY ALL ORDER BY ALL
        """,
        {"task": model, "stages": list(stages)},
    )


def drawn_accuracy(
    rows: pd.DataFrame, n: int
) -> tuple[Float[np.ndarray, "N N"], Float[np.ndarray, " N"], Float[np.ndarray, "R N N"]]:
    """Accuracy [learned, stage] of one domain, the samples of every stage, and bootstrap draws over those samples."""
    rng = np.random.default_rng(0)
    point, sizes, drawn = np.full((n, n), np.nan), np.zeros(n), np.full((_DRAWS, n, n), np.nan)
    hits = rows[[f"t{t}" for t in range(n)]].to_numpy(dtype=float)
    for u in range(n):
        chosen = (rows["stage"].to_numpy() == u) & ~np.isnan(hits[:, u:]).any(axis=1)
        count = rows["n"].to_numpy()[chosen]
        if count.sum() == 0:
            continue
        sizes[u] = count.sum()
        weights = rng.multinomial(count.sum(), count / count.sum(), size=_DRAWS) / count.sum()  # [R, patterns]
        point[u:, u] = count @ hits[chosen, u:] / count.sum()
        drawn[:, u:, u] = weights @ hits[chosen, u:]
    return point, sizes, drawn


def _accuracy_rows(
    model: str, scope: str, point: np.ndarray, drawn: np.ndarray, sizes: np.ndarray, *, single: bool
) -> pd.DataFrame:
    t, u = np.tril_indices(len(point))
    if single:
        low, high = wilson(point[t, u] * sizes[u], sizes[u])
    else:
        low, high = np.quantile(drawn[:, t, u], [0.025, 0.975], axis=0)
    values = {"learned": t + 1, "stage": u + 1, "accuracy": point[t, u], "low": low, "high": high}
    return pd.DataFrame({"model": model, "scope": scope, **values, "n": sizes[u].astype(np.int64)})


def _summary_row(model: str, scope: str, point: np.ndarray, drawn: np.ndarray | None, n: int) -> dict[str, object]:
    row: dict[str, object] = {"model": model, "scope": scope, "n": n}
    for name, measure in (("average", average_accuracy), ("forgetting", forgetting)):
        ends = [np.nan, np.nan] if drawn is None else np.quantile(measure(drawn), [0.025, 0.975]).tolist()
        row |= {name: float(measure(point)), f"{name}_low": ends[0], f"{name}_high": ends[1]}
    return row


def _recency(
    run: Run, model: str, scope: str, domains: list[str], stages: tuple[str, ...], steps: list[int]
) -> pd.DataFrame:
    """Which task the named classes belong to, beside which task the samples belong to."""
    target = identifier(f"target_{model}")
    frame = run.query(
        f"""
        WITH learned_in AS (
            SELECT CAST({target} AS VARCHAR) AS class, min(list_position($stages, CAST({STAGE} AS VARCHAR))) AS stage,
                   count(DISTINCT {STAGE}) AS stages
            FROM samples WHERE {target} IS NOT NULL AND {STAGE} IS NOT NULL GROUP BY class
        )
        SELECT list_position($steps, p.step) AS learned, named.stage AS stage,
               list_position($stages, CAST(s.{STAGE} AS VARCHAR)) AS truth, count(*) AS n,
               (SELECT max(stages) FROM learned_in) AS stages
        FROM predictions p JOIN samples s ON s.sample = p.sample
             JOIN learned_in named ON named.class = CAST(p.prediction AS VARCHAR)
        WHERE p.task = $task AND list_contains($steps, p.step) AND list_contains($domains, coalesce(s.domain, ''))
        GROUP BY ALL
        """,
        {"task": model, "stages": list(stages), "steps": steps, "domains": domains},
    )
    columns = ["model", "scope", "learned", "stage", "share", "true_share", "n"]
    frame = frame[frame["truth"] <= frame["learned"]]
    if frame.empty or frame["stages"].max() > 1:
        return pd.DataFrame(columns=columns)
    rows = []
    for learned in range(1, len(stages) + 1):
        part = frame[frame["learned"] == learned]
        n = int(part["n"].sum())
        for stage in range(1, learned + 1 if n else 0):
            share, true_share = (part.loc[part[key] == stage, "n"].sum() / n for key in ("stage", "truth"))
            rows.append((model, scope, learned, stage, share, true_share, n))
    return pd.DataFrame(rows, columns=columns)


# -- from logged accuracies -------------------------------------------------------------------------------------------


def _logged(run: Run) -> list[str]:
    return run.query("SELECT DISTINCT tag FROM scalars ORDER BY tag")["tag"].tolist() if run.has("scalars") else []


def _task_of(tag: str) -> Mapping[str, str] | None:
    return next((found.groupdict() for pattern in _TAGS if (found := pattern.match(tag))), None)


def _from_scalars(run: Run) -> Stream | None:
    tags = {tag: found for tag in _logged(run) if (found := _task_of(tag))}
    if not tags:
        return None
    frame = run.query(
        "SELECT tag, step, arg_max(value, wall_time) AS value FROM scalars WHERE list_contains($tags, tag) "
        "AND isfinite(value) GROUP BY tag, step",
        {"tags": list(tags)},
    )
    for key in ("model", "domain", "task"):
        frame[key] = [tags[tag][key] or "" for tag in frame["tag"]]
    stage = frame["task"].astype(int)
    frame["stage"] = stage - stage.min()
    n, steps = int(frame["stage"].max()) + 1, sorted(int(step) for step in frame["step"].unique())
    if steps[-1] <= n and steps[0] >= 1:  # steps that count tasks, some of which may not have been logged
        steps = list(range(1, n + 1))
    if n < 2 or len(steps) != n:
        return None
    frame["learned"] = [steps.index(int(step)) for step in frame["step"]]
    if frame["value"].max() > 1.5:
        frame["value"] /= 100  # logged in percent
    groups = _groups(run, list(dict.fromkeys(frame["domain"])))
    accuracy, summary = [], []
    for model in dict.fromkeys(frame["model"]):
        mine = frame[frame["model"] == model]
        for scope, members in groups.items():
            matrices = [_logged_matrix(mine[mine["domain"] == name], n) for name in members]
            point = np.mean(matrices, axis=0)
            t, u = np.tril_indices(n)
            values = {"learned": t + 1, "stage": u + 1, "accuracy": point[t, u], "low": np.nan, "high": np.nan, "n": 0}
            accuracy.append(pd.DataFrame({"model": model, "scope": scope, **values}))
            summary.append(_summary_row(model, scope, point, None, 0))
    empty = pd.DataFrame(columns=["model", "scope", "learned", "stage", "share", "true_share", "n"])
    return Stream(
        run.name, tuple(f"task {u + 1}" for u in range(n)), tuple(steps), tuple(dict.fromkeys(frame["model"])),
        tuple(groups), pd.concat(accuracy, ignore_index=True), pd.DataFrame(summary), empty, None,
    )  # fmt: skip


def _logged_matrix(rows: pd.DataFrame, n: int) -> Float[np.ndarray, "N N"]:
    found = np.full((n, n), np.nan)
    found[rows["learned"], rows["stage"]] = rows["value"]
    return found
