"""What the first picture must not wait for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.cli.app import FOLDERS_VARIABLE

HEAVY = ("torch", "umap", "captum", "sklearn", "numba", "skimage", "mlxtend")
OPEN_PAGES = """
import json, sys
from streamlit.testing.v1 import AppTest
from workbench.cli.app import app_script
app = AppTest.from_file(str(app_script()), default_timeout=120).run()
seen = {"runs": [name for name in sys.argv[1:] if name in sys.modules]}
app.query_params["run"] = "whole"
for page in ("overview", "conflict", "gsnr", "bias", "labels", "attribution"):
    app.switch_page(f"views/{page}.py").run()
    seen[page] = [name for name in sys.argv[1:] if name in sys.modules] + [item.value for item in app.exception]
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def loaded(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Which heavy packages each page had loaded, in a process of its own."""
    cache = str(tmp_path_factory.mktemp("cache"))
    environment = os.environ | {FOLDERS_VARIABLE: json.dumps([str(folder)]), "WORKBENCH_CACHE_DIR": cache}
    done = subprocess.run(
        [sys.executable, "-c", OPEN_PAGES, *HEAVY], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("page", ["runs", "overview", "conflict", "gsnr", "bias", "labels", "attribution"])
def test_pages_load_neither_torch_nor_other_heavy_packages(loaded: dict[str, list[str]], page: str):
    if page == "overview" or page in loaded:
        assert loaded[page] == []
