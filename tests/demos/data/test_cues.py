"""Digits with a cue: disjoint, as reliable as said, and the same pictures wherever only the cue differs."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.demos.data.changes import rotate
from workbench.demos.data.cues import (
    CUELESS_SOURCES,
    CUELESS_TARGETS,
    INPUT_GROUPS,
    SEEN,
    SIZE,
    SOURCES,
    STRENGTH,
    TARGETS,
    TURNED,
    UNSEEN,
    cued,
    cued_domains,
)


@pytest.fixture(scope="module")
def domains():
    return cued_domains(np.random.default_rng(0))


def test_domains_have_the_stated_sizes_and_inputs(domains):
    sources, targets = domains
    assert {name: len(found) for name, found in sources.items()} == {name: spec.n for name, spec in SOURCES.items()}
    assert sum(map(len, sources.values())) + len(targets[UNSEEN]) == 1797
    for found in (*sources.values(), *targets.values()):
        assert found.inputs.shape[1] == sum(INPUT_GROUPS.values())
        assert found.pictures.min() >= 0
        assert found.pictures.max() <= 1
        cue = found.inputs[:, SIZE * SIZE :]
        assert ((cue == STRENGTH).sum(axis=1) == 1).all()
        assert (cue != 0).sum() == len(cue)


def test_both_targets_show_the_same_digits_which_no_source_holds(domains):
    sources, targets = domains
    assert np.array_equal(targets[SEEN].pictures, targets[UNSEEN].pictures)
    assert np.array_equal(targets[SEEN].labels, targets[UNSEEN].labels)
    upright = {picture.tobytes() for picture in sources["upright"].pictures}
    assert not upright & {picture.tobytes() for picture in targets[SEEN].pictures}


@pytest.mark.parametrize("reliability", [0.0, 0.1, 0.9])
def test_the_cue_is_right_as_often_as_stated(reliability):
    # A cue drawn by lot is right once in ten times. Four standard errors of 20,000 draws are below 0.015.
    labels = np.arange(20_000) % 10
    found = cued(np.zeros((20_000, SIZE, SIZE), np.float32), labels, reliability, np.random.default_rng(1))
    right = found.inputs[:, SIZE * SIZE :].argmax(axis=1) == labels
    assert right.mean() == pytest.approx(reliability + (1 - reliability) / 10, abs=0.015)


def test_in_the_target_the_cue_hardly_works_any_more(domains):
    sources, targets = domains
    shown = {
        name: (found.inputs[:, SIZE * SIZE :].argmax(axis=1) == found.labels).mean()
        for name, found in {**sources, **targets}.items()
    }
    assert min(shown[name] for name in (*SOURCES, SEEN)) > 0.8
    assert shown[UNSEEN] < 0.3
    assert TARGETS[UNSEEN].reliability == 0.1


def test_the_control_shows_the_same_digits_without_a_cue_and_turns_its_target(domains):
    sources, targets = cued_domains(np.random.default_rng(0), CUELESS_SOURCES, CUELESS_TARGETS)
    for found in (*sources.values(), *targets.values()):
        assert not found.inputs[:, SIZE * SIZE :].any()
    for name in SOURCES:  # the digits are dealt before any cue is drawn; upright ones come first
        assert sources[name].inputs.shape == domains[0][name].inputs.shape
    assert np.array_equal(sources["upright"].pictures, domains[0]["upright"].pictures)
    assert np.array_equal(targets[SEEN].labels, targets[TURNED].labels)
    assert not np.array_equal(targets[SEEN].pictures, targets[TURNED].pictures)
    # Upright digits and the same ones turned lie further apart than 30 degrees take them.
    turned = rotate(targets[SEEN].pictures, 30)
    apart = [np.square(targets[SEEN].pictures - other).mean() for other in (turned, targets[TURNED].pictures)]
    assert apart[1] > apart[0] > 0


def test_a_seed_decides_the_domains(domains):
    again, other = (cued_domains(np.random.default_rng(seed))[0]["upright"].inputs for seed in (0, 1))
    assert np.array_equal(again, domains[0]["upright"].inputs)
    assert not np.array_equal(again, other)
