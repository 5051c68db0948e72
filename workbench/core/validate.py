"""Check a whole run folder and say, file by file, what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from workbench.core import outcomes
from workbench.core.errors import RunFormatError, WorkbenchError
from workbench.core.run import Problem, Run
from workbench.core.tables import TABLES


def validate(path: str | Path) -> list[Problem]:
    """Everything wrong with a run folder; empty when it is sound.

    Checks run.json, every Parquet part down to its data, every array and checkpoint, and that the tables agree with one
    another: tasks and domains are declared, predictions and embeddings point at samples that exist.
    """
    folder = Path(path)
    try:
        run = Run(folder)
    except RunFormatError as error:
        return [Problem(folder / "run.json", str(error))]
    run.drop_damaged_parts()
    found = run.problems
    found += _unknown_tables(run)
    found += _arrays(run)
    for check in (_undeclared, _dangling, _embedding_rows, _outcomes):
        found += check(run)
    return found


def _unknown_tables(run: Run) -> list[Problem]:
    folders = sorted(folder for folder in (run.path / "tables").glob("*") if folder.is_dir())
    return [
        Problem(folder, "not a table of the run format; ignored") for folder in folders if folder.name not in TABLES
    ]


def _arrays(run: Run) -> list[Problem]:
    from safetensors import SafetensorError, safe_open

    found = []
    files = [*run.path.glob("arrays/*/*.safetensors"), *run.path.glob("checkpoints/*.safetensors")]
    for file in sorted(files):
        try:
            with safe_open(file, framework="numpy") as tensors:
                for key in tensors.keys():  # noqa: SIM118  # safe_open is not a mapping
                    tensors.get_slice(key).get_shape()
        except (SafetensorError, OSError, ValueError) as error:
            found.append(Problem(file, f"damaged ({error})"))
    return found


#: (table, column, field of run.json): names in the column should be declared in the field.
_DECLARED = (
    ("task_gradients", "task_a", "tasks"),
    ("predictions", "task", "tasks"),
    ("samples", "domain", "domains"),
    ("label_counts", "dataset", "datasets"),
    ("embeddings", "layer", "layers"),
)


def _undeclared(run: Run) -> Iterator[Problem]:
    for table, column, kind in _DECLARED:
        if not run.has(table):
            continue
        declared = {getattr(entry, "name", entry) for entry in getattr(run.info, kind)}
        if table == "task_gradients":  # domains and datasets may play the tasks
            declared |= {*run.domain_names, *run.dataset_names}
        names = run.query(f"SELECT DISTINCT {column} AS name FROM {table}")["name"].dropna()
        unknown = sorted(set(names) - declared - {""})
        if unknown:
            text = f"{table}.{column} names {_some(unknown)}, missing from '{kind}' in run.json"
            yield Problem(run.path / "tables" / table, text)


def _dangling(run: Run) -> Iterator[Problem]:
    if not run.has("samples"):
        return
    repeated = run.query("SELECT sample FROM samples GROUP BY sample HAVING count(*) > 1 ORDER BY sample")["sample"]
    if len(repeated):
        yield Problem(run.path / "tables" / "samples", f"sample ids occur more than once: {_some(list(repeated))}")
    for table in ("predictions", "embeddings"):
        if run.has(table):
            lost = run.query(
                f"SELECT DISTINCT sample FROM {table} WHERE sample NOT IN (SELECT sample FROM samples) ORDER BY sample"
            )["sample"]
            if len(lost):
                text = f"{table} points at {len(lost)} samples that the samples table lacks: {_some(list(lost))}"
                yield Problem(run.path / "tables" / table, text)


def _embedding_rows(run: Run) -> Iterator[Problem]:
    if not run.has("embeddings"):
        return
    index = run.query("SELECT DISTINCT layer, step FROM embeddings ORDER BY layer, step")
    for layer, step in index.itertuples(index=False):
        try:
            run.embedding(layer, int(step))
        except WorkbenchError as error:
            yield Problem(run.path / "arrays", str(error))


def _outcomes(run: Run) -> Iterator[Problem]:
    """Counts by class come in fours, one a class of the task."""
    given = [name for name in outcomes.COLUMNS if name in run.columns("predictions")]
    if not given:
        return
    where = run.path / "tables" / "predictions"
    if len(given) < len(outcomes.COLUMNS):
        yield Problem(where, f"counts by class need the columns {', '.join(outcomes.COLUMNS)}; only {_some([*given])}")
        return
    lengths = ", ".join(f"len({name})" for name in outcomes.COLUMNS)
    found = run.query(
        f"SELECT task, min(least({lengths})) AS low, max(greatest({lengths})) AS high FROM predictions "
        "WHERE tp IS NOT NULL GROUP BY task ORDER BY task"
    )
    declared = {task.name: len(task.classes) for task in run.info.tasks}
    for task, low, high in found.itertuples(index=False):
        if low != high:
            yield Problem(where, f"counts by class of task '{task}' differ in length: {low} to {high} classes")
        elif declared.get(task) not in (None, 0, high):
            yield Problem(where, f"task '{task}' has {declared[task]} classes in run.json, but counts of {high}")


def _some(values: list[object], most: int = 5) -> str:
    shown = ", ".join(str(value) for value in values[:most])
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")
