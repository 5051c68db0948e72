"""Counts by class of labels and of label maps: what scikit-learn counts, whatever is given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix

from workbench.core import ConfigError, Run, RunWriter, validate
from workbench.core.outcomes import of_labels, of_maps

labels = arrays(int, st.tuples(st.integers(1, 6), st.integers(2, 5)), elements=st.integers(0, 1))


@given(labels, st.integers(0, 9))
def test_labels_are_counted_as_scikit_learn_does(true, seed):
    said = np.random.default_rng(seed).integers(0, 2, true.shape)
    found = of_labels(said, true)
    tn, fp, fn, tp = multilabel_confusion_matrix(true, said).reshape(-1, 4).T
    for name, expected in {"tp": tp, "fp": fp, "fn": fn, "tn": tn}.items():
        assert found[name].sum(axis=0).tolist() == expected.tolist()
    assert (sum(found.values()) == 1).all()


@given(arrays(int, (3, 4, 5), elements=st.integers(0, 2)), arrays(int, (3, 4, 5), elements=st.integers(0, 3)))
def test_maps_are_counted_as_scikit_learn_does(said, true):
    found = of_maps(said, true, 3, ignore=3)
    for i in range(3):
        kept = true[i] != 3
        table = confusion_matrix(true[i][kept], said[i][kept], labels=range(3)) if kept.any() else np.zeros((3, 3))
        assert found["tp"][i].tolist() == np.diagonal(table).tolist()
        assert (found["tp"] + found["fp"])[i].tolist() == table.sum(axis=0).tolist()
        assert (found["tp"] + found["fn"])[i].tolist() == table.sum(axis=1).tolist()
        assert (sum(found.values())[i] == kept.sum()).all()


def test_pictures_may_differ_in_size_and_be_tensors():
    import torch

    maps = [np.array([[0, 1]]), np.array([[1, 1, 1], [0, 0, 1]])]
    found = of_maps([torch.from_numpy(each) for each in maps], maps, 2)
    assert found["tp"].tolist() == [[1, 1], [2, 4]]
    assert of_labels(torch.ones(2, 3, dtype=torch.bool), torch.ones(2, 3))["tp"].sum() == 6


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(ConfigError, match=r"both be \[N, C\]; got \(2, 3\) and \(2, 2\)"):
        of_labels(np.ones((2, 3)), np.ones((2, 2)))
    with pytest.raises(ConfigError, match=r"predicted labels must be 0 or 1; found 0\.3"):
        of_labels(np.full((2, 2), 0.3), np.ones((2, 2)))
    with pytest.raises(ConfigError, match="true map of picture 0 holds 255"):
        of_maps(np.zeros((1, 2, 2)), np.full((1, 2, 2), 255), 3)
    with pytest.raises(ConfigError, match="picture 0 differ in shape"):
        of_maps([np.zeros((2, 2))], [np.zeros((2, 3))], 3)
    with pytest.raises(ConfigError, match="got 1 and 2"):
        of_maps(np.zeros((1, 2, 2)), np.zeros((2, 2, 2)), 3)


def record(path, classes, lists):
    tasks = [{"name": "tags", "kind": "multilabel", "classes": classes}, "digit"]
    with RunWriter(path, tasks=tasks) as writer:
        writer.samples({"sample": np.arange(4)})
        writer.predictions(1, "tags", sample=np.arange(4), **lists)
        writer.predictions(1, "digit", sample=np.arange(4), prediction=[1, 2, 3, 4])
    return path


def test_counts_are_recorded_beside_predictions_of_one_class(tmp_path):
    lists = of_labels(np.eye(4, 3), np.ones((4, 3)))
    path = record(tmp_path / "run", ("a", "b", "c"), lists)
    assert validate(path) == []
    rows = Run(path).query("SELECT * FROM predictions WHERE task = 'tags' ORDER BY sample")
    assert np.stack(rows["tp"].tolist()).tolist() == lists["tp"].tolist()
    assert rows["prediction"].isna().all()
    assert Run(path).query("SELECT sum(prediction) AS total FROM predictions")["total"][0] == 10


def test_validation_names_counts_that_do_not_fit(tmp_path):
    lists = of_labels(np.eye(4, 3), np.ones((4, 3)))
    (problem,) = validate(record(tmp_path / "few", ("a", "b"), lists))
    assert "task 'tags' has 2 classes in run.json, but counts of 3" in str(problem)
    (problem,) = validate(record(tmp_path / "gap", ("a", "b", "c"), lists | {"tn": [[1.0]] * 4}))
    assert "counts by class of task 'tags' differ in length: 1 to 3 classes" in str(problem)
    (problem,) = validate(record(tmp_path / "part", ("a", "b", "c"), {"tp": lists["tp"]}))
    assert "need the columns tp, fp, fn, tn; only tp" in str(problem)
