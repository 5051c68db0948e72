"""What the workbench has to know about a training that has not started: a small Python file, or the same as callables.

The file defines module-level names; the first five are needed.

    tasks = ["left", "right"]                      # names; at least two
    def build_model(seed): ...                     # -> nn.Module with fresh weights
    def shared(model): ...                         # -> the module all tasks share, or a list or a dict of its parts
    def batches(seed): ...                         # -> iterator of training batches; begun again when it ends
    def losses(model, batch): ...                  # -> {task: losses [B] (best) or one scalar}, graph attached

    def optimizer(model): ...                      # -> torch optimizer of the planned training; else Adam, lr 1e-3
    def validation(seed): ...                      # -> iterator of batches that are not trained on
    def domains(batch): ...                        # -> the domain's name of each of the batch's samples
    def embed(model, batch): ...                   # -> [B, D], or {domain: [B, D]}; else the shared module's output
    def features(batch): ...                       # -> [B, D] of a frozen network; else the raw inputs
    labels = {"city": ["road", ...], ...}          # dataset -> its label list
    def attributes(batch): ...                     # -> {attribute: the value of each sample}
    def evaluate(model): ...                       # -> {task: score}, higher is better (only for benchmarks)

    def inputs(batch): ...                         # -> [B, ...] floats that attribution asks about; else the first such
    def outputs(model, inputs): ...                # -> {task: logits [B, C]}; else what model(inputs) returns
    def targets(batch): ...                        # -> {task: classes [B]}; else the labels in (inputs, labels)
    def samples(batch): ...                        # -> each sample's number in a recorded run; else counted from 0

A batch is anything that ``losses`` understands. When the tasks have their own datasets, ``batches`` yields mappings
task -> that task's batch; ``losses`` then gets the entries of the tasks whose losses are wanted, often one, and returns
those; ``domains``, ``attributes``, ``embed`` and ``features`` get one task's entry at a time.

Losses of every sample ([B], ``reduction="none"``) are best: with scalars a mini-batch is one step's whole batch. A task
may have fewer samples than others: leave out those without a label. The training is taken to minimise the sum over
tasks of the mean losses, so weights belong into ``losses``.

The last four are for attribution, which asks a trained model about its inputs; they too get one task's entry at a time.

Without ``validation`` some batches of the first pass are held out, which are unseen as long as a pass that ends meets
every sample once.

In a notebook the same is ``Problem(tasks=..., build_model=..., shared=..., batches=..., losses=...)``.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workbench.core import ConfigError, WorkbenchError
from workbench.diagnostics.untouched import device_of, on_device, random_state_kept

REQUIRED = ("tasks", "build_model", "shared", "batches", "losses")
OPTIONAL = (
    "optimizer", "validation", "domains", "embed", "features", "attributes", "evaluate",
    "inputs", "outputs", "targets", "samples",
)  # fmt: skip
#: Step size of the default optimizer, Adam, when the problem gives none.
DEFAULT_LR = 1e-3
_END = object()


@dataclass(frozen=True)
class Problem:
    """A training that has not started; the module docstring says what each callable takes and returns.

    Attributes:
        name: For titles and run folders.
        source: The file it came from; None when made in a notebook.

    Raises:
        ConfigError: fewer than two tasks, a repeated name, or something that cannot be called.
    """

    tasks: Sequence[str]
    build_model: Callable[[int], nn.Module]
    shared: Callable[[nn.Module], Any]
    batches: Callable[[int], Iterator[Any]]
    losses: Callable[[nn.Module, Any], Mapping[str, Tensor]]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None
    validation: Callable[[int], Iterator[Any]] | None = None
    domains: Callable[[Any], Sequence[str]] | None = None
    embed: Callable[[nn.Module, Any], Tensor | Mapping[str, Tensor]] | None = None
    features: Callable[[Any], Tensor] | None = None
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    attributes: Callable[[Any], Mapping[str, Sequence[Any]]] | None = None
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None
    inputs: Callable[[Any], Tensor] | None = None
    outputs: Callable[[nn.Module, Tensor], Mapping[str, Tensor]] | None = None
    targets: Callable[[Any], Mapping[str, Sequence[int]]] | None = None
    samples: Callable[[Any], Sequence[int]] | None = None
    name: str = "problem"
    source: Path | None = None

    def __post_init__(self) -> None:
        check_names(self.where, {f.name: getattr(self, f.name) for f in fields(self)})
        object.__setattr__(self, "tasks", tuple(self.tasks))

    @property
    def where(self) -> str:
        """What errors call it: the file's name, or its own."""
        return self.source.name if self.source else f"Problem '{self.name}'"

    # -- the user's functions, checked ------------------------------------------------------------------------------

    def model(self, seed: int) -> nn.Module:
        """A fresh model. torch's generators are seeded around the call, and put back."""
        with random_state_kept(), self.calling("build_model"):
            torch.manual_seed(seed)
            made = self.build_model(seed)
        if not isinstance(made, nn.Module):
            raise ConfigError(
                f"{self.where}: build_model(seed) must return an nn.Module; got a {type(made).__name__}. "
                "Did it forget to return?"
            )
        return made

    def parts(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """The shared trainable parameters by module, in the model's order and under the names they have in it.

        Named groups (a mapping) keep their names.
        """
        with self.calling("shared"):
            given = self.shared(model)
        if isinstance(given, Mapping):
            parts = {str(name): _parameters(self.where, value, model) for name, value in given.items()}
        else:
            wanted = {id(parameter) for parameter in _parameters(self.where, given, model)}
            own = {
                name or type(module).__name__: [p for p in module.parameters(recurse=False) if id(p) in wanted]
                for name, module in model.named_modules()
            }
            parts = {name: found for name, found in own.items() if found}
        known = {id(parameter) for parameter in model.parameters()}
        for name, found in parts.items():
            if any(id(parameter) not in known for parameter in found):
                raise ConfigError(f"{self.where}: shared(model) holds '{name}', which is no part of the model.")
        parts = {name: [p for p in found if p.requires_grad] for name, found in parts.items()}
        parts = {name: found for name, found in parts.items() if found}
        if not parts:
            raise ConfigError(
                f"{self.where}: shared(model) has no trainable parameters. Return what all tasks "
                "share, e.g. model.trunk."
            )
        return parts

    def one_pass(self, seed: int, function: str = "batches") -> Iterator[Any]:
        """The batches of one call of ``batches`` (or ``validation``); ends when the user's iterator does.

        torch's generator is seeded first and not put back: wrap the use in ``random_state_kept`` where that matters.

        Raises:
            ConfigError: it raised, or yielded nothing.
        """
        with self.calling(function):
            torch.manual_seed(seed)
            batches = iter(getattr(self, function)(seed))
        for n in count():
            with self.calling(function):
                try:
                    batch = next(batches)
                except StopIteration:
                    batch = _END
            if batch is _END and n == 0:
                raise ConfigError(
                    f"{self.where}: {function}({seed}) yielded nothing. It must be a generator (use yield) or return "
                    "an iterable of batches, each time it is called."
                )
            if batch is _END:
                return
            yield batch

    def stream(self, seed: int) -> Iterator[Any]:
        """Training batches without end: ``batches`` is called again, with the next seed, whenever its iterator ends."""
        for offset in count():
            yield from self.one_pass(seed + offset)

    def by_task(self, batch: Any) -> bool:
        """Whether a batch is a mapping task -> that task's own batch."""
        return isinstance(batch, Mapping) and set(batch) == set(self.tasks)

    def task_losses(self, model: nn.Module, batch: Any, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Losses of the tasks (all by default): [B] or scalars, float, graph attached where the model has gradients.

        Raises:
            ConfigError: ``losses`` raised, left out a task, or returned something else than [B] or a scalar.
        """
        wanted = tuple(self.tasks) if tasks is None else tuple(tasks)
        if self.by_task(batch):
            batch = {task: batch[task] for task in wanted}
        device = device_of(model)
        if device.type != "cpu":
            batch = on_device(batch, device)
        with self.calling("losses"):
            found = self.losses(model, batch)
        if not isinstance(found, Mapping):
            raise ConfigError(
                f"{self.where}: losses(model, batch) must return a dict task -> loss; got a {type(found).__name__}."
            )
        return {task: self._loss(task, found) for task in wanted}

    def _loss(self, task: str, found: Mapping[str, Any]) -> Tensor:
        if task not in found:
            raise ConfigError(
                f"{self.where}: losses(model, batch) has no entry for task '{task}'; it returned: "
                f"{', '.join(map(str, found)) or 'nothing'}."
            )
        loss = found[task]
        if not isinstance(loss, Tensor) or not loss.is_floating_point() or loss.ndim > 1 or loss.numel() == 0:
            shape = f" of shape {tuple(loss.shape)} and type {loss.dtype}" if isinstance(loss, Tensor) else ""
            raise ConfigError(
                f"{self.where}: the loss of task '{task}' must be a tensor [B] with the loss of every sample "
                f'(reduction="none"; average over pixels or tokens) or a scalar; got a {type(loss).__name__}{shape}.'
            )
        return loss

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of the planned training; Adam with lr 1e-3 when the problem gives none."""
        if self.optimizer is None:
            return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=DEFAULT_LR)
        with self.calling("optimizer"):
            made = self.optimizer(model)
        if not isinstance(made, torch.optim.Optimizer):
            raise ConfigError(
                f"{self.where}: optimizer(model) must return a torch.optim.Optimizer; got a {type(made).__name__}."
            )
        return made

    def scores(self, model: nn.Module) -> dict[str, float]:
        """What ``evaluate`` says of every task, higher is better."""
        if self.evaluate is None:
            raise ConfigError(f"{self.where} has no evaluate(model), which benchmarks need: return {{task: score}}.")
        with self.calling("evaluate"):
            found = dict(self.evaluate(model))
        missing = [task for task in self.tasks if task not in found]
        if missing:
            raise ConfigError(f"{self.where}: evaluate(model) has no score for task '{missing[0]}'.")
        return {task: float(found[task]) for task in self.tasks}

    @contextmanager
    def calling(self, function: str) -> Iterator[None]:
        """Turn what the user's function raises into one sentence with its file and line; the cause stays chained."""
        try:
            yield
        except (WorkbenchError, GeneratorExit):
            raise
        except Exception as error:
            raise ConfigError(f"{self.where}: {function}() raised {told(error, self.source)}.") from error


def check_names(where: str, given: Mapping[str, Any]) -> None:
    """Raise ConfigError unless every given name of the protocol holds the kind of thing it should."""
    tasks = given["tasks"]
    names = tuple(tasks) if isinstance(tasks, (list, tuple)) else ()
    if len(names) < 2 or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(
            f"{where}: tasks must be a list of at least two names; got {tasks!r}. "
            'Write e.g. tasks = ["depth", "seg"]; domains or groups can play the tasks too.'
        )
    if len(set(names)) < len(names):
        raise ConfigError(f"{where}: task names must differ; got {', '.join(names)}.")
    for function in (*REQUIRED[1:], *OPTIONAL):
        value = given.get(function)
        if not callable(value) and not (value is None and function in OPTIONAL):
            raise ConfigError(f"{where}: {function} must be a function; got {value!r}.")
    labels = given.get("labels", {})
    if not isinstance(labels, Mapping) or any(isinstance(names, str) for names in labels.values()):
        raise ConfigError(f"{where}: labels must map every dataset to its list of label names; got {labels!r}.")


def told(error: Exception, source: Path | None) -> str:
    """An exception in one line, with the innermost line of the user's file."""
    text = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if source is not None and Path(frame.filename) == source]
    line = f" at line {own[-1].lineno} ({own[-1].line})" if own else ""
    return f"{type(error).__name__}{line}: {text}" if text else f"{type(error).__name__}{line}"


def _parameters(where: str, given: Any, model: nn.Module) -> list[nn.Parameter]:
    """Parameters of a module, of a submodule's name, of a parameter, or of a list of such."""
    if isinstance(given, nn.Parameter):
        return [given]
    if isinstance(given, nn.Module):
        return list(given.parameters())
    if isinstance(given, str):
        modules = dict(model.named_modules())
        if given not in modules:
            known = ", ".join(name for name in modules if name)
            raise ConfigError(
                f"{where}: shared(model) names '{given}', which the model does not have. It has: {known}."
            )
        return list(modules[given].parameters())
    if isinstance(given, (list, tuple)) and given:
        return [parameter for item in given for parameter in _parameters(where, item, model)]
    raise ConfigError(
        f"{where}: shared(model) must return a module, a list of modules, of their names or of parameters, or a "
        f"dict of those; got {given!r}."
    )
