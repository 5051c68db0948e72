"""What each sample is judged by: the value that groups are compared by, for every kind of task.

A classification is right or wrong. A regression has its error. Where a prediction holds several classes (labels of one
sample, regions of one picture) the columns tp, fp, fn and tn of the predictions say how much of each class was found,
invented, missed and left alone; the value comes from these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from workbench.core import ConfigError
from workbench.core.outcomes import COLUMNS
from workbench.lenses.bias.cube import Selection, is_float, is_numeric, quoted

MetricName = Literal["accuracy", "iou", "dice", "label_accuracy", "exact", "pixel_accuracy", "error", "loss"]


@dataclass(frozen=True)
class Metric:
    """A value that every sample has.

    Attributes:
        title: As on an axis.
        says: A sentence's verb with a place for the value: "Samples with blur = strong …".
        counted: Each sample's value is 0 or 1, so that Wilson's interval and Fisher's test hold.
        share: A fraction of what is right, from 0 to 1, more is better; else an error, from 0 on, less is better.
        position: Of the class that it is about, from 0; None for all classes.
    """

    name: MetricName
    title: str
    says: str
    counted: bool = False
    share: bool = True
    position: int | None = None


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy", "are predicted right in {} of cases", counted=True),
        Metric("iou", "IoU (Jaccard index)", "have a mean IoU of {}"),
        Metric("dice", "Dice (F1)", "have a mean Dice of {}"),
        Metric("label_accuracy", "labels predicted right", "have {} of their labels predicted right"),
        Metric("exact", "all labels right", "have all labels predicted right in {} of cases", counted=True),
        Metric("pixel_accuracy", "pixel accuracy", "have {} of their pixels predicted right"),
        Metric("error", "mean absolute error", "are off by {} on average", share=False),
        Metric("loss", "mean loss", "have a mean loss of {}", share=False),
    )
}
ACCURACY, LOSS = METRICS["accuracy"], METRICS["loss"]

#: Metrics from tp, fp, fn and tn, by the kind of task; the first is the default.
_OF_CLASSES: Mapping[str, tuple[MetricName, ...]] = {
    "multilabel": ("iou", "dice", "label_accuracy", "exact"),
    "segmentation": ("iou", "dice", "pixel_accuracy"),
}
#: Of these, what can be said of one class.
_OF_ONE_CLASS = ("iou", "dice", "label_accuracy")


def kind_of(selection: Selection) -> str:
    """The declared kind of the task; where none is, what its targets suggest."""
    for task in selection.run.info.tasks:
        if task.name == selection.task:
            return task.kind
    target = selection.sample_types.get(selection.target)
    return "regression" if target is None or is_float(target) else "classification"


def class_names(selection: Selection) -> tuple[str, ...]:
    """Names of the classes of a task whose predictions hold several; empty for other tasks.

    Classes without a name are numbered, as they are where the task declares fewer or more than were recorded.
    """
    if not set(COLUMNS) <= set(selection.prediction_types) or kind_of(selection) not in _OF_CLASSES:
        return ()
    longest = selection.run.query(
        "SELECT max(len(tp)) AS n FROM predictions WHERE task = $task", {"task": selection.task}
    )["n"][0]
    if not longest > 0:  # none, or all of them missing
        return ()
    declared = next((task.classes for task in selection.run.info.tasks if task.name == selection.task), ())
    return declared if len(declared) == longest else tuple(str(i) for i in range(int(longest)))


def choices(selection: Selection, classes: Sequence[str]) -> tuple[MetricName, ...]:
    """What the task can be judged by, the default first."""
    kind, target = kind_of(selection), selection.sample_types.get(selection.target)
    found: list[MetricName] = []
    if classes:
        found += _OF_CLASSES[kind]
    elif kind == "classification" and target is not None:
        found.append("accuracy")
    numeric = target is not None and is_numeric(target) and is_numeric(selection.prediction_types["prediction"])
    if _has_losses(selection):
        found.append("loss")
    if kind == "regression" and numeric:
        found.append("error")
    return tuple(found)


def of_one_class(offered: Sequence[MetricName]) -> tuple[MetricName, ...]:
    """Those that can be said of one class."""
    return tuple(name for name in offered if name in _OF_ONE_CLASS)


def _has_losses(selection: Selection) -> bool:
    sql = "SELECT EXISTS(SELECT 1 FROM predictions WHERE task = $task AND isfinite(loss)) AS found"
    return bool(selection.run.query(sql, {"task": selection.task})["found"][0])


def metric_of(
    selection: Selection, name: str | None, label: str | None, classes: Sequence[str], offered: Sequence[MetricName]
) -> Metric:
    """The metric of that name, of one class where ``label`` names one; the default without a name.

    Raises:
        ConfigError: the task cannot be judged by it, or has no such class.
    """
    if label is None:
        return METRICS[_chosen(selection, name, offered)]
    if label not in classes:
        known = ", ".join(classes) or "none: its predictions hold one class each"
        raise ConfigError(f"Task '{selection.task}' has no class '{label}' to study alone. Classes: {known}.")
    single = of_one_class(offered)
    if name not in (None, *single):
        raise ConfigError(f"One class alone cannot be judged by '{name}'. It can be by: {', '.join(single)}.")
    metric = METRICS[_chosen(selection, name, single)]
    counted = kind_of(selection) == "multilabel"
    says = f"{metric.says} for '{label}'"
    if counted and metric.name == "label_accuracy":
        says = f"have '{label}' predicted right in {{}} of cases"
    return replace(
        metric, title=f"{metric.title} of '{label}'", says=says, counted=counted, position=classes.index(label)
    )


def _chosen(selection: Selection, name: str | None, offered: Sequence[MetricName]) -> MetricName:
    if name is None:
        return offered[0] if offered else "loss"
    if name in METRICS and (
        name in (*offered, "loss") or (name == "accuracy" and selection.target in selection.sample_types)
    ):
        return METRICS[name].name
    if name == "accuracy":
        raise ConfigError(
            f"Accuracy of '{selection.task}' needs the column '{selection.target}' in the samples table. "
            "Record it, or use the metric 'loss'."
        )
    raise ConfigError(
        f"Task '{selection.task}' cannot be judged by '{name}'. It can be by: {', '.join(offered) or 'nothing'}."
    )


def value_sql(selection: Selection, metric: Metric) -> str:
    """SQL of the per-sample value over ``p`` (predictions) and ``s`` (samples); NULL where there is none."""
    if metric.name == "loss":
        return "CASE WHEN isfinite(p.loss) THEN p.loss END"
    if metric.name == "error":
        value = f"abs(p.prediction - s.{quoted(selection.target)})"
        return f"CASE WHEN NOT {selection.missing(selection.target)} AND isfinite({value}) THEN {value} END"
    if metric.name == "accuracy":
        return _right(selection)
    return _of_one(metric) if metric.position is not None else _of_all(selection, metric)


def _right(selection: Selection) -> str:
    """1 or 0 for right or wrong."""
    target, kind = f"s.{quoted(selection.target)}", selection.sample_types[selection.target]
    if is_numeric(kind) == is_numeric(selection.prediction_types["prediction"]):
        equal = f"p.prediction = {target}"
    else:
        equal = f"CAST(p.prediction AS VARCHAR) = CAST({target} AS VARCHAR)"
    return f"CASE WHEN {selection.missing(selection.target)} THEN NULL WHEN {equal} THEN 1 ELSE 0 END"


def _of_one(metric: Metric) -> str:
    """Of one class: IoU and Dice only of samples that hold it or were said to."""
    k = (metric.position or 0) + 1
    tp, fp, fn, tn = (f"p.{name}[{k}]" for name in COLUMNS)
    if metric.name == "label_accuracy":
        return f"({tp} + {tn}) / nullif({tp} + {fp} + {fn} + {tn}, 0)"
    weight = 2 if metric.name == "dice" else 1
    return f"{weight} * {tp} / nullif({weight} * {tp} + {fp} + {fn}, 0)"


def _of_all(selection: Selection, metric: Metric) -> str:
    """Of all classes of a sample.

    Labels: IoU and Dice of the set of labels named and the set of true ones, 1 where both are empty (scikit-learn's
    ``average="samples"`` with ``zero_division=1``). Segmentation: the mean over the classes that the picture holds or
    was said to.
    """
    tp, fp, fn, tn = (f"list_sum(p.{name})" for name in COLUMNS)
    if metric.name == "exact":
        return f"CASE WHEN {fp} + {fn} = 0 THEN 1 WHEN {fp} + {fn} > 0 THEN 0 END"
    if metric.name == "label_accuracy" or (metric.name == "pixel_accuracy" and len(class_names(selection)) == 1):
        return f"({tp} + {tn}) / nullif({tp} + {fp} + {fn} + {tn}, 0)"
    if metric.name == "pixel_accuracy":  # every pixel has one true class
        return f"{tp} / nullif({tp} + {fn}, 0)"
    weight = 2 if metric.name == "dice" else 1
    if kind_of(selection) == "multilabel":
        return f"CASE WHEN {tp} + {fp} + {fn} = 0 THEN 1 ELSE {weight} * {tp} / ({weight} * {tp} + {fp} + {fn}) END"
    each = f"{weight} * p.tp[k] / nullif({weight} * p.tp[k] + p.fp[k] + p.fn[k], 0)"
    return f"list_avg(list_transform(range(1, len(p.tp) + 1), lambda k: {each}))"
