"""Figures of the GSNR lens draw what the statistics hold."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from synthetic_gsnr import gaussian, gsnr_run

from workbench.core import ConfigError
from workbench.lenses.base import read
from workbench.lenses.gsnr import LENS
from workbench.lenses.gsnr.figures import CENTRES, distribution, domains, generalisation, mask, modules, quantiles
from workbench.lenses.gsnr.statistics import statistics

TENSORS = ("conv.weight", "conv.bias", "fc.weight")


@pytest.fixture(scope="module")
def reading(tmp_path_factory):
    def gradients(progress, tensor, rng):
        return {name: gaussian(rng, 40, 60, 0.5 - 0.4 * progress) for name in ("day", "night")}

    path = tmp_path_factory.mktemp("gsnr") / "run"
    return read(gsnr_run(path, TENSORS, gradients, modules=["conv", "fc"], domains=["day", "night"]), LENS)


def test_every_view_that_applies_draws_something_on_any_ground(reading):
    for view in LENS.shown(reading.stats):
        figure = reading.figure(view.slug)
        assert figure.layout.title.text
        assert len(figure.data) > 0
        assert figure.layout.paper_bgcolor is None
        assert figure.layout.font.color is None


def test_distribution_shows_every_module_with_shares(reading):
    figure = distribution(reading.stats)
    heats = [trace for trace in figure.data if trace.type == "heatmap"]
    assert len(heats) == 2
    np.testing.assert_allclose(heats[0].z.sum(axis=0), 1.0)
    assert heats[0].z.shape == (len(CENTRES), 12)
    assert figure.layout.yaxis.title.text == "GSNR of a parameter"


def test_distribution_of_one_part_its_tensors_and_ridges(reading):
    stats = reading.stats
    assert len(distribution(stats, part="conv.bias").data) == 2
    assert len([t for t in distribution(stats, part="conv", tensors=True).data if t.type == "heatmap"]) == 2
    ridges = distribution(stats, part="fc", style="ridgeline")
    assert {trace.fill for trace in ridges.data} == {"toself"}


def test_quantiles_of_one_part_are_the_recorded_ones(reading):
    stats = reading.stats
    line = quantiles(stats, part="fc.weight").data[-1]
    expected = np.log10(stats.quantiles[:, stats.parts.index("fc.weight"), 2])
    np.testing.assert_allclose(line.y, expected)


def test_modules_and_tensors(reading):
    assert modules(reading.stats).data[0].z.shape == (2, 12)
    assert modules(reading.stats, tensors=True).data[0].z.shape == (3, 12)


@pytest.mark.parametrize(
    ("ratio", "since"),
    [((0.9, 0.4, 0.6, 0.3, 0.2), 30), ((0.9, 0.3, math.nan, 0.4, math.nan), 10), ((0.4, 0.4, 0.4, 0.4, 0.5), None),
     ((0.4,) * 5, 0), ((math.nan,) * 5, None)],
)  # fmt: skip
def test_the_step_is_marked_from_which_on_steps_mostly_fit_noise(reading, ratio, since):
    values = np.array([*ratio, *[ratio[-1]] * 7])
    stats = replace(reading.stats, osgr=values)
    assert stats.mostly_noise == since
    notes = [note.text for note in generalisation(stats).layout.annotations if "mostly fit noise" in note.text]
    assert notes == ([] if since is None else [f"from step {since} on, steps mostly fit noise"])


def test_mask_preview_at_a_ratio(reading):
    figure = mask(reading.stats, ratio=0.2)
    assert "20 %" in figure.layout.title.text
    assert figure.data[0].z.shape == (2, 12)
    with pytest.raises(ConfigError, match=r"0\.05"):
        mask(reading.stats, ratio=0.33)


def test_unknown_parts_name_what_there_is(reading):
    with pytest.raises(ConfigError, match=r"conv\.bias"):
        distribution(reading.stats, part="nothing")
    with pytest.raises(ConfigError, match="for modules"):
        domains(reading.stats, part="conv.bias")


def test_without_domains_the_figure_says_so(tmp_path):
    run = gsnr_run(tmp_path / "run", ["a.w"], lambda p, t, rng: gaussian(rng, 20, 10, 0.5), n_steps=3)
    assert "pass domains=" in domains(statistics(run)).layout.annotations[0].text


def test_tables_hold_every_part_and_step(reading):
    tables = reading.tables
    assert len(tables["Modules and parameters over training"]) == 12 * 6
    assert len(tables["Domains over training"]) == 12 * 2 * 3
    assert "predicted_ratio" in tables["One-step generalisation ratio"]
