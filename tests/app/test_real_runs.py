"""Runs that other people's programs wrote open in the app, with a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench import open_runs

REAL = Path(__file__).resolve().parents[3] / "shared" / "real_runs"
FOLDERS = ("domainbed-vlcs-sweep", "huggingface-trainer", "lightning-mnist", "tensorboard-lightning")


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real runs is not beside this checkout")
@pytest.mark.parametrize("name", FOLDERS)
def test_a_real_folder_opens_with_a_picture(name, open_app):
    app = open_app(REAL / name, run=next(iter(open_runs(REAL / name)))).switch_page("views/overview.py").run()
    assert not app.exception
    assert app.get("plotly_chart")
