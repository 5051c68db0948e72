"""What a run on the road scenes writes: exact counts, scores of known maps, row cosines."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from workbench.core import Run
from workbench.demos.scenes import AVENUE, BOULEVARD, MERGED, SPACES, draw_scenes, true_contingency
from workbench.demos.scenes_draw import CONCEPTS
from workbench.demos.scenes_net import SceneNet, ious, label_maps
from workbench.demos.scenes_record import (
    main_thing,
    record_gradients,
    record_predicted_labels,
    record_rows,
    record_truth,
    region_counts,
)
from workbench.diagnostics.recorder import Recorder
from workbench.methods.uniseg import cross_entropy


class Oracle(SceneNet):
    """Answers every pixel with its true label in both label spaces; the true concepts hide in the first channel."""

    def forward(self, images):
        concepts = (images[:, 0] * 10).round().long()
        logits = torch.zeros(len(images), len(MERGED.names), *images.shape[2:])
        for k, name in enumerate(CONCEPTS):
            for space in SPACES:
                logits[:, MERGED.names.index(space.label_of[name])] += (concepts == k).float()
        for finer in ("sidewalk", "lane marking"):  # boulevard also knows the label that avenue folds them into
            logits[:, MERGED.names.index(finer)] += (concepts == CONCEPTS.index(finer)).float()
        return logits


def known(domain, n=6, seed=0):
    """Scenes whose images tell their concepts."""
    scenes = draw_scenes(domain, n, seed)
    scenes.images[:, 0] = scenes.concepts / 10
    return scenes


def test_regions_are_counted_to_the_pixel():
    regions = np.array([[[0, 0], [1, 1]], [[1, 1], [1, 1]]])
    labels = np.array([[[3, 4], [3, 3]], [[4, 4], [4, 3]]])
    found = region_counts(regions, labels)
    assert found.to_numpy().tolist() == [[0, 0, 3, 1], [0, 0, 4, 1], [0, 1, 3, 2], [1, 1, 3, 1], [1, 1, 4, 3]]


def test_joining_regions_gives_the_exact_contingency_of_two_annotations(tmp_path):
    parts = [known(domain) for domain in ("avenue", "boulevard", "coast")]
    with Recorder(tmp_path / "run") as rec:
        record_truth(rec, parts)
        record_predicted_labels(rec, 7, Oracle(), parts)
    joined = Run(tmp_path / "run").query(
        "SELECT said.label AS a, truth.label AS b, sum(said.weight) AS pixels FROM label_counts truth "
        "JOIN label_counts said USING (dataset, sample, region) "
        "WHERE dataset = 'boulevard' AND truth.source = 'truth' AND said.source = 'avenue' GROUP BY ALL"
    )
    expected = true_contingency(parts[1].concepts)
    assert joined["pixels"].sum() == expected.sum()
    for a, b, pixels in joined.itertuples(index=False):
        assert pixels == expected[AVENUE.labels.index(a), BOULEVARD.labels.index(b)]


def test_every_annotated_scene_keeps_its_own_sample_id(tmp_path):
    parts = [known("coast", 3), known("avenue", 2), known("boulevard", 4)]
    with Recorder(tmp_path / "run") as rec:
        record_truth(rec, parts)
    frame = Run(tmp_path / "run").table("label_counts")
    ids = {name: set(group["sample"]) for name, group in frame.groupby("dataset")}
    assert ids == {"avenue": {3, 4}, "boulevard": {5, 6, 7, 8}}
    assert frame.groupby("sample")["weight"].sum().nunique() == 1  # every scene has as many pixels


def test_a_perfect_answer_scores_one_and_a_half_right_label_its_share():
    scenes = known("boulevard")
    maps = label_maps(Oracle(), scenes.images)
    for space in SPACES:
        assert set(ious(maps[space.dataset], scenes.concepts, space).values()) == {1.0}
    # Two pixels of sky, one called road: sky 1 of 2, road 0 of 1; labels nobody uses are NaN.
    concepts = np.full((1, 1, 2), CONCEPTS.index("sky"))
    said = np.array([[[AVENUE.labels.index("sky"), AVENUE.labels.index("road")]]])
    found = ious(said, concepts, AVENUE)
    assert (found["sky"], found["road"]) == (0.5, 0.0)
    assert np.isnan(found["rider"])


def test_the_main_thing_is_the_one_with_most_pixels():
    empty = np.full((1, 2, 3), CONCEPTS.index("road"))
    street = empty.copy()
    street[0, 0] = CONCEPTS.index("car")
    street[0, 1, 0] = CONCEPTS.index("truck")
    assert main_thing(np.concatenate([street, empty])) == ["car", "none"]


@pytest.fixture
def losses():
    """A net and the cross-entropy of 8 scenes of each dataset."""
    torch.manual_seed(0)
    net, found = SceneNet(), {}
    for space in SPACES:
        scenes = draw_scenes(space.dataset, 8, seed=0)
        labels = torch.from_numpy(MERGED.annotate(scenes.concepts, space))
        found[space.dataset] = cross_entropy(net(torch.from_numpy(scenes.images)), labels)
    return net, found


def test_row_gradients_and_cosines_agree_with_the_recorded_gramian(tmp_path, losses):
    net, found = losses
    with Recorder(tmp_path / "run") as rec:
        record_rows(rec, 0, net, found, arrays=True)
        record_gradients(rec, 0, net, found, n_batches=4)
    run = Run(tmp_path / "run")
    gramian = run.gramians()[0]
    layers = [f"trunk.conv{i}" for i in (1, 2, 3, 4)]
    assert gramian.modules == (*layers, *(f"head[{label}]" for label in MERGED.names))
    rows = run.array("row_gradients", 0)
    a, b = (rows[space.dataset].astype(np.float64) for space in SPACES)
    products = gramian.plug_in()[4:]  # equal mini-batches: the plug-in product is that of the whole batch
    np.testing.assert_allclose(products[:, 0, 1], (a * b).sum(1), rtol=1e-4, atol=1e-9)
    scalars = run.table("scalars").set_index("tag")["value"]
    cosines = products[:, 0, 1] / np.sqrt(products[:, 0, 0] * products[:, 1, 1])
    np.testing.assert_allclose(
        [scalars[f"row_cosine/{label}"] for label in MERGED.names], cosines, rtol=1e-3, atol=1e-5
    )
