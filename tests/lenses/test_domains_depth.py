import numpy as np
import pytest
from domains_runs import write_run

from workbench.core import Run, RunWriter
from workbench.lenses.domains.accuracy import answers_of
from workbench.lenses.domains.classifier import joint_error
from workbench.lenses.domains.points import cohort
from workbench.lenses.domains.statistics import DomainShift, statistics
from workbench.lenses.domains.verdicts import verdicts


@pytest.fixture(scope="module")
def stats(tmp_path_factory) -> DomainShift:
    folder = tmp_path_factory.mktemp("depth") / "run"
    shifts = {"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0, "far": 6.0}
    return statistics(write_run(folder, shifts=shifts, held_out=("far",), harm={"far": 0.5}), permutations=99)


def _skewed(folder, *, labels: bool = True) -> Run:
    """Two domains with the same images of a class, class shares 50:50 and 90:10, recalls 0.95 and 0.6 in both."""
    rng = np.random.default_rng(0)
    target = np.concatenate([np.repeat([0, 1], 200), np.repeat([0, 1], [360, 40])])
    right = rng.random(800) < np.where(target == 0, 0.95, 0.6)
    known = target.astype(float)
    if not labels:
        known[400:] = np.nan
    with RunWriter(
        folder, tasks=[{"name": "t", "classes": ["x", "y"]}], domains=["even", {"name": "skewed", "held_out": True}]
    ) as rec:
        rec.samples({"sample": np.arange(800), "domain": np.repeat(["even", "skewed"], 400), "target_t": known})
        values = rng.normal(size=(800, 4)) + 3 * target[:, None]
        rec.embedding(0, "trunk", values.astype(np.float32), np.arange(800))
        guess = np.where(right, target, 1 - target)
        rec.predictions(0, "t", sample=np.arange(800), prediction=guess, confidence=rng.uniform(0.5, 1, 800))
    return Run(folder)


def test_extreme_witnesses_belong_to_their_side(stats):
    rows = stats.depth.witness.query("compared == 'far' and layer == 'stem'").sort_values("witness")
    assert rows["of_domain"].tail(50).all()
    assert not rows["of_domain"].head(50).any()
    assert set(stats.samples.loc[rows["sample"][rows["of_domain"]], "domain"]) == {"far"}


def test_witnesses_of_equal_domains_centre_on_zero(stats):
    rows = stats.depth.witness.query("compared == 'a' and layer == 'stem'")
    sides = rows.groupby("of_domain")["witness"].mean()
    assert abs(sides[True] - sides[False]) < 0.02


def test_the_loss_of_the_far_domain_lies_within_its_classes(stats):
    row = stats.depth.split.set_index("domain").loc["far"]
    assert row["change"] == pytest.approx(row["label"] + row["conditional"], abs=1e-9)
    assert row["conditional_high"] < -0.3
    assert row["label_low"] <= 0 <= row["label_high"]


def test_another_mix_is_told_from_other_answers(tmp_path):
    found = statistics(_skewed(tmp_path / "run"), permutations=99)
    row = found.depth.split.set_index("domain").loc["skewed"]
    assert row["label_low"] > 0.05  # 0.4 · (0.95 - 0.6) = +14 points from the easier mix
    assert row["conditional_low"] <= 0 <= row["conditional_high"]
    mix = found.depth.class_mix.set_index(["domain", "class"]).loc["skewed"]
    assert mix.loc["x", "share"] == 0.9
    assert mix.loc["x", "low"] <= 0.9 <= mix.loc["x", "high"]
    assert mix["usable"].all()
    assert (mix["residual_p"] > 0.05).all()
    # The mix alone is no shift within classes, so the kernel test keeps silent.
    kernel = found.comparisons.query("measure == 'mmd2'")
    assert (kernel["p_adjusted"] > 0.05).all()
    parts = found.depth.mean_split.set_index(["domain", "part"])["p"]
    assert parts["skewed", "class mix"] <= 0.05
    assert parts["skewed", "within classes"] > 0.05


def test_an_estimate_whose_assumption_fails_is_marked(stats):
    far = stats.depth.class_mix.query("domain == 'far'")
    assert (far["residual_p"] <= 0.05).all()
    assert not far["usable"].any()
    assert stats.depth.class_mix.query("domain == 'a'")["usable"].all()


def test_a_domain_without_labels_gets_estimates_and_a_verdict(tmp_path):
    found = statistics(_skewed(tmp_path / "run", labels=False), permutations=99)
    rows = found.depth.estimates.query("domain == 'skewed'").set_index("method")
    assert set(rows.index) == {"atc", "doc", "agreement"}
    assert rows["accuracy"].isna().all()
    assert ((rows["low"] <= rows["estimate"]) & (rows["estimate"] <= rows["high"])).all()
    assert set(found.depth.class_mix["domain"]) >= {"skewed"}


def test_the_unlabelled_domain_is_named_with_its_estimate(tmp_path):
    run = _skewed(tmp_path / "run", labels=False)
    found = statistics(run, permutations=99)
    far = found.comparisons["excess"].abs().max() > 0
    assert far
    said = next(one for one in verdicts(found) if "no labels; its accuracy is estimated at" in one.sentence)
    assert "from the confidences" in said.sentence
    assert "agrees with the nearest class mean" in said.sentence
    assert said.value == found.depth.estimates.query("domain == 'skewed' and method == 'atc'")["estimate"].item()


def test_estimates_stand_beside_the_true_accuracy(stats):
    rows = stats.depth.estimates.set_index(["domain", "method"])
    assert {"atc", "doc", "agreement", "line"} == set(rows.loc["far"].index)
    assert rows.loc[("far", "atc"), "accuracy"] == pytest.approx(0.5, abs=0.12)
    assert rows.loc[("a", "doc"), "estimate"] == pytest.approx(0.95, abs=0.08)


def test_agreement_needs_no_confidences(tmp_path):
    run = write_run(tmp_path / "run", shifts={"a": 0.0, "b": 0.5}, harm={"b": 0.4}, n=200, confidences=False)
    rows = statistics(run, permutations=19).depth.estimates.set_index(["domain", "method"])
    assert set(rows.index.get_level_values("method")) == {"agreement"}
    harmed = rows.loc[("b", "agreement")]  # wrong at random: the class means, always right here, see it
    assert harmed["estimate"] == pytest.approx(0.6, abs=0.08)
    assert harmed["low"] <= harmed["accuracy"] <= harmed["high"]


def test_terms_of_the_bound(stats):
    row = stats.depth.bound.set_index("domain").loc["far"]
    pad = stats.comparisons.query("measure == 'pad' and domain_a == 'far' and domain_b == '(reference)'")
    last = pad[(pad["layer"] == "trunk") & (pad["step"] == 100)]
    assert row["half_distance"] == pytest.approx(0.5 * float(last["value"].iloc[0]))
    assert row["source_error"] == pytest.approx(0.05, abs=0.04)
    assert row["joint_error"] < 0.1  # the classes stay separable together


def test_swapped_classes_have_no_distance_and_a_large_joint_error():
    rng = np.random.default_rng(0)
    target, first = np.tile([0, 1], 200), np.repeat([True, False], 200)
    x = rng.normal(size=(400, 3)) + 6 * (target ^ first)[:, None]
    value, low, high = joint_error(x, target, first)
    assert value > 0.7  # two errors of about one half
    assert low < value < high
    assert joint_error(x, np.zeros(400, dtype=np.int64), first) is None


def test_similarity_compares_steps_of_a_layer_and_layers_of_the_last_step(stats):
    rows = stats.depth.similarity
    assert len(rows) == 2 + 1  # two layers over two steps, one pair of layers
    assert ((rows["low"] <= rows["cka"]) & (rows["cka"] <= rows["high"])).all()
    assert (rows["cka"] > 0.5).all()  # same class centres everywhere


def test_without_predictions_the_tables_are_empty_and_the_rest_stands(tmp_path):
    run = write_run(tmp_path / "run", shifts={"a": 0.0, "b": 3.0}, predictions=False, n=40)
    depth = statistics(run, permutations=19).depth
    assert depth.split.empty
    assert depth.estimates.empty
    assert depth.class_mix.empty
    assert depth.bound.empty
    assert not depth.witness.empty
    assert not depth.similarity.empty


def test_predictions_as_text_or_numbers_are_the_same_classes(tmp_path):
    for name, given in (("number", np.tile([1, 2], 30)), ("text", np.tile(["one", "two"], 30))):
        with RunWriter(tmp_path / name, tasks=["t"]) as rec:
            rec.samples({"sample": np.arange(60), "domain": np.repeat(["a", "b"], 30), "target_t": given})
            rec.embedding(0, "trunk", np.zeros((60, 2), dtype=np.float32), np.arange(60))
            rec.predictions(0, "t", sample=np.arange(60), prediction=given)
        run = Run(tmp_path / name)
        answers = answers_of(run, cohort(run), 0)
        assert answers.right.all()
        assert answers_of(run, cohort(run), -1) is None
