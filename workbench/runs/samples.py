"""Where the sample runs are: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from workbench.core import RunFormatError

_PACKAGE = Path(__file__).resolve().parents[1]


def sample_runs() -> Path:
    """The folder of the recorded sample runs. Raises RunFormatError when the installation lacks them."""
    for folder in (_PACKAGE / "_sample_runs", _PACKAGE.parent / "sample_runs"):
        if folder.is_dir():
            return folder
    raise RunFormatError(
        "The sample runs are not installed. Record them with: workbench train digit-pairs --out sample_runs/digit-pairs"
    )
