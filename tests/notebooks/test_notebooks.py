"""Every notebook is a lesson in six parts, runs from top to bottom, and shows figures where it is read."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PARTS = ["Question", "Prediction", "Run", "Look", "Explain", "Exercises"]
PLOTLY = "application/vnd.plotly.v1+json"

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_there_is_a_notebook():
    assert NOTEBOOKS


def test_it_has_six_parts_and_folded_answers(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == PARTS
    assert "<details>" in text.split("## Exercises")[1]


def test_cells_are_short(notebook):
    assert max(cell.source.count("\n") for cell in notebook.cells if cell.cell_type == "code") < 25


def _figures(notebook) -> list[dict]:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output["data"][PLOTLY] for output in outputs if PLOTLY in output.get("data", {})]


def test_its_committed_outputs_are_whole(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert _figures(notebook)


def test_it_runs_from_top_to_bottom(notebook, tmp_path):
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    drawn = _figures(notebook)
    assert drawn
    assert all(figure["data"] for figure in drawn)
