"""The benchmark of the readers measures what it says; its times are nobody's promise."""

from __future__ import annotations

from workbench.runs import benchmark


def test_every_approach_is_measured_in_every_round(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path))
    seconds = benchmark.run(points=500, tags=5, rounds=2)
    assert {"parse the event file", "open it again (from the cache)"} <= set(seconds)
    assert all(len(values) == 2 for values in seconds.values())
    assert seconds[benchmark.MEMORY][0] > 0
    measured = {"parse the event file": (1.0, 2.0), "other": (3.0, 3.0)}
    measured |= {benchmark.FIRST: (4.0, 4.0), benchmark.AGAIN: (0.5, 0.5), benchmark.MEMORY: (1.5,)}
    table = benchmark.markdown(measured)
    assert "| other | 2.25 (1.88–2.62) |" in table
    assert "The second opening is 8.0 times as fast as the first." in table
    assert "holds 1.5 bytes more for each byte of the log" in table
