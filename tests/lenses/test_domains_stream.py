"""Tasks learned one after the other: accuracies from answers and from logs, intervals, views, the whole lens."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.core import Run, RunWriter
from workbench.core.continual import average_accuracy, forgetting
from workbench.lenses import lens, look
from workbench.lenses.domains.class_geometry import effective_rank, ignored_share
from workbench.lenses.domains.stream import ALL, SEEN, STAGE, UNSEEN, drawn_accuracy, is_stream, stream_of
from workbench.lenses.domains.stream_figures import plane, sweep_figure

STAGES = ("first", "second", "third")
STEPS = (10, 20, 30)
#: Share of right answers [learned, stage] that is planted in the seen domains; half of it in the unseen one.
PLANTED = np.array([[0.9, 0.0, 0.0], [0.7, 0.8, 0.0], [0.4, 0.6, 1.0]])
N = 40


def write_stream(path, *, embeddings=True, metrics=True, before=False, n=N, moved=0.0):
    """Two classes a stage; class c of domain d in stage u is right in exactly the planted share of its n samples."""
    rng = np.random.default_rng(0)
    domains = ("here", "there", "away")
    stage, domain, i = (part.ravel() for part in np.meshgrid(range(3), range(3), range(n), indexing="ij"))
    target, ids = 2 * stage + i % 2, np.arange(len(stage))
    with RunWriter(
        path,
        name="stream",
        tasks=[{"name": "digit", "classes": [f"class {c}" for c in range(6)]}],
        domains=[{"name": name, "held_out": name == "away"} for name in domains],
        attributes=[{"name": STAGE, "kind": "ordered", "levels": STAGES}],
    ) as rec:
        named = np.array(domains)[domain]
        rec.samples(
            {"sample": ids, "domain": named, "split": "test", STAGE: np.array(STAGES)[stage], "target_digit": target}
        )
        for learned, step in enumerate(((0,) if before else ()) + STEPS, start=-1 if before else 0):
            share = np.where(domain == 2, 0.5, 1.0) * PLANTED[max(learned, 0), stage]
            right = i < np.round(share * n)
            newest = 2 * max(learned, 0) + 1 - target % 2  # never the sample's own class
            rec.predictions(step, "digit", sample=ids, prediction=np.where(right, target, newest))
            if embeddings and learned >= 0:
                centre = np.zeros((len(ids), 4))
                centre[:, 0] = 5.0 * target + moved * (learned - stage)
                centre[:, 1] = np.where(domain == 2, 3.0, 0.0)
                rec.embedding(step, "trunk", (centre + rng.normal(size=centre.shape)).astype(np.float32), ids)
                if metrics:
                    # Every class measures all directions but the second, in which the unseen domain differs.
                    factor = np.diag([1.0, 0.0, 1.0, 1.0]).astype(np.float32)
                    known = 2 * learned + 2
                    factors = {"factors": np.stack([factor] * known), "classes": np.arange(known)}
                    rec.array("class_metrics.trunk", step, factors)
    return Run(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_stream(tmp_path_factory.mktemp("stream") / "run", moved=2.0)


def test_the_planted_accuracies_come_back_in_every_domain(run):
    stream = stream_of(run)
    assert (stream.stages, stream.steps, stream.models) == (STAGES, STEPS, ("digit",))
    assert stream.scopes == (SEEN, UNSEEN, "here", "there", "away")
    planted = np.where(np.tri(3, dtype=bool), PLANTED, np.nan)
    np.testing.assert_allclose(stream.matrix("digit", "here"), planted)
    np.testing.assert_allclose(stream.matrix("digit", SEEN), planted)
    np.testing.assert_allclose(stream.matrix("digit", UNSEEN), planted / 2)
    row = stream.summary.set_index("scope").loc[SEEN]
    assert row["average"] == pytest.approx(2 / 3)
    assert row["forgetting"] == pytest.approx((0.5 + 0.2) / 2)
    assert row["n"] == 2 * 3 * N


def test_a_look_before_training_is_left_out_and_other_numbers_of_looks_say_nothing(tmp_path):
    assert stream_of(write_stream(tmp_path / "before", before=True, embeddings=False)).steps == STEPS
    run = write_stream(tmp_path / "short", embeddings=False)
    with RunWriter(tmp_path / "more", tasks=["digit"]) as rec:
        rec.samples(run.table("samples"))
        answers = run.table("predictions")
        for step in range(5):
            rec.predictions(step, "digit", sample=answers["sample"][:9], prediction=answers["prediction"][:9])
    assert is_stream(Run(tmp_path / "more"))
    assert stream_of(Run(tmp_path / "more")) is None


def test_the_intervals_cover_what_is_drawn_again():
    """95 % intervals of A and F over samples contain the truth; 1,500 trials gave 95.3 and 94.6 %."""
    rng = np.random.default_rng(5)
    hits, trials, n = {"A": 0, "F": 0}, 300, 60
    truth = np.tril(PLANTED)
    for _ in range(trials):
        rows = []
        for u in range(3):
            drawn = rng.random((n, 3)) < truth[:, u]
            patterns, counts = np.unique(drawn, axis=0, return_counts=True)
            for pattern, count in zip(patterns.astype(float), counts, strict=True):
                rows.append({"stage": u, "n": count, "t0": pattern[0], "t1": pattern[1], "t2": pattern[2]})
        _, _, draws = drawn_accuracy(pd.DataFrame(rows), 3)
        for name, measure in (("A", average_accuracy), ("F", forgetting)):
            low, high = np.quantile(measure(draws), [0.025, 0.975])
            hits[name] += low <= float(measure(truth)) <= high
    assert 0.92 * trials <= min(hits.values()) <= max(hits.values()) <= 0.98 * trials


def test_answers_that_lean_to_the_newest_classes_are_counted(run):
    recency = stream_of(run).recency
    rows = recency[(recency["scope"] == SEEN) & (recency["learned"] == 3)].set_index("stage")
    # All wrong answers name the third task: 0.6 of the first, 0.4 of the second, and its own third.
    assert rows["share"].tolist() == pytest.approx([0.4 / 3, 0.6 / 3, (0.6 + 0.4 + 1.0) / 3])
    assert rows["true_share"].tolist() == pytest.approx([1 / 3] * 3)
    assert recency.groupby(["scope", "learned"])["share"].sum().to_numpy() == pytest.approx(1.0)


def test_classes_drift_as_planted_in_radii(run):
    drift = stream_of(run).geometry.drift
    # The radius of four unit variances is 2, so 2 units a task are 1 radius; in the metric 2 / sqrt(3).
    first = drift[(drift["class"] == "class 0") & (drift["learned"] == 3)]
    assert first["drift"].mean() == pytest.approx(2.0, abs=0.3)
    assert first["in_metric"].mean() == pytest.approx(4 / 3**0.5, abs=0.35)
    assert (drift.loc[drift["learned"] == drift["stage"], "drift"] == 0).all()


def test_a_metric_blind_to_the_domain_ignores_it(run):
    geometry = stream_of(run).geometry
    assert geometry.ignored["ignored"].min() > 0.9
    assert geometry.ignored["chance"].tolist() == pytest.approx([0.25] * 6)
    away = geometry.shift[geometry.shift["domain"] == "away"]
    assert away["shift"].mean() == pytest.approx(1.5, abs=0.25)
    assert away["in_metric"].mean() < 0.35
    assert geometry.spectrum.groupby("class")["effective_rank"].first().tolist() == pytest.approx([3.0] * 6)


def test_effective_rank_and_ignored_share_by_hand():
    assert effective_rank(np.array([1.0, 1.0, 0.0])) == pytest.approx(2.0)
    assert effective_rank(np.array([4.0, 0.0])) == pytest.approx(1.0)
    assert np.isnan(effective_rank(np.zeros(3)))
    metric, between = np.diag([2.0, 0.0]), np.diag([1.0, 3.0])
    assert ignored_share(metric, between) == pytest.approx((1 - 2 / (2 * 4), 0.5))
    assert np.isnan(ignored_share(np.zeros((2, 2)), between)).all()


def test_the_lens_names_the_task_that_faded_and_offers_the_views(run):
    reading = look(run, "domains")
    said = " ".join(str(verdict) for verdict in reading.verdicts)
    assert "earlier tasks have lost 35.0 points of their best accuracy (95 % interval" in said
    assert "most of it 'first', 50 points" in said
    assert "In unseen domains all tasks together stand at 33 %" in said
    assert "67 % of the answers name classes of the last task" in said
    slugs = [view.slug for view in reading.lens.shown(reading.stats)]
    assert slugs[0] == "map"
    assert slugs[-7:] == ["kept", "balance", "recency", "drift", "ignored", "measured", "metrics"]
    for slug in slugs[-7:]:
        fig = reading.figure(slug)
        assert len(fig.data) >= 1
        assert fig.layout.title.text


def test_the_triangle_draws_the_chosen_scope(run):
    fig = look(run, "domains").figure("kept", scope="away")
    np.testing.assert_allclose(fig.data[0].z, np.where(np.tri(3, dtype=bool), 50 * PLANTED, np.nan))
    assert fig.layout.xaxis.title.text == "accuracy on"
    assert "forgetting: 17.5 points" in fig.layout.title.subtitle.text


def test_without_embeddings_the_stream_alone_is_shown(tmp_path):
    reading = look(write_stream(tmp_path / "run", embeddings=False), "domains")
    assert [view.slug for view in reading.lens.shown(reading.stats)] == ["kept", "balance", "recency"]
    assert "earlier tasks have lost 35.0 points" in reading.verdicts[0].sentence
    assert reading.figure().data[0].z.shape == (3, 3)
    assert set(reading.tables) == {"Kept of each task", "Average and forgetting", "Named tasks"}


def test_without_metrics_their_views_are_not_offered(tmp_path):
    reading = look(write_stream(tmp_path / "run", metrics=False), "domains")
    assert [view.slug for view in reading.lens.shown(reading.stats)][-4:] == ["kept", "balance", "recency", "drift"]


def log_of(path, tags, percent=True):
    with RunWriter(path, name="log") as rec:
        for (tag, step), value in tags.items():
            rec.scalars(step, {tag: 100 * value if percent else value})
    return Run(path)


def test_accuracies_logged_per_task_are_enough(tmp_path):
    tags = {(f"accuracy/task {u + 1}", t + 1): PLANTED[t, u] for t in range(3) for u in range(t + 1)}
    reading = look(log_of(tmp_path / "run", tags), "domains")
    np.testing.assert_allclose(reading.stats.matrix("accuracy", ALL), np.where(np.tri(3, dtype=bool), PLANTED, np.nan))
    assert "no interval: only accuracies were logged" in reading.verdict.sentence
    assert [view.slug for view in reading.lens.shown(reading.stats)] == ["kept", "balance", "recency"]
    assert reading.figure("balance").data[0].y[0] == pytest.approx(100 * 2 / 3)


def test_avalanche_counts_experiences_from_0_and_logs_future_ones_too(tmp_path):
    tags = {
        (f"Top1_Acc_Exp/eval_phase/test_stream/Task000/Exp{u:03d}", 500 * (t + 1)): PLANTED[t, u]
        for t in range(3)
        for u in range(3)
    }
    stream = stream_of(log_of(tmp_path / "run", tags, percent=False))
    assert stream.steps == (500, 1000, 1500)
    assert float(stream.summary["forgetting"].iloc[0]) == pytest.approx(0.35)


def test_curves_of_an_ordinary_run_are_no_stream(tmp_path):
    run = log_of(tmp_path / "run", {("accuracy/left", 1): 0.5, ("loss/task 1", 1): 0.2, ("accuracy/task 1", 1): 0.3})
    assert stream_of(run) is None


def test_models_of_several_runs_stand_in_one_plane(run):
    summary = stream_of(run).summary
    fig = plane(pd.concat([summary.assign(name="a"), summary.assign(name="b")]))
    assert [trace.name for trace in fig.data] == ["a", "b"]
    assert list(fig.data[0].x) == pytest.approx([35.0, 17.5])


def test_a_sweep_shows_both_sides_with_the_mean_of_each_setting():
    points = pd.DataFrame({"setting": ["0", "0", "1"], "old": [0.2, 0.4, 0.6], "new": [1.0, 0.9, 0.8]})
    fig = sweep_figure(points, "decay")
    means = {trace.name: list(trace.y) for trace in fig.data if trace.showlegend is None}
    assert means["earlier tasks"] == pytest.approx([30.0, 60.0])
    assert means["the last task"] == pytest.approx([95.0, 80.0])
    assert fig.layout.xaxis.title.text == "decay"


def test_no_two_views_share_an_address():
    slugs = [view.slug for view in lens("domains").views]
    assert len(set(slugs)) == len(slugs)
