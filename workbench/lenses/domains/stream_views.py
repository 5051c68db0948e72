"""The views and tables about tasks learned one after the other, offered only for runs that are such a stream."""

from __future__ import annotations

import pandas as pd

from workbench.lenses.base import View
from workbench.lenses.domains.stability_figures import has_sweep, has_teacher, stability_figure, teacher_figure
from workbench.lenses.domains.statistics import DomainShift
from workbench.lenses.domains.stream import Stream
from workbench.lenses.domains.stream_figures import (
    balance_figure,
    drift_figure,
    ignored_figure,
    kept_figure,
    measured_shift_figure,
    recency_figure,
    spectrum_figure,
    stream_in,
)


def stream_tables(stream: Stream) -> dict[str, pd.DataFrame]:
    """The numbers behind the views."""
    found = {"Kept of each task": stream.accuracy, "Average and forgetting": stream.summary}
    found |= {"Named tasks": stream.recency}
    if stream.geometry is not None:
        found |= {"Drift of classes": stream.geometry.drift, "Shift in the class's metric": stream.geometry.shift}
        found |= {"Spectrum of class metrics": stream.geometry.spectrum, "Ignored": stream.geometry.ignored}
    if not stream.teacher.empty:
        found |= {"Teacher": stream.teacher}
    if stream.sweep is not None:
        found |= {"Old against new": stream.sweep.points}
    return found


def _has_stream(stats: DomainShift | Stream) -> bool:
    return stream_in(stats) is not None


def _has_geometry(stats: DomainShift | Stream) -> bool:
    stream = stream_in(stats)
    return stream is not None and stream.geometry is not None


def _has_metrics(stats: DomainShift | Stream) -> bool:
    stream = stream_in(stats)
    return stream is not None and stream.geometry is not None and not stream.geometry.spectrum.empty


STREAM_VIEWS: tuple[View, ...] = (
    View("kept", "Kept and forgotten", kept_figure,
         "Accuracy on each task (across) after each further task (down): a column that darkens downwards is a task "
         "that fades.", applies=_has_stream),
    View("balance", "Known and lost", balance_figure,
         "Average accuracy in the end against forgetting on the way; a long line is a wide gap between domains.",
         applies=_has_stream),
    View("recency", "Leaning to new classes", recency_figure,
         "Which tasks' classes are named. A newest part that begins below the grey line means that old classes are "
         "called new ones.", applies=_has_stream),
    View("drift", "Drift of classes", drift_figure,
         "How far each class's centre has moved inside the model since it was learned; large where others were "
         "learned at its cost.", applies=_has_geometry),
    View("ignored", "What each class ignores", ignored_figure,
         "Whether a class's learned metric is blind to the directions in which domains move the class.",
         applies=_has_metrics),
    View("measured", "Shift in the metric", measured_shift_figure,
         "Each class in each domain: its shift against its spread, plainly and as its own metric sees it.",
         applies=_has_metrics),
    View("metrics", "Spectrum of metrics", spectrum_figure,
         "How many directions each class's metric uses.", applies=_has_metrics),
    View("teacher", "Teacher", teacher_figure,
         "How far the model runs ahead of its teacher, and the loss that holds it back. A loss near 0 all along "
         "means that the teacher teaches nothing.", applies=has_teacher),
    View("stability", "Old against new", stability_figure,
         "What a setting trades: accuracy on earlier tasks in the end and on each task just learned. Decide which "
         "value to train with.", applies=has_sweep),
)  # fmt: skip
