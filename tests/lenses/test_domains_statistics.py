import pickle
import subprocess
import sys

import numpy as np
import pytest
from domains_runs import LAYERS, STEPS, write_run

from workbench.core import ConfigError, MissingTable, Run, RunWriter
from workbench.lenses.domains.statistics import REFERENCE, DomainShift, statistics

SHIFTS = {"a": 0.0, "b": 0.0, "near": 2.0, "far": 6.0}


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> DomainShift:
    folder = tmp_path_factory.mktemp("planted") / "run"
    return statistics(write_run(folder, shifts=SHIFTS, held_out=("far",), harm={"far": 0.5}), permutations=199)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory) -> DomainShift:
    folder = tmp_path_factory.mktemp("quiet") / "run"
    return statistics(write_run(folder, shifts=dict.fromkeys("abcd", 0.0)), permutations=199)


def _rows(stats: DomainShift, measure: str, layer: str = "stem", step: int = 100, other: str = REFERENCE):
    frame = stats.comparisons
    chosen = (frame["measure"] == measure) & (frame["layer"] == layer) & (frame["step"] == step)
    return frame[chosen & (frame["domain_b"] == other)].set_index("domain_a")


def test_every_layer_step_pair_and_measure_is_there(planted):
    frame = planted.comparisons
    assert set(frame["layer"]) == set(LAYERS)
    assert set(frame["step"]) == set(STEPS)
    assert len(frame) == 2 * (4 + 5) * (6 + 4)  # layers, measures of both steps, pairs and references
    assert not frame.duplicated(["layer", "step", "domain_a", "domain_b", "measure"]).any()
    assert (frame["n"] == 120).all()


@pytest.mark.parametrize("measure", ["mmd2", "frechet", "pad"])
def test_the_planted_order_of_distances_is_found(planted, measure):
    rows = _rows(planted, measure)
    assert rows["excess"].idxmax() == "far"
    assert rows.loc["far", "excess"] > rows.loc["near", "excess"] > rows.loc["a", "excess"]
    assert rows.loc["far", "p_adjusted"] < 0.05
    assert _rows(planted, measure, other="b").loc["a", "p_adjusted"] > 0.05


def test_the_shift_is_smaller_where_it_was_planted_smaller(planted):
    assert _rows(planted, "mmd2", "trunk").loc["far", "excess"] < _rows(planted, "mmd2", "stem").loc["far", "excess"]


def test_identical_domains_are_not_told_apart(quiet):
    assert (quiet.comparisons["p_adjusted"] > 0.01).all()
    assert (quiet.comparisons["p"] <= 0.05).mean() < 0.12
    assert quiet.mixing["value"].to_numpy() == pytest.approx(np.ones(len(quiet.mixing)), abs=0.15)
    assert (quiet.class_shift["p"] <= 0.05).mean() < 0.12


def test_proxy_distance_has_an_interval_and_the_others_a_null(planted):
    pad = planted.comparisons[planted.comparisons["measure"] == "pad"]
    assert ((pad["low"] <= pad["value"]) & (pad["value"] <= pad["high"])).all()
    assert planted.comparisons["null_high"].notna().all()


def test_the_reference_of_a_held_out_domain_is_training_only(planted):
    assert planted.reference_of("far") == ("a", "b", "near")
    assert planted.reference_of("a") == ("b", "near")  # neither itself nor the held-out domain


def test_accuracy_per_domain_counts_right_answers(planted):
    last = planted.accuracy[planted.accuracy["step"] == 100].set_index("domain")
    assert last.loc["far", "accuracy"] == pytest.approx(0.5, abs=0.12)
    assert last.loc["a", "accuracy"] == pytest.approx(0.95, abs=0.06)
    assert last.loc["far", "drop_low"] > 0.2
    assert last.loc["a", "drop_low"] < 0 < last.loc["a", "drop_high"]
    assert last.loc["far", "reference_accuracy"] == pytest.approx(
        last.loc[["a", "b", "near"], "accuracy"].mean(), abs=1e-12
    )


def test_mixing_falls_for_the_shifted_domain_only(planted):
    frame = planted.mixing
    inside = frame[(frame["scope"] == "within class") & (frame["layer"] == "stem") & (frame["step"] == 100)]
    inside = inside.set_index("domain")
    assert inside.loc["far", "value"] < 0.3
    assert inside.loc["far", "p"] <= 0.01
    assert inside.loc["a", "value"] > 0.7


def test_every_class_of_the_far_domain_moves_with_it(planted):
    frame = planted.class_shift
    far = frame[(frame["domain_a"] == "far") & (frame["domain_b"] == REFERENCE) & (frame["layer"] == "stem")]
    assert (far["p_adjusted"] < 0.05).all()
    assert (far["coherence"] > 0.9).all()
    assert set(far["class"]) == {f"class {i}" for i in range(4)}


def test_statistics_pickle_and_repeat_exactly(planted, tmp_path):
    again = pickle.loads(pickle.dumps(planted))
    assert again.comparisons.equals(planted.comparisons)
    run = write_run(tmp_path / "run", shifts=SHIFTS, held_out=("far",), harm={"far": 0.5})
    assert statistics(run, permutations=199).comparisons.equals(planted.comparisons)


def test_a_subsample_says_its_size(tmp_path):
    run = write_run(tmp_path / "run", shifts={"a": 0.0, "b": 4.0}, n=150)
    stats = statistics(run, max_points=120, permutations=99)
    assert stats.settings.at_most == 60
    assert (stats.comparisons["n"] == 60).all()
    assert len(stats.points["stem", 0].sample) == 300  # maps keep all points


def test_steps_and_layers_are_thinned_with_a_note(tmp_path):
    run = write_run(tmp_path / "run", shifts={"a": 0.0, "b": 4.0}, n=30, steps=(0, 1, 2, 3, 4), predictions=False)
    stats = statistics(run, max_steps=3, max_layers=1, permutations=19)
    assert stats.steps == (0, 2, 4)
    assert stats.layers == ("trunk",)
    assert any("3 of 5 checkpoints" in note for note in stats.notes)
    assert stats.accuracy.empty


def test_any_column_can_name_the_domains(tmp_path):
    run = write_run(tmp_path / "run", shifts={"a": 0.0, "b": 0.0})
    stats = statistics(run, by="ink", permutations=19)
    assert stats.domains == ("dark", "light")
    with pytest.raises(ConfigError, match="no column 'colour'"):
        statistics(run, by="colour")


def test_one_domain_is_said_in_words(tmp_path):
    run = write_run(tmp_path / "run", shifts={"only": 0.0})
    with pytest.raises(ConfigError, match=r"all 120 embedded samples of run 'synthetic' are of one domain \('only'\)"):
        statistics(run)


def test_a_small_domain_is_left_out_with_a_note(tmp_path):
    rng = np.random.default_rng(0)
    domain = np.repeat(["a", "b", "tiny"], [40, 40, 5])
    with RunWriter(tmp_path / "run") as rec:
        rec.samples({"sample": np.arange(85), "domain": domain})
        rec.embedding(0, "trunk", rng.normal(size=(85, 3)).astype(np.float32), np.arange(85))
    stats = statistics(Run(tmp_path / "run"), permutations=19)
    assert stats.domains == ("a", "b")
    assert any("'tiny' (5)" in note for note in stats.notes)
    assert stats.class_shift.empty
    assert set(stats.mixing["scope"]) == {"all"}


def test_domains_without_a_class_in_common_are_still_told_apart(tmp_path):
    rng = np.random.default_rng(0)
    target = np.repeat([0, 1], 60)
    with RunWriter(tmp_path / "run", tasks=["t"]) as rec:
        rec.samples({"sample": np.arange(120), "domain": np.repeat(["a", "b"], 60), "target_t": target})
        values = rng.normal(size=(120, 3)) + 4 * target[:, None]
        rec.embedding(0, "trunk", values.astype(np.float32), np.arange(120))
    assert _rows(statistics(Run(tmp_path / "run"), permutations=99), "mmd2", "trunk", 0)["p"].max() <= 0.02


def test_no_samples_table_says_how_to_record_it(tmp_path):
    with RunWriter(tmp_path / "run") as rec:
        rec.embedding(0, "trunk", np.zeros((5, 3), dtype=np.float32), np.arange(5))
    with pytest.raises(MissingTable, match=r"rec\.samples"):
        statistics(Run(tmp_path / "run"))


def test_rows_that_are_not_finite_are_left_out(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(80, 3)).astype(np.float32)
    values[:7] = np.nan
    with RunWriter(tmp_path / "run") as rec:
        rec.samples({"sample": np.arange(80), "domain": np.repeat(["a", "b"], 40)})
        rec.embedding(0, "trunk", values, np.arange(80))
    stats = statistics(Run(tmp_path / "run"), permutations=19)
    assert len(stats.points["trunk", 0].sample) == 73
    assert (stats.comparisons["n"] == 33).all()


def test_constant_embeddings_are_no_shift(tmp_path):
    with RunWriter(tmp_path / "run") as rec:
        rec.samples({"sample": np.arange(80), "domain": np.repeat(["a", "b"], 40)})
        rec.embedding(0, "trunk", np.ones((80, 3), dtype=np.float32), np.arange(80))
    assert (statistics(Run(tmp_path / "run"), permutations=19).comparisons["p"] > 0.05).all()


def test_training_samples_are_not_compared_with_fresh_ones(tmp_path):
    rng = np.random.default_rng(0)
    domain, split = np.tile(np.repeat(["a", "b"], 30), 2), np.repeat(["train", "test"], 60)
    with RunWriter(tmp_path / "run") as rec:
        rec.samples({"sample": np.arange(120), "domain": domain, "split": split})
        rec.embedding(0, "trunk", rng.normal(size=(120, 3)).astype(np.float32), np.arange(120))
    stats = statistics(Run(tmp_path / "run"), permutations=19)
    assert set(stats.samples["split"]) == {"test"}
    assert any("training split" in note for note in stats.notes)
    assert set(statistics(Run(tmp_path / "run"), split="train", permutations=19).samples["split"]) == {"train"}


def test_the_verdict_needs_no_heavy_package(tmp_path):
    write_run(tmp_path / "run", shifts={"a": 0.0, "b": 3.0}, n=30)
    code = (
        "import sys; from workbench.core import Run; from workbench.lenses import domains\n"
        f"stats = domains.statistics(Run({str(tmp_path / 'run')!r}), permutations=19); domains.verdicts(stats)\n"
        "print([name for name in ('torch', 'sklearn', 'scipy', 'umap', 'plotly') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    loaded = eval(done.stdout)
    assert not set(loaded) & {"torch", "sklearn", "scipy", "umap"}
