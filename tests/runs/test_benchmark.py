"""The benchmark of the readers measures what it says; its times are nobody's promise."""

from __future__ import annotations

from workbench.runs import benchmark


def test_every_approach_is_measured_in_every_round(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path))
    seconds = benchmark.run(points=500, tags=5, rounds=2)
    assert {"parse the event file", "open it again (from the cache)"} <= set(seconds)
    assert all(len(values) == 2 for values in seconds.values())
    table = benchmark.markdown({"parse the event file": (1.0, 2.0), "other": (3.0, 3.0)})
    assert "| other | 2.25 (1.88–2.62) |" in table
