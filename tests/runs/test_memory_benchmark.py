"""Reading a log takes little memory over its size, once what the libraries take by themselves is subtracted."""

from __future__ import annotations

import pytest

from workbench.runs import memory_benchmark
from workbench.runs.formats import format_of


@pytest.mark.parametrize("name", memory_benchmark.LOGS)
def test_every_log_is_one_that_is_read(name, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))
    log = memory_benchmark.LOGS[name](tmp_path / "log", 0.01)
    assert format_of(log) is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", memory_benchmark.LOGS)
def test_a_log_is_never_twice_in_memory(name):
    size, ratio = memory_benchmark.measure(60.0, (name,))[name]
    assert size > 40
    # A packed row of a Parquet file is shorter than what its sample's number and description take.
    assert ratio < (4 if name == "Parquet of predictions" else 2)


def test_the_memory_of_a_large_log_is_measured():
    """The first points fill the buffers; what a log over that size adds is far less than the log."""
    name = "Lightning metrics.csv"
    ((size, ratio),) = memory_benchmark.measure(12.0, (name,)).values()
    fixed_megabytes = 80
    assert ratio * size < 2 * size + fixed_megabytes
    assert f"| {name} | {size:.0f} | {ratio:.2f} |" in memory_benchmark.markdown({name: (size, ratio)})
