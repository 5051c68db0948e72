"""Problem files to start from: each runs as it is, on made-up data, and says in comments what to replace."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from workbench.core import ConfigError

#: Name -> what it is for.
TEMPLATES = {
    "heads": "one input, one head a task",
    "datasets": "one dataset a task, with their own label lists",
    "domains": "one task in many domains, which play the tasks",
    "lightning": "a LightningModule",
    "huggingface": "a Hugging Face transformer, built from its configuration",
}


def text(name: str) -> str:
    """The template's source. Raises ConfigError with the known names."""
    if name not in TEMPLATES:
        known = ", ".join(f"{key} ({about})" for key, about in TEMPLATES.items())
        raise ConfigError(f"There is no template '{name}'. Templates: {known}.")
    return (resources.files(__name__) / f"{name}.py").read_text(encoding="utf-8")


def write(name: str, path: str | Path) -> Path:
    """Write a template to a new file. Raises ConfigError when the file is there already."""
    file = Path(path)
    content = text(name)
    if file.exists():
        raise ConfigError(f"{file} is there already and is not replaced. Choose another name with --out.")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")
    return file
