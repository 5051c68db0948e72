"""Runs with known truth for the tests of the conflict lens: planted cosines per module, noise per mini-batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from workbench.core import Run, RunWriter
from workbench.core.gramian import Gramian

Matrix = Sequence[Sequence[float]]


def truth_vectors(cosines: Matrix, size: int) -> np.ndarray:
    """Unit vectors [T, size] with the given matrix of cosines."""
    matrix = np.asarray(cosines, dtype=float)
    values, vectors = np.linalg.eigh(matrix)
    half = vectors * np.sqrt(np.clip(values, 0, None))
    return np.pad(half, ((0, 0), (0, size - len(matrix))))


def conflict_run(
    path: Path,
    modules: Mapping[str, Callable[[float], Matrix]],
    *,
    tasks: Sequence[str] = ("left", "right"),
    n_steps: int = 40,
    n_batches: int = 4,
    noise: float = 0.5,
    shared: float = 0.0,
    scales: Sequence[float] | None = None,
    size: int = 200,
    seed: int = 0,
    spoil: Callable[[int, np.ndarray], None] | None = None,
    scalars: Callable[[int], Mapping[str, float]] | None = None,
) -> Run:
    """Record a run.

    Args:
        modules: Matrix of true cosines as a function of progress in [0, 1], per module.
        noise: Squared norm of a mini-batch's noise over the squared norm of the gradient.
        shared: Share of the noise that is common to all tasks, because they see the same samples.
        scales: Norm of every task's gradient.
        spoil: Changes the gradients [M, T, K, size] of a step in place before they are recorded.
        scalars: Numbers to log at a step.
    """
    rng = np.random.default_rng(seed)
    names, n_tasks = tuple(modules), len(tasks)
    norm = np.ones(n_tasks) if scales is None else np.asarray(scales, dtype=float)
    with RunWriter(path, tasks=tasks, modules=names) as writer:
        for index in range(n_steps):
            progress = index / max(n_steps - 1, 1)
            truth = np.stack([truth_vectors(modules[name](progress), size) for name in names])
            own = rng.standard_normal((len(names), n_tasks, n_batches, size))
            common = rng.standard_normal((len(names), 1, n_batches, size))
            error = np.sqrt(noise / size) * (np.sqrt(1 - shared) * own + np.sqrt(shared) * common)
            gradients = (truth[:, :, None] + error) * norm[None, :, None, None]
            if spoil:
                spoil(index, gradients)
            dot = np.einsum("mikp,mjlp->mikjl", gradients, gradients)
            samples = np.full((n_tasks, n_batches), 16, dtype=np.int64)
            writer.gramian(10 * index, Gramian(names, tuple(tasks), dot, samples))
            if scalars:
                writer.scalars(10 * index, scalars(index))
    return Run(path)


def pair(cosine: float) -> Callable[[float], Matrix]:
    """Two tasks with a constant cosine."""
    return lambda progress: [[1.0, cosine], [cosine, 1.0]]


def add_array(path: Path, name: str, step: int, **values: np.ndarray) -> None:
    """Add an array to a run that is there."""
    folder = path / "arrays" / name
    folder.mkdir(parents=True)
    save_file(
        {key: np.ascontiguousarray(value) for key, value in values.items()}, folder / f"step-{step:08d}.safetensors"
    )
