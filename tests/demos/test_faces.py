"""Drawn faces: the same for the same seed, each factor changes what it says, people differ more than photographs."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.demos.faces import GROUPS, LEVELS, SIZE, TRAITS, _covered, draw_levels, draw_people, photograph

COMMON = {"pose": "frontal", "occlusion": "clear", "blur": "sharp"}


def pictures(seed=0, n_people=12, each=6, **levels):
    rng = np.random.default_rng(seed)
    people = draw_people([list(GROUPS)[i % 4] for i in range(n_people)], rng)
    person = np.repeat(np.arange(n_people), each)
    chosen = {name: np.full(len(person), level) for name, level in (COMMON | levels).items()}
    return photograph(people, person, chosen, rng)


def test_pictures_are_grey_and_the_same_for_the_same_seed():
    faces = pictures()
    assert faces.images.shape == (72, SIZE, SIZE)
    assert 0 <= faces.images.min() < faces.images.max() <= 1
    assert np.array_equal(faces.images, pictures().images)
    assert not np.array_equal(faces.images, pictures(1).images)


def test_two_pictures_of_one_person_differ_less_than_of_two_in_the_same_group():
    faces = pictures(each=8)
    flat = faces.images.reshape(len(faces), -1)
    distance = ((flat[:, None] - flat[None]) ** 2).mean(axis=-1)
    same = faces.person[:, None] == faces.person
    other = ~same & (faces.levels["group"][:, None] == faces.levels["group"])
    assert distance[same & (distance > 0)].mean() < 0.8 * distance[other].mean()


def test_blur_takes_away_detail():
    def detail(faces):
        return np.abs(np.diff(faces.images, axis=2)).mean()

    assert detail(pictures(blur="blurred")) < 0.8 * detail(pictures())


def test_a_turned_face_is_less_symmetric():
    def asymmetry(faces):
        return np.abs(faces.images - faces.images[:, :, ::-1]).mean()

    assert asymmetry(pictures(pose="turned")) > 1.2 * asymmetry(pictures())


def test_a_block_of_one_tone_covers_part_of_a_face_and_nothing_else():
    plain = pictures().images
    covered = _covered(plain, np.random.default_rng(0))
    changed = covered != plain
    share = changed.mean(axis=(1, 2))
    assert 0.08 < share.min() <= share.max() < 0.25
    for i in range(len(plain)):
        rows, columns = np.nonzero(changed[i])
        block = covered[i, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert np.ptp(block) == 0


def test_traits_of_a_group_vary_about_its_means():
    people = draw_people(["east"] * 4000, np.random.default_rng(0))
    means = people.traits.mean(axis=0)
    for trait, mean in GROUPS["east"].means.items():
        assert means[TRAITS.index(trait)] == pytest.approx(mean, abs=0.06)
    assert means[TRAITS.index("jaw")] == pytest.approx(0, abs=0.06)


def test_levels_are_drawn_by_their_shares_and_coded_in_order():
    levels = draw_levels(5000, {"pose": 0.3, "occlusion": 0.0, "blur": 1.0}, np.random.default_rng(0))
    assert (levels["pose"] == "turned").mean() == pytest.approx(0.3, abs=0.03)
    assert set(levels["occlusion"]) == {"clear"}
    assert set(levels["blur"]) == {"blurred"}
    faces = pictures(pose="turned")
    codes = faces.codes()
    assert codes.shape == (72, len(LEVELS))
    assert set(codes[:, 0]) == {1}
    assert [LEVELS["group"][code] for code in codes[:, 3]] == faces.levels["group"].tolist()
