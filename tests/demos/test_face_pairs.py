"""Pairs of faces: who is held against whom, scores by a mirrored embedding, rates by plain counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from workbench.core import Run, RunWriter, validate
from workbench.demos.face_pairs import TASK, describe_pairs, draw_pairs, record_pairs, results_of, similarity, task
from workbench.demos.faces import LEVELS

SHARES = {"pose": 0.3, "occlusion": 0.3, "blur": 0.3}


@pytest.fixture(scope="module")
def pairs():
    return draw_pairs(25, n_probes=4, n_impostors=12, shares=SHARES, rng=np.random.default_rng(0))


def embed(pictures):
    return pictures[:, 0, ::4, ::4].flatten(1)


def test_every_probe_meets_its_person_once_and_others_of_its_group(pairs):
    assert len(pairs.index) == 400 * 13
    assert pairs.genuine.sum() == 400
    assert pairs.genuine[:400].all()
    probe, enrolled = pairs.index.T
    assert (pairs.probes.levels["group"][probe] == pairs.enrolled.levels["group"][enrolled]).all()
    assert len({tuple(pair) for pair in pairs.index.tolist()}) == len(pairs.index)


def test_enrolled_pictures_are_plain(pairs):
    for factor in SHARES:
        assert set(pairs.enrolled.levels[factor]) == {LEVELS[factor][0]}


def test_similarity_is_that_of_both_mirror_images_and_blind_to_mirroring(pairs):
    similar = similarity(embed, pairs)
    assert similar.shape == (400, 100)
    both = [
        torch.cat(
            [embed(torch.from_numpy(image[None, None])), embed(torch.from_numpy(image[None, None, :, ::-1].copy()))]
        )
        for image in (pairs.probes.images[5], pairs.enrolled.images[7])
    ]
    expected = torch.nn.functional.cosine_similarity(both[0].flatten(), both[1].flatten(), dim=0)
    assert similar[5, 7] == pytest.approx(expected.item(), abs=1e-5)


def test_rates_of_a_perfect_and_of_a_blind_score(pairs):
    same = (pairs.probes.person[:, None] == pairs.enrolled.person).astype(float)
    noise = np.random.default_rng(1).normal(size=same.shape)
    perfect = results_of(same + 0.01 * noise, pairs)
    assert perfect["tar/far 0.01"] == perfect["rank-1"] == perfect["tar/worst"] == 1
    blind = results_of(noise, pairs)
    assert blind["tar/far 0.1"] == pytest.approx(0.1, abs=0.08)
    assert blind["rank-1"] < 0.1


def test_within_a_group_only_its_pictures_count(pairs):
    similar = similarity(embed, pairs)
    south = pairs.within("south")
    assert set(south.levels("group")) == {"south"}
    assert south.genuine.sum() == 100
    assert results_of(similar, south).keys() >= {"tar/far 0.1", "tar/south", "rank-1"}
    assert "tar/north" not in results_of(similar, south)


def test_recorded_pairs_are_described_and_scored(pairs, tmp_path):
    with RunWriter(tmp_path / "run", tasks=[task()], attributes=list(LEVELS)) as rec:
        describe_pairs(rec, pairs, list(LEVELS))
        record_pairs(rec, 3, similarity(embed, pairs), pairs)
    run = Run(tmp_path / "run")
    assert validate(tmp_path / "run") == []
    table = run.query("SELECT * FROM predictions JOIN samples USING (sample)")
    assert set(table["split"]) == {"test", "test impostors"}
    impostors = table["split"] == "test impostors"
    assert (table[f"target_{TASK}"] == 0).equals(impostors)
    assert table.loc[impostors, "prediction"].mean() == pytest.approx(0.01, abs=0.001)
    assert table["thumbnail"].notna().sum() == len(pairs.index) // 40
