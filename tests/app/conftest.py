"""A folder of small runs that hold what goes wrong, and the app opened on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from workbench.cli.app import FOLDERS_VARIABLE, app_script
from workbench.core import RunWriter
from workbench.core.gramian import Gramian


def record(folder: Path, tasks: tuple[str, ...] = ("left", "right"), nan_from: int | None = None) -> Path:
    """A run with every table: two tasks that pull apart in one module, an attribute that matters, two domains."""
    rng = np.random.default_rng(0)
    n, classes = 240, 3
    with RunWriter(
        folder,
        tasks=[{"name": task, "classes": ["a", "b", "c"]} for task in tasks],
        domains=["day", {"name": "night", "held_out": True}],
        datasets=[{"name": "city", "labels": ["road", "walk"]}, {"name": "highway", "labels": ["road", "line"]}],
        attributes=[{"name": "colour", "levels": ["red", "blue"]}, {"name": "size", "levels": ["small", "large"]}],
        modules=["conv1", "conv2"],
        layers=("trunk",),
        question="Do two tasks fight?",
        method="sum of losses",
        config={"lr": 0.1, "optimiser": {"name": "sgd"}},
        seed=0,
    ) as writer:
        for step in range(0, 100, 10):
            loss = np.nan if nan_from is not None and step >= nan_from else float(np.exp(-step / 50))
            writer.scalars(step, {f"loss/{task}": loss for task in tasks} | {f"accuracy/{tasks[0]}": step / 100})
            writer.gramian(step, _gramian(rng, tasks))
        colour, domain = rng.integers(2, size=n), rng.integers(2, size=n)
        target = rng.integers(classes, size=n)
        writer.samples(
            {
                "sample": np.arange(n),
                "dataset": np.where(domain == 0, "city", "highway"),
                "domain": np.where(domain == 0, "day", "night"),
                "split": np.full(n, "test"),
                "colour": np.where(colour == 0, "red", "blue"),
                "size": np.where(rng.random(n) < 0.5, "small", "large"),
            }
            | {f"target_{task}": target for task in tasks}
        )
        for step in (0, 90):
            for task in tasks:
                wrong = rng.random(n) < np.where(colour == 0, 0.5, 0.05)
                said = np.where(wrong, (target + 1) % classes, target)
                writer.predictions(step, task, sample=np.arange(n), prediction=said, confidence=0.8, loss=0.5)
            values = rng.normal(size=(n, 8)) + 2.0 * domain[:, None] + target[:, None]
            writer.embedding(step, "trunk", values.astype(np.float32), np.arange(n))
            for place in ("day", "night"):
                for module in ("conv1", "conv2"):
                    _gsnr(writer, rng, step, module, place)
        _labels(writer, rng)
    return folder


def _gramian(rng: np.random.Generator, tasks: tuple[str, ...]) -> Gramian:
    shared = rng.normal(size=(2, 1, 1, 40))
    signs = np.array([1.0, -1.0])[: len(tasks)][None, :, None, None]
    signs = np.concatenate([np.ones_like(signs), signs])  # aligned in conv1, opposed in conv2
    gradients = signs * shared + 0.3 * rng.normal(size=(2, len(tasks), 4, 40))
    dot = np.einsum("mtkp,msjp->mtksj", gradients, gradients)
    return Gramian(("conv1", "conv2"), tasks, dot, np.full((len(tasks), 4), 16))


def _gsnr(writer: RunWriter, rng: np.random.Generator, step: int, module: str, domain: str) -> None:
    histogram = np.bincount(np.clip(rng.normal(24, 4, size=500).astype(int), 0, 47), minlength=48)
    writer.write(
        "gsnr",
        {
            "step": step,
            "module": module,
            "parameter": f"{module}.weight",
            "domain": domain,
            "count": 500,
            "samples": 120,
            "histogram": [histogram.tolist()],
            "quantiles": [[-4.0, -3.0, -2.0, -1.0, 0.0]],
            "mean_sq_sum": 0.5,
            "var_sum": 10.0,
        },
    )


def _labels(writer: RunWriter, rng: np.random.Generator) -> None:
    regions = np.arange(80)
    for dataset, truth in (("city", ("road", "walk")), ("highway", ("road", "line"))):
        label = np.asarray(truth)[rng.integers(2, size=80)]
        writer.label_counts(dataset=dataset, sample=regions, region=regions, label=label)
        said = np.where(label == "road", "road", "line" if dataset == "city" else "walk")
        source = "highway" if dataset == "city" else "city"
        writer.label_counts(dataset=dataset, sample=regions, region=regions, label=said, source=source)


def damage(run: Path, table: str = "scalars") -> Path:
    """Cut a part of a table in half."""
    part = next((run / "tables" / table).glob("part-*.parquet"))
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    return part


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs: whole, one-task, nan-loss, truncated, empty (no tables), and a folder that is no run."""
    root = tmp_path_factory.mktemp("runs")
    record(root / "whole")
    record(root / "one-task", tasks=("left",))
    record(root / "nan-loss", nan_from=50)
    damage(record(root / "truncated"))
    RunWriter(root / "without-tables", question="What if nothing was recorded?").close()
    (root / "no-run").mkdir()
    (root / "no-run" / "run.json").write_text("{ this is not JSON")
    return root


@pytest.fixture
def open_app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., AppTest]:
    """Open the app on a folder, as the command does, and run its first page."""

    def open_on(*folders: Path, **address: str) -> AppTest:
        monkeypatch.setenv(FOLDERS_VARIABLE, json.dumps([str(folder) for folder in folders]))
        monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))
        test = AppTest.from_file(str(app_script()), default_timeout=120)
        for name, value in address.items():
            test.query_params[name] = value
        return test.run()

    return open_on
