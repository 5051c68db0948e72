"""Tasks learned one after the other on the domains page: a log of accuracies alone, and a run with embeddings."""

from __future__ import annotations

import pytest


@pytest.fixture
def logs(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "logs"
    folder.mkdir()
    line = {"model": "er", "seed": 1, "accmean_task1": 90.0, "accmean_task2": 60.0}
    line |= {"accuracy_1_task1": 90.0, "accuracy_1_task2": 40.0, "accuracy_2_task2": 80.0}
    (folder / "logs.pyd").write_text(f"{line}\n")
    return folder


def test_a_log_of_accuracies_per_task_opens_on_the_domains_page(logs, open_app):
    app = open_app(logs, run="logs.pyd/er-1")
    app.switch_page("views/domains.py").run()
    assert not app.exception
    assert "earlier tasks have lost 50\\.0 points" in " ".join(line.value for line in app.markdown)
    assert len(app.get("plotly_chart")) == 2
    app.switch_page("views/overview.py").run()
    assert not app.exception
