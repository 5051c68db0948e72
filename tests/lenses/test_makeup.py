import numpy as np
import pandas as pd
import pytest

from workbench.core import Run, RunWriter
from workbench.lenses.conflict.chosen import chosen_task
from workbench.lenses.conflict.chosen import chosen_words as conflict_words
from workbench.lenses.gsnr.chosen import chosen_words as gsnr_words
from workbench.lenses.labels.chosen_figure import chosen_labels
from workbench.lenses.makeup import COLUMNS, annotated, in_words, makeup, shares_of

N = 120
DOMAIN = np.where(np.arange(N) % 3 == 0, "night", "day")
TARGET = np.arange(N) % 4


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("makeup") / "run"
    with RunWriter(
        folder,
        tasks=[{"name": "digit", "classes": ["zero", "one", "two", "three"]}],
        domains=["day", "night"],
        datasets=[{"name": "city", "labels": ["road", "walk"]}],
        attributes=[{"name": "size", "kind": "continuous"}, {"name": "it's", "levels": ["a", "b"]}],
    ) as writer:
        columns = {"sample": np.arange(N), "domain": DOMAIN, "split": np.full(N, "test"), "dataset": np.full(N, "city")}
        columns |= {"target_digit": TARGET, "size": np.linspace(0, 1, N), "it's": np.where(TARGET < 2, "a", "b")}
        writer.samples(columns)
        for label, weight in (("road", 3.0), ("walk", 1.0)):
            held = np.arange(N) if label == "road" else np.flatnonzero(TARGET == 1)
            writer.label_counts(dataset="city", sample=held, label=np.full(len(held), label), weight=weight)
        writer.label_counts(dataset="city", sample=[0], label=["walk"], weight=99.0, source="highway")  # not annotated
    return Run(folder)


def test_levels_are_counted_among_the_chosen_and_among_all(run):
    chosen = np.flatnonzero((DOMAIN == "night") & (TARGET != 3))
    found = makeup(run, chosen.tolist())
    assert tuple(found.columns) == COLUMNS
    assert list(dict.fromkeys(found["column"])) == ["domain", "class", "it's"]  # one level and numbers left out
    plain = pd.DataFrame({"domain": DOMAIN, "class": np.array(["zero", "one", "two", "three"])[TARGET]})
    for column in plain:
        rows = found[found["column"] == column].set_index("level")
        assert rows["share_all"].to_dict() == pytest.approx(plain[column].value_counts(normalize=True).to_dict())
        counts = plain[column].iloc[chosen].value_counts().reindex(rows.index, fill_value=0)
        assert rows["n"].tolist() == counts.tolist()
        assert rows["share"].sum() == pytest.approx(1)
    assert found.iloc[0]["level"] == "night"  # the largest difference of its column comes first


def test_the_sentence_names_the_largest_differences(run):
    night = makeup(run, np.flatnonzero(DOMAIN == "night").tolist())
    assert in_words(night) == "More often than elsewhere: domain 'night' 100 % (of all samples 33 %)."
    zeros = in_words(makeup(run, np.flatnonzero(TARGET == 0).tolist()))
    assert zeros.index("class 'zero' 100 %") < zeros.index("it's 'a' 100 % (of all samples 50 %)")
    assert "mixed like all samples" in in_words(makeup(run, list(range(N))))


def test_a_run_without_samples_has_nothing_to_tell(tmp_path):
    with RunWriter(tmp_path / "bare") as writer:
        writer.scalars(0, {"loss": 1.0})
    bare = Run(tmp_path / "bare")
    assert makeup(bare, [1, 2]).empty
    assert annotated(bare, [1, 2]).empty
    assert "mixed like all samples" in in_words(makeup(bare, [1]))


def test_samples_that_the_run_does_not_hold_count_for_nothing(run):
    assert (makeup(run, [10**9])["n"] == 0).all()
    assert annotated(run, [10**9]).empty


def test_tasks_that_are_groups_are_found_by_name(run):
    found = makeup(run, [0, 3, 6, 1])  # three at night, one by day
    assert shares_of(found, ("day", "night", "dusk")) == {"night": 0.75, "day": 0.25}
    assert chosen_task(("day", "night"), found) == "night"
    assert "'night' holds 75 % of them and 'day' holds 25 % of them" in conflict_words(("day", "night"), found)
    assert chosen_task(("depth", "segmentation"), found) is None
    assert "by_group" in conflict_words(("depth", "segmentation"), found)


def test_domains_of_the_moments_are_named(run):
    found = makeup(run, [0, 3, 6])
    assert "100 % of them lie in 'night'" in gsnr_words(("day", "night"), found)
    assert "`domains=`" in gsnr_words((), found)
    assert shares_of(found, ("zero",), "domain") == {}


def test_annotations_are_compared_within_the_dataset(run):
    ones = np.flatnonzero(TARGET == 1)
    found = annotated(run, ones.tolist()).set_index("label")
    assert found.loc["walk", "share"] == pytest.approx(1 / 4)  # weight 1 of 3 + 1
    assert found.loc["walk", "share_all"] == pytest.approx(30 / (360 + 30))
    assert found.loc["road", "n"] == found.loc["walk", "n"] == len(ones)
    lines = chosen_labels(found.reset_index())
    everything, chosen = lines.data[-2:]
    assert dict(zip(chosen.y, chosen.x, strict=True))["walk (city)"] == pytest.approx(25)
    assert dict(zip(everything.y, everything.x, strict=True))["walk (city)"] == pytest.approx(100 * 30 / 390)
    assert "has an annotation here" in chosen_labels(found.iloc[:0].reset_index()).layout.annotations[0].text
