"""The training samples of a recorded demo run, drawn again from its recipe and seed, and its nets on the way.

A run does not keep its training samples. They are drawn again as its recipe drew them; that it is the same draw shows
in the test samples, which come from the same generator and must have the recorded targets, each one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench.core import Run, RunFormatError
from workbench.demos import RECIPES
from workbench.demos.recipe import Recipe, train

if TYPE_CHECKING:
    from workbench.diagnostics.subject import Drawn

#: Recipes whose training samples are a fixed set; the others draw new ones at every step or train in their own way.
REDRAWN = ("digit-biases", "digit-domains", "faults")


def why_not_redrawn(run: Run) -> str | None:
    """Why a run's training samples cannot be drawn again, in one sentence; None when it can be tried. No torch."""
    if run.info.recipe not in REDRAWN:
        return (
            "The training samples of this run are not known: a run keeps only those it was tested on, and drawn again "
            f"can be the ones of {', '.join(REDRAWN)}."
        )
    return None


def training_data(run: Run) -> tuple[Drawn, Drawn]:
    """The samples that a run was trained on, and those that it was tested on, in the order of its samples table.

    Raises:
        RunFormatError: they cannot be drawn again, or the test samples are not those that were recorded.
    """
    reason = why_not_redrawn(run)
    if reason is not None or run.info.recipe is None:
        raise RunFormatError(f"{run.path.name}: {reason}")
    fitted, tested = _DRAW[run.info.recipe](_variant(run), np.random.default_rng(run.info.seed or 0))
    frame = run.query("SELECT * FROM samples ORDER BY sample")
    for task, targets in tested.targets.items():
        column = f"target_{task}"
        if column not in frame or not np.array_equal(frame[column].to_numpy(), targets):
            raise RunFormatError(
                f"{run.path.name}: drawn again from {run.info.recipe} with seed {run.info.seed}, the test samples do "
                f"not have the recorded targets of {task}. The recipe or its data changed since."
            )
    return fitted, tested


def checkpoints_again(
    run: Run, steps: tuple[int, ...], out: Path, progress: Callable[[int, int], None] | None = None
) -> dict[int, Path]:
    """Train a demo run again, once to each of the steps, with its seed, and return the checkpoint of each.

    The recipes save their net at the end only; a training that ends early is the same up to there.
    """
    recipe = next(one for one in RECIPES if one.name == run.info.recipe)
    variant, found, total = recipe.variant(_variant(run)), {}, sum(steps)
    for at, step in enumerate(steps):
        before = sum(steps[:at])
        short: Recipe = replace(recipe, variants=(replace(variant, steps=step),), claims=())
        folder = out / f"step-{step}"
        file = folder / variant.name / "checkpoints" / f"step-{step:08d}.safetensors"
        if not file.with_suffix(".json").is_file():
            report = None if progress is None else (lambda done, _all, before=before: progress(before + done, total))
            train(short, folder, run.info.seed or 0, report, overwrite=True)
        found[step] = file
    return found


def _variant(run: Run) -> str:
    return run.info.name.partition("/")[2]


def _digit_biases(_variant: str, rng: np.random.Generator) -> tuple[Drawn, Drawn]:
    from workbench.demos.data import mnist
    from workbench.demos.data.factors import Factored, draw_factored, guess_labels
    from workbench.demos.recipes.digit_biases import training as recipe
    from workbench.demos.trainer import as_pictures
    from workbench.diagnostics.subject import Drawn

    digits, others = mnist().split(recipe.N_TEST_DIGITS, rng)
    fitted = draw_factored(digits.take(np.tile(np.arange(len(digits)), recipe.TRAIN_DRAWS)), rng)
    fitted = guess_labels(fitted, recipe.JOINT, rng)
    repeated = others.take(np.tile(np.arange(recipe.N_TEST_DIGITS), recipe.TEST_DRAWS))
    tested = draw_factored(repeated, rng, balanced=True)

    def drawn(some: Factored) -> Drawn:
        return Drawn(as_pictures(some.images), {recipe.TASK: some.labels}, some.levels)

    return drawn(fitted), drawn(tested)


def _digit_domains(variant: str, rng: np.random.Generator) -> tuple[Drawn, Drawn]:
    from workbench.demos.data import Digits
    from workbench.demos.data.domains import digit_domains
    from workbench.demos.recipes.digit_domains import training as recipe
    from workbench.demos.trainer import as_pictures
    from workbench.diagnostics.subject import Drawn

    fitted, tested = digit_domains(recipe.N_TEST, rng)
    sources = {name: digits for name, digits in fitted.items() if name != recipe.HELD_OUT[variant]}

    def drawn(parts: Mapping[str, Digits]) -> Drawn:
        images = np.concatenate([part.images for part in parts.values()])
        labels = np.concatenate([part.labels for part in parts.values()])
        domain = np.repeat(list(parts), [len(part) for part in parts.values()])
        return Drawn(as_pictures(images), {recipe.TASK: labels}, {"domain": domain})

    return drawn(sources), drawn(tested)


def _faults(variant: str, rng: np.random.Generator) -> tuple[Drawn, Drawn]:
    from workbench.demos.data import mnist
    from workbench.demos.data.letters import Letters, draw_letters, leak_paper
    from workbench.demos.faults import FAULTS
    from workbench.demos.recipes.faults import training as recipe
    from workbench.demos.trainer import as_pictures
    from workbench.diagnostics.subject import Drawn

    fault = FAULTS[variant]
    fitted, tested = (draw_letters(part, rng) for part in mnist().split(recipe.N_TEST, rng))
    fitted, tested = (recipe.planted_in_labels(fault, part, rng) for part in (fitted, tested))
    if fault.leaked_paper is not None:
        fitted = leak_paper(fitted, *fault.leaked_paper, rng)

    def drawn(some: Letters) -> Drawn:
        levels = {"office": some.office, "annotator": some.annotator, "paper": some.paper}
        return Drawn(as_pictures(some.images), recipe.targets_of(some, fault), levels)

    return drawn(fitted), drawn(tested)


_DRAW: Mapping[str, Callable[[str, np.random.Generator], tuple[Drawn, Drawn]]] = {
    "digit-biases": _digit_biases,
    "digit-domains": _digit_domains,
    "faults": _faults,
}
