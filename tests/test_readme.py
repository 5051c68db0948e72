"""What README.md shows is true: its Python runs as printed, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(5, 8), nn.ReLU())
        self.heads = nn.ModuleDict({"depth": nn.Linear(8, 2), "normals": nn.Linear(8, 2)})

    def forward(self, image):
        return {task: head(self.trunk(image)) for task, head in self.heads.items()}


def _names() -> dict[str, object]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(48, 5, generator=generator), torch.randint(2, (48,), generator=generator)

    def per_sample_losses(model, image, target):
        return {task: cross_entropy(out, target, reduction="none") for task, out in model(image).items()}

    loader = list(zip(x.split(16), y.split(16), strict=True))
    return {"loader": loader, "model": _Model(), "per_sample_losses": per_sample_losses}


@pytest.mark.parametrize("code", _blocks("python"), ids=lambda code: code.strip().splitlines()[0][:40])
def test_python_block_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), _names())  # our own README


def test_recording_as_shown_opens(tmp_path, monkeypatch):
    import workbench

    monkeypatch.chdir(tmp_path)
    code = next(code for code in _blocks("python") if "Recorder(" in code)
    exec(compile(code, "README.md", "exec"), _names())
    run = workbench.open_run("runs/mine")
    assert {"scalars", "task_gradients"} <= set(run.tables)
    assert workbench.verdicts(run)["conflict"].sentence


def test_the_commands_shown_exist():
    from workbench.cli import COMMANDS

    shown = set(re.findall(r"(?:^|\s|/)workbench ([a-z]+)", "\n".join(_blocks("sh"))))
    assert shown
    assert shown <= set(COMMANDS)


def test_the_test_command_is_the_one_that_ci_runs():
    command = next(line for line in "\n".join(_blocks("sh")).splitlines() if "pytest" in line and "slow" not in line)
    quiet = command.replace("pip install ", "pip install -q ")
    assert quiet in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_pictures_and_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert missing == []
