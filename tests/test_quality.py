"""The rules that hold over the whole project: style, types, layers, light imports, whole registries."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("workbench", "app", "tests")
MAX_LINES = 420


def _tool(*command: str) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("lint-imports", "--no-cache")],
    ids=" ".join,
)
def test_tool_is_content(command):
    _tool(*command)


def _sources() -> list[Path]:
    return [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]


def test_no_file_is_too_long_to_read():
    long = {str(file.relative_to(ROOT)): n for file in _sources() if (n := file.read_text().count("\n")) > MAX_LINES}
    assert long == {}


def test_nothing_is_left_to_do():
    pattern = re.compile(r"\b(TODO|FIXME|XXX)\b|raise NotImplementedError")
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in _sources()
        if file != Path(__file__)
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []


def _modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys, json; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


HEAVY = {"torch", "umap", "captum", "sklearn", "skimage", "mlxtend", "numba", "matplotlib"}


@pytest.mark.parametrize(
    "code",
    [
        "import workbench",
        "import workbench.core",
        "import workbench as wb; wb.open_runs(wb.sample_runs()).frame()",
        "import workbench.lenses",
        "import workbench.demos; workbench.demos.RECIPES",
        "import importlib, workbench.cli; [importlib.import_module(m) for m in workbench.cli.COMMANDS.values()]",
    ],
)
def test_light_paths_load_nothing_heavy(code):
    assert _modules_after(code) & HEAVY == set()


def test_every_public_name_resolves():
    import workbench

    for name in workbench.__all__:
        assert getattr(workbench, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        workbench.nothing  # noqa: B018


def test_every_lens_folder_is_in_the_tuple():
    from workbench.lenses import LENSES

    folders = {path.parent.name for path in (ROOT / "workbench" / "lenses").glob("*/__init__.py")}
    assert {lens.slug for lens in LENSES} == folders
    for lens in LENSES:
        assert lens.title.endswith("?")
        assert lens.doc.strip().splitlines()[0].endswith("?")
        assert lens.views
        assert len({view.slug for view in lens.views}) == len(lens.views)


def test_every_method_file_is_in_the_tuple():
    from workbench.methods import METHODS

    # A leading underscore: what several methods share.
    files = {path.stem for path in (ROOT / "workbench" / "methods").glob("*.py") if not path.stem.startswith("_")}
    assert set(METHODS) == files


def test_every_recipe_folder_is_in_the_tuple():
    from workbench.demos import RECIPES

    folders = {path.parent.name for path in (ROOT / "workbench" / "demos" / "recipes").glob("*/__init__.py")}
    assert {recipe.name.replace("-", "_") for recipe in RECIPES} == folders


def test_the_top_level_is_small():
    expected = {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "CITATION.cff", ".gitignore", ".ci"}
    expected |= {"app", "workbench", "notebooks", "sample_runs", "tests"}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert {line.split("/")[0] for line in listed.stdout.splitlines()} <= expected


def test_the_project_names_no_machine_path():
    pattern = re.compile(r"/work/|/root/|\.\./shared(?!/real_runs)|pypi\.org|pythonhosted")
    files = [*_sources(), *ROOT.glob("*.md"), *ROOT.glob("*.toml"), *(ROOT / "notebooks").glob("*.ipynb")]
    files += [ROOT / "constraints.txt", *(ROOT / "sample_runs").rglob("*.json"), *(ROOT / "sample_runs").rglob("*.md")]
    found = [
        str(file.relative_to(ROOT)) for file in files if file != Path(__file__) and pattern.search(file.read_text())
    ]
    assert found == []
