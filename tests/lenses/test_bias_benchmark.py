"""The benchmark measures approaches that agree."""

from __future__ import annotations

import pytest

from workbench.lenses.bias import benchmark
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
