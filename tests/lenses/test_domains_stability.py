"""A teacher that follows, and what a setting trades: what is read, intervals, figures, views."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.core import ConfigError, Run, RunWriter, WorkbenchError
from workbench.lenses import look
from workbench.lenses.domains.stability import ARRAY, DISTANCE, DISTILLATION, Sweep, recorded_sweep, teacher_of
from workbench.lenses.domains.stability_figures import stability_figure, sweep_plane, teacher_figure
from workbench.lenses.domains.stream import Stream, stream_of, sweep_of

OLD = np.array([[0.5, 0.7], [0.8, 1.0]])


def write_log(path, *, tasks=2, distil=True, sweep=True, scale=1.0):
    """Logged accuracies of tasks learned one after the other, a teacher, and a sweep of two values."""
    with RunWriter(path, name=path.name, config={"sweep": "memory"}) as rec:
        for t in range(tasks):
            values = {f"accuracy/task {u + 1}": scale * (0.9 if u == t else 0.6) for u in range(t + 1)}
            rec.scalars((t + 1) * 10, values)
        for step in range(0, 10 * tasks, 5):
            rec.scalars(step, {DISTANCE: 0.01 * step} | ({DISTILLATION: 0.2} if distil else {}))
        if sweep:
            sides = {"old/seen": OLD, "new/seen": OLD + 0.0, "old/away": OLD / 2, "new/away": OLD / 2}
            rec.array(ARRAY, 10 * tasks, {"values": np.array([0.0, 0.5]), **sides})
    return Run(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("stability") / "run")


def test_the_teacher_is_read_in_order(run):
    rows = teacher_of(run)
    distance = rows[rows["quantity"] == DISTANCE]
    assert distance["step"].tolist() == [0, 5, 10, 15]
    assert distance["value"].tolist() == pytest.approx([0.0, 0.05, 0.1, 0.15])
    assert set(rows["quantity"]) == {DISTANCE, DISTILLATION}


def test_a_sweep_is_read_by_value_repetition_and_scope(run):
    sweep = recorded_sweep(run)
    assert (sweep.setting, sweep.scopes, sweep.paired) == ("memory", ("away", "seen"), True)
    rows = sweep.points.set_index(["scope", "setting", "repetition"])["old"]
    assert rows["seen", "0.5", 1] == 1.0
    assert rows["away", "0", 0] == 0.25


def test_paired_intervals_leave_out_what_a_repetition_has_in_common():
    # Both values gain 0.2 from the first to the second repetition: nothing is left to doubt.
    points = recorded_points(OLD)
    paired = Sweep("memory", points, paired=True).means("seen")
    assert paired["old"].tolist() == pytest.approx([0.6, 0.9])
    assert paired["old_half"].tolist() == pytest.approx([0.0, 0.0], abs=1e-9)
    # Alone, two values 0.2 apart have a standard error of 0.1, and t with one degree of freedom is 12.706.
    alone = Sweep("memory", points).means("seen")
    assert alone["old_half"].tolist() == pytest.approx([1.2706, 1.2706], rel=1e-3)
    single = Sweep("memory", points[points["repetition"] == 0]).means("seen")
    assert single["old_half"].isna().all()


def recorded_points(old):
    rows = [
        {"setting": f"{v}", "scope": "seen", "repetition": r, "old": old[v, r], "new": old[v, r]}
        for v, r in np.ndindex(*old.shape)
    ]
    return pd.DataFrame(rows)


def test_paired_intervals_of_a_difference_cover_it():
    """Two settings whose true difference is 0.1: with Morey's correction, half of the interval of the difference is
    the length of the two halves in squares, and it covers about 95 times in 100."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        base = rng.normal(0, 0.3, size=5)
        old = 0.5 + base + 0.02 * rng.normal(size=(2, 5)) + np.array([[0.0], [0.1]])
        means = Sweep("memory", recorded_points(old), paired=True).means("seen")
        half = float(np.hypot(*means["old_half"]))
        hits += abs(means["old"].diff().iloc[1] - 0.1) <= half
    assert 0.92 * 400 <= hits <= 0.98 * 400


def test_arrays_that_do_not_fit_are_no_sweep(tmp_path):
    with RunWriter(tmp_path / "odd", name="odd") as rec:
        rec.array(ARRAY, 1, {"values": np.arange(3.0), "old/seen": OLD, "new/seen": OLD})
    assert recorded_sweep(Run(tmp_path / "odd")) is None
    with RunWriter(tmp_path / "half", name="half") as rec:
        rec.array(ARRAY, 1, {"values": np.arange(2.0), "old/seen": OLD})
    assert recorded_sweep(Run(tmp_path / "half")) is None
    assert recorded_sweep(write_log(tmp_path / "none", sweep=False)) is None


def test_separate_runs_make_a_sweep(tmp_path):
    streams = {
        name: [stream_of(write_log(tmp_path / f"{name}-{scale}", scale=scale, sweep=False)) for scale in scales]
        for name, scales in {"low": (1.0, 0.9), "high": (0.5,)}.items()
    }
    sweep = sweep_of(streams, "decay")
    assert not sweep.paired
    means = sweep.means(sweep.scopes[0]).set_index("setting")
    assert means.loc["low", ["old", "new"]].tolist() == pytest.approx([0.6 * 0.95, 0.9 * 0.95])
    assert means.loc["high", ["old", "new", "n"]].tolist() == pytest.approx([0.3, 0.45, 1])
    longer = stream_of(write_log(tmp_path / "longer", tasks=3, sweep=False))
    with pytest.raises(WorkbenchError, match="equally many tasks"):
        sweep_of(streams | {"longer": [longer]}, "decay")


def test_the_figures_draw_what_was_read(run):
    stats = look(run, "domains").stats
    assert isinstance(stats, Stream)
    fig = teacher_figure(stats)
    assert list(fig.data[0].y) == pytest.approx([0.0, 5.0, 10.0, 15.0])  # percent
    assert list(fig.data[1].y) == pytest.approx([0.2] * 4)
    assert [note.text for note in fig.layout.annotations] == ["task 1", "task 2"]
    assert "logged no distillation loss" not in fig.layout.title.subtitle.text
    both = {trace.name: trace for trace in stability_figure(stats, domains="seen").data if trace.showlegend is None}
    assert list(both["earlier tasks, in the end"].y) == pytest.approx([60.0, 90.0])
    path = stability_figure(stats, domains="seen").data[-1]
    assert (list(path.x), list(path.text)) == (pytest.approx([60.0, 90.0]), ["0", "0.5"])
    with pytest.raises(ConfigError, match="There is no group of domains 'nowhere'"):
        sweep_plane(stats.sweep, "nowhere")


def test_the_views_are_offered_where_there_is_something_to_show(run, tmp_path):
    reading = look(run, "domains")
    assert {"teacher", "stability"} <= {view.slug for view in reading.lens.shown(reading.stats)}
    assert {"Teacher", "Old against new"} <= set(reading.tables)
    plain = look(write_log(tmp_path / "plain", distil=False, sweep=False), "domains")
    slugs = {view.slug for view in plain.lens.shown(plain.stats)}
    assert "teacher" in slugs
    assert "stability" not in slugs
    assert "logged no distillation loss" in plain.figure("teacher").layout.title.subtitle.text
    assert "decay-sweep" in plain.figure("stability").layout.annotations[0].text
