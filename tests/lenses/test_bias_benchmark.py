"""The benchmark measures approaches that agree."""

from __future__ import annotations

import pytest

from workbench.lenses.bias import benchmark, large_benchmark
from workbench.lenses.bias.statistics import statistics


def test_all_approaches_agree_on_the_same_data(tmp_path):
    frame = benchmark.draw(3000)
    stats = statistics(benchmark.write(tmp_path / "run", frame), details=False)
    ours = stats.groups.query("order == 2").set_index(["factors", "level_1", "level_2"])["value"]
    codes, value, low, high = benchmark._with_cube(frame)[1, 2]
    pairs = stats.groups.query("factors == 'blur × rotation'")
    assert codes.astype(str).tolist() == sorted(pairs[["level_1", "level_2"]].to_numpy().tolist())
    assert sorted(value) == pytest.approx(sorted(pairs["value"]))
    assert sorted(low) == pytest.approx(sorted(pairs["low"]))
    assert sorted(high) == pytest.approx(sorted(pairs["high"]))
    for names in benchmark.groupings()[4:]:
        pandas = benchmark._with_pandas(frame, names)
        fairlearn = benchmark._with_fairlearn(frame, names)
        assert fairlearn["accuracy"].tolist() == pytest.approx(pandas["accuracy"].tolist())
        assert fairlearn["tpr"].tolist() == pytest.approx(pandas["tpr"].tolist())
        for levels, value in pandas["accuracy"].items():
            assert ours[" × ".join(names), *map(str, levels)] == pytest.approx(value)


def test_the_table_names_every_approach():
    seconds = benchmark.run(sizes=(500,), rounds=2)
    table = benchmark.markdown(seconds)
    assert f"| {benchmark.OURS} | 500 | 1.00" in table
    assert len(table.splitlines()) == 2 + len(seconds)


def test_many_predictions_are_timed_from_files_with_and_without_details():
    seconds = large_benchmark.run(rows=3000, rounds=2)
    assert list(seconds) == [large_benchmark.BARE, large_benchmark.LENS, large_benchmark.DETAILS]
    assert all(len(rounds) == 2 for rounds in seconds.values())
    table = large_benchmark.markdown(seconds, rows=3000)
    assert len([line for line in table.splitlines() if line.startswith("|")]) == 5
    assert "3,000 predictions with 4 attributes" in table


def test_the_bare_query_counts_what_the_lens_counts(tmp_path):
    run = benchmark.write(tmp_path / "run", benchmark.draw(2000))
    calls = large_benchmark.approaches(run)
    bare, stats = calls[large_benchmark.BARE](), calls[large_benchmark.DETAILS]()
    assert bare["n"].sum() == stats.n
    assert bare["hits"].sum() / stats.n == pytest.approx(stats.overall)
    assert len(stats.by_class)
