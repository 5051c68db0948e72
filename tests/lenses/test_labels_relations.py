"""From shares to relations, from relations to words; silence where label spaces agree."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_runs import COARSE, FINE, write_items, write_scenes

from workbench.core import ConfigError, MissingTable, Run, RunWriter
from workbench.lenses.labels import LENS
from workbench.lenses.labels.names import is_background, similarity
from workbench.lenses.labels.relations import rule
from workbench.lenses.labels.statistics import statistics


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return statistics(write_scenes(tmp_path_factory.mktemp("scenes") / "run", n=60))


def kinds(stats):
    rows = stats.relations.query("kind != 'unrelated'")
    return {(row.label_a, row.label_b): (row.kind, row.direction) for row in rows.itertuples()}


@pytest.mark.parametrize(
    ("b_given_a", "a_given_b", "expected"),
    [
        (0.8, 0.9, ("same", "")),
        (0.8, 0.3, ("part of", "a in b")),
        (0.1, 0.7, ("part of", "b in a")),
        (0.3, 0.6, ("overlaps", "")),
        (0.3, 0.1, ("unrelated", "")),
        (float("nan"), 0.9, ("part of", "b in a")),
    ],
)
def test_rule(b_given_a, a_given_b, expected):
    assert rule(b_given_a, a_given_b) == expected


@given(st.floats(0, 1), st.floats(0, 1))
def test_rule_mirrors_when_the_datasets_change_places(x, y):
    mirrored = {"a in b": "b in a", "b in a": "a in b", "": ""}
    kind, direction = rule(x, y)
    assert rule(y, x) == (kind, mirrored[direction])


def test_golden_table_merges_by_estimates_but_not_by_limits(tmp_path):
    stats = statistics(write_items(tmp_path / "run", [[40, 10], [5, 45]]))
    row = stats.relations.query("label_a == 'a1' and label_b == 'b1'").iloc[0]
    assert row["tentative"] == "same"
    assert (row["kind"], row["direction"]) == ("part of", "b in a")
    assert row["pending"]
    assert row["certainty"] == pytest.approx(0.7650, abs=1e-4)


def test_known_relations_are_found(scenes):
    assert kinds(scenes) == {
        ("background", "background"): ("part of", "b in a"),
        ("background", "sidewalk"): ("contradicts", "b in a"),
        ("road", "road"): ("part of", "b in a"),
        ("road", "lane"): ("contradicts", "b in a"),
        ("vehicle", "car"): ("part of", "b in a"),
        ("vehicle", "truck"): ("part of", "b in a"),
        ("person", "person"): ("same", ""),
    }
    assert not scenes.relations["explained"].any()


def test_verdict_names_the_contradicting_labels(scenes):
    first, *others = LENS.verdicts(scenes)
    assert first.level == "problem"
    assert first.sentence.startswith("2 labels contradict")
    assert "fine's 'sidewalk' is 'background' to coarse" in first.sentence
    assert "fine's 'lane' is 'road' to coarse" in first.sentence
    assert first.low < first.value < first.high
    assert {verdict.level for verdict in others} == {"watch"}
    assert any("coarse's 'vehicle' holds fine's 'car' and 'truck'" in verdict.sentence for verdict in others)


def test_equal_label_spaces_stay_silent(tmp_path):
    for seed in range(12):
        run = write_scenes(tmp_path / str(seed), {"one": FINE, "two": FINE}, n=40, accuracy=0.85, seed=seed)
        assert {verdict.level for verdict in LENS.verdicts(statistics(run))} <= {"fine", "cannot tell"}


def test_few_samples_are_pending(tmp_path):
    stats = statistics(write_scenes(tmp_path / "run", n=4))
    verdicts = LENS.verdicts(stats)
    assert all(verdict.level == "cannot tell" for verdict in verdicts)
    assert "related, but the samples are too few" in verdicts[-1].sentence


def test_confusion_at_home_is_no_disagreement(tmp_path):
    # Both heads take truck for car; both datasets annotate truck.
    with RunWriter(tmp_path / "run") as writer:
        for at, dataset in enumerate(("A", "B")):
            ids = list(range(200 * at, 200 * at + 200))
            writer.label_counts(dataset=dataset, sample=ids, label=["car", "truck"] * 100)
            for head in ("A", "B"):
                writer.label_counts(dataset=dataset, sample=ids, label=["car", "car"] * 100, source=head)
    stats = statistics(Run(tmp_path / "run"))
    row = stats.relations.query("label_a == 'car' and label_b == 'truck'").iloc[0]
    assert row["kind"] == "contradicts"
    assert row["explained"]
    (verdict,) = [v for v in LENS.verdicts(stats) if "make such confusions" in v.sentence]
    assert verdict.level == "cannot tell"


def test_one_name_for_two_things_is_watched(tmp_path):
    swapped = FINE | {"car": "truck", "truck": "car"}
    stats = statistics(write_scenes(tmp_path / "run", {"one": FINE, "two": swapped}, n=40))
    sentences = [verdict.sentence for verdict in LENS.verdicts(stats)]
    assert any("both use the name 'car', but disagree on" in s or "both use the name 'truck'" in s for s in sentences)


def test_names_alone_are_a_guess(tmp_path):
    lists = [{"name": "A", "labels": ("Lane Markings", "car")}, {"name": "B", "labels": ("lane_marking", "person")}]
    RunWriter(tmp_path / "run", datasets=lists).close()
    stats = statistics(Run(tmp_path / "run"))
    assert list(stats.relations.query("kind == 'same'")["label_a"]) == ["Lane Markings"]
    (verdict,) = LENS.verdicts(stats)
    assert verdict.level == "cannot tell"
    assert "no dataset's head was run on another's samples" in verdict.sentence
    for view in LENS.views:
        assert view.figure(stats) is not None


@pytest.mark.parametrize(
    ("a", "b", "least", "most"),
    [("car", "cars", 1, 1), ("TrafficSign", "traffic sign", 1, 1), ("glass", "glass", 1, 1), ("sky", "person", 0, 0.5),
     ("traffic light", "traffic sign", 0.33, 0.9)],
)  # fmt: skip
def test_name_similarity(a, b, least, most):
    assert least <= similarity(a, b) <= most
    assert similarity(a, b) == similarity(b, a)


def test_background_names():
    assert is_background("Background")
    assert is_background("unlabeled")
    assert not is_background("ground")


def test_mistakes_get_one_clear_sentence(tmp_path, scenes):
    with RunWriter(tmp_path / "empty"):
        pass
    with pytest.raises(MissingTable, match="no table 'label_counts'"):
        statistics(Run(tmp_path / "empty"))
    run = write_items(tmp_path / "run", [[4, 1], [1, 4]])
    with pytest.raises(ConfigError, match="no label predictions at step 3"):
        statistics(run, step=3)
    with pytest.raises(ConfigError, match="Shares must be"):
        statistics(run, inside=0.1)
    with pytest.raises(ConfigError, match="No predictions across coast and fine. There are: coarse and fine"):
        scenes.pair("fine", "coast")
    alone = write_scenes(tmp_path / "alone", {"one": COARSE})
    (verdict,) = LENS.verdicts(statistics(alone))
    assert "nothing to compare them with" in verdict.sentence


def test_statistics_pickle(scenes):
    assert pickle.loads(pickle.dumps(scenes)).relations.equals(scenes.relations)
