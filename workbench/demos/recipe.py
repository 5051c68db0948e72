"""What a demo recipe is, and how it is run.

A recipe is described without torch (so that lists of recipes appear at once) and implemented in a module of
``workbench.demos.recipes.<recipe>.training`` that is imported when training starts. That module holds one function:

    def record(job: Job) -> None:
        with job.recorder(tasks=[...], config={...}) as rec:
            for step in range(job.variant.steps):
                job.tick()  # once per step: reports progress, leaves the loop when the user stops it
                ...
            job.results({"accuracy/unseen": 0.83})  # what the claims of the recipe compare

Torch's global random state is seeded before ``record`` and restored after it; the number of threads is the caller's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core import ConfigError
from workbench.demos.claim import Claim

if TYPE_CHECKING:
    from workbench.diagnostics.recorder import Recorder

logger = logging.getLogger(__name__)

#: Prefix of the scalars that claims compare.
RESULT = "result/"
#: A short training takes one step where a whole one takes this many.
SHORTER = 10


@dataclass(frozen=True)
class Variant:
    """One run of a recipe.

    Attributes:
        name: The run's sub-folder.
        about: What sets this run apart, in one line.
        steps: How often :meth:`Job.tick` is called in it.
        question: The line that run.json shows for this run; the recipe's question when empty.
    """

    name: str
    about: str
    steps: int
    question: str = ""


@dataclass(frozen=True)
class Plane:
    """Which results are laid against each other to see what a way of training costs.

    Attributes:
        variants: The runs that solve one problem, so that their scores compare.
        score: The mean score over tasks; ``<score>/<task>`` are those of the tasks.
        costs: Result -> what it is, with its unit.
        reference: The variant against which relative gains are taken.
    """

    variants: tuple[str, ...]
    score: str
    costs: Mapping[str, str]
    reference: str


@dataclass(frozen=True)
class Recipe:
    """A small training experiment that records one run or several.

    Attributes:
        name: Name in commands and folders.
        question: What its runs let the reader answer, in one line.
        about: Data, net, tasks and what is recorded, in a few sentences.
        variants: The runs, in the order in which they are trained.
        module: The module that implements it with ``record(job)``; by default the recipe's own ``training``.
        method: The file of ``workbench.methods`` that it shows at work.
        claims: What is said of the method, checked by ``workbench claims``.
        seeds: The seeds that the claims board reports.
        tuning_seeds: The seeds that settings were chosen on; none of them is reported.
        plane: What its ways of training cost; None where they all cost alike.

    Raises:
        ConfigError: a seed is both reported and tuned on, or a claim or the plane names an unknown variant.
    """

    name: str
    question: str
    about: str
    variants: tuple[Variant, ...]
    module: str = ""
    method: str = ""
    claims: tuple[Claim, ...] = ()
    seeds: tuple[int, ...] = ()
    tuning_seeds: tuple[int, ...] = ()
    plane: Plane | None = None

    def __post_init__(self) -> None:
        if shared := set(self.seeds) & set(self.tuning_seeds):
            raise ConfigError(f"Recipe '{self.name}' reports seeds that it was tuned on: {sorted(shared)}.")
        for named in (*(claim.variants for claim in self.claims), *([self.plane.variants] if self.plane else [])):
            for variant in named:
                self.variant(variant)

    @property
    def training(self) -> str:
        """The module that trains it."""
        return self.module or f"workbench.demos.recipes.{self.name.replace('-', '_')}.training"

    def variant(self, name: str) -> Variant:
        """The variant of that name. Raises ConfigError with the known names otherwise."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        known = ", ".join(variant.name for variant in self.variants)
        raise ConfigError(f"Recipe '{self.name}' has no variant '{name}'. Variants: {known}.")


class Stopped(Exception):
    """Leaves a recipe's training loop because the caller asked for it; :func:`train` catches it."""


@dataclass
class Job:
    """One variant being trained: where, with which seed, and how it reports.

    Attributes:
        lean: Record scalars and results only; the training is the same to the last bit.
        gradients: The rule that turns the losses into gradients instead of their plain sum, see
            :mod:`workbench.demos.gradient_rules`; for recipes that train with :func:`workbench.demos.trainer.fit`.
    """

    recipe: Recipe
    variant: Variant
    path: Path
    seed: int
    overwrite: bool = False
    lean: bool = False
    gradients: str = ""
    on_tick: Callable[[int], None] = lambda ticks: None
    stop: Callable[[], bool] = lambda: False
    ticks: int = field(default=0, init=False)
    _recorder: Recorder | None = field(default=None, init=False, repr=False)

    def recorder(self, **info: Any) -> Recorder:
        """Open the run's recorder; ``info`` are further fields of run.json, e.g. tasks, domains, config."""
        from workbench.diagnostics.recorder import Recorder

        given: dict[str, Any] = {
            "name": f"{self.recipe.name}/{self.variant.name}",
            "question": self.variant.question or self.recipe.question,
            "recipe": self.recipe.name,
            "seed": self.seed,
        }
        if self.gradients:
            given |= {"name": f"{given['name']} with {self.gradients}", "parent": self.variant.name}
            info = info | {"method": self.gradients}
        self._recorder = Recorder(self.path, overwrite=self.overwrite, **(given | info))
        return self._recorder

    def tick(self) -> None:
        """Report one step of work. Raises Stopped when the caller wants to stop; the run then says how far it came."""
        if self.stop():
            if self._recorder is not None:
                note = f"Stopped by hand after {self.ticks} of {self.variant.steps} steps."
                self._recorder.update(notes=(*self._recorder.info.notes, note))
            raise Stopped
        self.ticks += 1
        self.on_tick(self.ticks)

    def results(self, values: Mapping[str, float]) -> None:
        """Record the numbers that claims compare: scalars ``result/<name>`` at the last step, and the run's summary.

        Raises:
            ConfigError: the run's recorder was not opened through :meth:`recorder`.
        """
        if self._recorder is None:
            raise ConfigError("Open the run with job.recorder(...) before its results are given.")
        self._recorder.scalars(self.ticks, {f"{RESULT}{name}": value for name, value in values.items()})
        self._recorder.update(summary={**self._recorder.info.summary, **values})


def train(
    recipe: Recipe,
    out: Path,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    *,
    only: Sequence[str] = (),
    overwrite: bool = False,
    lean: bool = False,
    short: bool = False,
    gradients: str = "",
) -> list[Path]:
    """Train a recipe's variants one after the other, each into ``out/<variant>``.

    Args:
        seed: The same seed gives the same run, on the same number of torch threads.
        progress: Called with (steps done, steps in all) over all chosen variants.
        stop: Asked before each step; when it returns True, training ends and the runs so far are returned. The run
            that was interrupted is closed, marked as failed, with a note.
        only: Names of the variants to train; all of them when empty.
        overwrite: Replace runs that are there.
        short: Take a tenth of the steps, which shows that a recipe trains and nothing else.
        lean, gradients: As in :class:`Job`.

    Returns:
        The folders of the recorded runs.

    Raises:
        ConfigError: an unknown variant, or a run that is already there.
    """
    chosen = [recipe.variant(name) for name in only] or list(recipe.variants)
    if short:
        chosen = [replace(variant, steps=-(-variant.steps // SHORTER)) for variant in chosen]
    taken = [variant.name for variant in chosen if (Path(out) / variant.name / "run.json").exists()]
    if taken and not overwrite:
        raise ConfigError(f"{Path(out) / taken[0]} already holds a run. Choose another folder, or ask to overwrite it.")
    record: Callable[[Job], None] = import_module(recipe.training).record
    total, done = sum(variant.steps for variant in chosen), 0
    paths: list[Path] = []
    for variant in chosen:
        job = Job(recipe, variant, Path(out) / variant.name, seed, overwrite, lean, gradients)
        job.stop = stop or job.stop
        if progress is not None:
            job.on_tick = _reporter(progress, done, total)
        try:
            with _seeded(seed):
                record(job)
        except Stopped:
            logger.info("Stopped while training '%s'.", variant.name)
            return [*paths, job.path] if (job.path / "run.json").exists() else paths
        done += variant.steps
        paths.append(job.path)
    return paths


def _reporter(progress: Callable[[int, int], None], before: int, total: int) -> Callable[[int], None]:
    return lambda ticks: progress(before + ticks, total)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator (it initialises the nets) and give the caller's state back afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
