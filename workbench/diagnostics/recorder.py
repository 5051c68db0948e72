"""Record a PyTorch training loop: the run writer with methods that take models, losses and tensors.

    with Recorder("runs/mine", tasks=["depth", "seg"]) as rec:
        for step, batch in enumerate(loader):
            losses = compute_losses(model, batch)                      # task -> loss of every sample, [B]
            if rec.due(step):
                rec.task_gradients(step, losses, shared=model.backbone)
            sum(loss.mean() for loss in losses.values()).backward()
            ...

Recording changes nothing in the training: parameters, ``.grad``, buffers, modes and random numbers are the same to the
last bit with and without it.
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from workbench.core import ConfigError, Gramian, Module, RunWriter, WorkbenchError
from workbench.core.files import write_atomically
from workbench.diagnostics import embeddings, gramian, gsnr, gsnr_detail, predictions, trial_steps
from workbench.diagnostics.cadence import SHARE, Cadence
from workbench.diagnostics.rows.parts import Modules, Shared, cut, parameters, resolve
from workbench.diagnostics.untouched import apply, random_state_kept, untouched

logger = logging.getLogger(__name__)


class Recorder(RunWriter):
    """A :class:`workbench.core.RunWriter` that computes what it records.

    What goes wrong inside a diagnostic (out of memory, a network that fails on the recorder's inputs) is warned about
    once, with the reason, and that record is left out; the training goes on. Only mistakes in the arguments raise
    (ConfigError). What recording cost is recorded too: scalars ``recording/seconds`` (one step's) and
    ``recording/share`` (of all time so far).

    Args:
        path: The run folder; see RunWriter for the other arguments.
        every: :meth:`due` says yes at every ``every``-th step. None chooses the steps from the measured cost, so that
            recording takes at most ``share`` of the time.
        share: That share, 0.05 by default.
        model: The whole network. Modules of a shared part of it are then named as in the whole.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        every: int | None = None,
        share: float = SHARE,
        model: nn.Module | None = None,
        **info: Any,
    ) -> None:
        self._model = model
        self._cadence = Cadence(every, share)
        self._warned: set[tuple[str, str]] = set()
        self._cost: tuple[int, float] | None = None  # step, and seconds spent before it
        self._detail = gsnr_detail.Detail()
        super().__init__(path, **info)

    def due(self, step: int) -> bool:
        """Whether to record at this step, by the chosen cadence. The other methods record whenever they are called."""
        return self._cadence.due(step)

    @property
    def recording_seconds(self) -> float:
        """Wall time that recording took so far."""
        return self._cadence.seconds

    # -- diagnostics ------------------------------------------------------------------------------------------------

    def task_gradients(
        self,
        step: int,
        losses: Mapping[str, Tensor],
        shared: Shared,
        *,
        n_batches: int = 4,
        modules: Modules | None = None,
        weights: Mapping[str, Tensor] | None = None,
        groups: int | Mapping[str, int] | None = None,
    ) -> Gramian | None:
        """Record the cross-Gramian of the tasks' gradients; see :func:`workbench.diagnostics.gramian.measure`.

        Call it before ``backward``. A batch with fewer samples than ``n_batches`` is left out. A task whose gradient is
        not finite is recorded as NaN, with a note in run.json.

        Args:
            losses: One per task. Any grouping of samples may play the tasks (domains, the groups of an attribute,
                classes): :func:`workbench.diagnostics.grouping.by_group` parts one task's losses.
            groups: Cut the output channels of every layer of the module ``shared`` (of ``modules``, where named) into
                so many groups, usually one a task, and tell them apart: who may train which group (GradSplit). A
                mapping cuts the layers that it names, each into so many, and leaves the others whole.

        Returns:
            What was recorded; None when it was left out.
        """
        found = None
        with self._diagnostic("task gradients", step):
            small = [task for task, loss in losses.items() if loss.ndim == 1 and len(loss) < n_batches]
            if small:
                raise _Skip(f"the batch of task '{small[0]}' has fewer than {n_batches} samples")
            parts, chosen = (shared, modules) if groups is None else (cut(shared, modules, groups), None)
            found = gramian.measure(
                losses, parts, n_batches=n_batches, modules=chosen, weights=weights, report=self._note_slow
            )
            found = self._named(found, shared)
            sizes = [part.n_parameters for part in resolve(parts, chosen)]
            self._know_modules(dict(zip(found.modules, sizes, strict=True)))
            self._note_nan(step, found)
            self.gramian(step, found)
        return found

    def gsnr(
        self,
        step: int,
        model: nn.Module,
        loss: Callable[..., Tensor],
        batches: Iterable[Sequence[Any]],
        *,
        domains: Iterable[str | Sequence[str]] | None = None,
        parameters: Mapping[str, nn.Parameter] | None = None,
        training: bool = False,
        detail: bool = False,
    ) -> gsnr.Moments | None:
        """Record the gradient signal-to-noise ratios of all parameters; see :func:`workbench.diagnostics.gsnr.measure`.

        The model runs in eval mode: batch statistics and dropout are not part of one sample's gradient.

        Args:
            loss: ``loss(*batch)`` gives the loss of every sample, [B], in nats.
            domains: Per batch one name, or the names of its B samples.
            training: Run in training mode instead.
            detail: Record too what single filters do, on which parameters domains disagree, what a mask would take and
                keeps taking, and how the cheap estimate from micro-batches (``batches``) differs from the exact one;
                see :mod:`workbench.diagnostics.gsnr_detail`. Costs one backward pass more, and memory for one copy of
                the weights between two records.
        """
        moments = None
        with self._diagnostic("gsnr", step), untouched(model, training=training):
            batches = list(batches)
            names = None if domains is None else _per_sample(domains, batches)
            moments = gsnr.measure(model, loss, batches, domains=names, parameters=parameters)
            self._know_modules(_sizes(model))
            table: dict[str, Any] = dict(moments.table())
            if detail:
                table |= gsnr_detail.micro_columns(table, moments, gsnr_detail.micro(model, loss, batches, moments))
                for name, rows in self._detail.tables(step, moments, dict(model.named_parameters())).items():
                    self.write(name, {"step": step} | rows)
            if table["parameter"]:
                self.write("gsnr", {"step": step} | table)
        return moments

    def trial_steps(
        self,
        step: int,
        model: nn.Module,
        losses: trial_steps.Losses,
        batches: Iterable[Sequence[Any]],
        *,
        lr: float,
        shared: Shared | None = None,
        held_out: Iterable[Sequence[Any]] = (),
        each_task: bool = True,
        training: bool = False,
    ) -> trial_steps.TrialSteps | None:
        """Record what one plain step would do to every loss; see :func:`workbench.diagnostics.trial_steps.measure`.

        The conflict lens reads steps of the shared parameters (true lookahead affinity, curvature, the error of its
        replay); the GSNR lens reads steps of all parameters (measured generalisation ratio).

        Args:
            shared: Move these alone, as named in :meth:`task_gradients`; all parameters of the model by default.
        """
        found = None
        with self._diagnostic("trial steps", step):
            moved = None if shared is None else parameters(resolve(shared))
            found = trial_steps.measure(
                model,
                losses,
                batches,
                lr=lr,
                moved=moved,
                held_out=held_out,
                each_task=each_task,
                training=training,
            )
            self.write("trial_steps", {"step": step, "moved": "all" if shared is None else "shared"} | found.table())
        return found

    def embeddings(
        self,
        step: int,
        model: nn.Module,
        inputs: Tensor | Iterable[Any],
        sample: Any,
        layers: embeddings.Layers,
        *,
        forward: Callable[[nn.Module, Any], Any] = apply,
        dtype: Any = np.float16,
    ) -> None:
        """Record embeddings [N, D] of layers; see :func:`workbench.diagnostics.embeddings.collect`.

        Args:
            sample: Ids [N] of the inputs, in their order.
            dtype: On disk: float16 keeps three digits and is enough for maps and distances.
        """
        with self._diagnostic("embeddings", step):
            found = embeddings.collect(model, inputs, layers, forward=forward)
            for layer, values in found.items():
                self.embedding(step, layer, _fitting(values, dtype), sample)

    def predict(
        self,
        step: int,
        model: nn.Module,
        batches: Tensor | Iterable[Any],
        sample: Any,
        *,
        task: str | None = None,
        forward: Callable[[nn.Module, Any], Any] = apply,
        logits: bool = False,
    ) -> None:
        """Record class, confidence and loss of every classification task of the model.

        See :func:`workbench.diagnostics.predictions.collect`.

        Args:
            batches: Inputs, or ``(inputs, labels)`` to have losses too.
            sample: Ids [N] of the inputs, in their order.
            task: The task's name when the model returns one tensor; the run's first task by default.
            logits: Record the logits too.
        """
        name = task or (self.info.tasks[0].name if self.info.tasks else "task")
        with self._diagnostic("predictions", step):
            for found_task, found in predictions.collect(model, batches, task=name, forward=forward).items():
                more = {"logits": found.logits} if logits else {}
                self.predictions(
                    step,
                    found_task,
                    sample=sample,
                    prediction=found.prediction,
                    confidence=found.confidence,
                    loss=found.loss,
                    **more,
                )

    def checkpoint_model(self, step: int, model: nn.Module) -> None:
        """Write parameters and buffers to checkpoints/step-<step>.safetensors, in their own dtypes."""
        with self._diagnostic("checkpoint", step):
            state = {
                name: value.detach().cpu().clone().contiguous()
                for name, value in model.state_dict().items()
                if isinstance(value, Tensor)
            }
            self._guarded(_save_tensors, self.path / "checkpoints" / f"step-{step:08d}.safetensors", state)

    def close(self, status: str = "done") -> None:
        """Write the cost of the last recorded step, flush, and mark the run as done (or failed)."""
        self._write_cost()
        super().close(status)

    # -- inside -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _diagnostic(self, what: str, step: int) -> Iterator[None]:
        """Count the time; keep random numbers; let argument mistakes out and warn once about anything else."""
        if self._cost is None or self._cost[0] != step:
            self._write_cost()
            self._cost = (step, self._cadence.seconds)
        try:
            with self._cadence.counted(), random_state_kept():
                yield
        except WorkbenchError:
            raise
        except _Skip as skip:
            self._warn(what, step, str(skip))
        except Exception as error:  # a diagnostic must not end the training, whatever it met
            self._warn(what, step, f"{type(error).__name__}: {str(error).strip().splitlines()[:1] or ''}")

    def _warn(self, what: str, step: int, reason: str) -> None:
        if (what, reason) in self._warned:
            return
        self._warned.add((what, reason))
        message = f"Step {step}: {what} not recorded, {reason}. Training goes on."
        logger.warning(message)
        self._note(message)
        warnings.warn(message, RuntimeWarning, stacklevel=4)

    def _note(self, text: str) -> None:
        self.update(notes=(*self.info.notes, text))

    def _note_slow(self, reasons: Mapping[str, str]) -> None:
        for reason in dict.fromkeys(reasons.values()):
            if ("slow", reason) not in self._warned:
                self._warned.add(("slow", reason))
                names = ", ".join(name for name, each in reasons.items() if each == reason)
                self._note(f"Gradients of {names} take a backward pass for every task and mini-batch: {reason}.")

    def _named(self, found: Gramian, shared: Shared) -> Gramian:
        """Modules of a submodule of the whole network under their full names."""
        prefix = (
            next((name for name, module in self._model.named_modules() if module is shared), "") if self._model else ""
        )
        if not prefix:
            return found
        own = type(shared).__name__
        names = (prefix if module == own else f"{prefix}.{module}" for module in found.modules)
        return dataclasses.replace(found, modules=tuple(names))

    def _note_nan(self, step: int, found: Gramian) -> None:
        nan = [task for i, task in enumerate(found.tasks) if not np.isfinite(found.dot[:, i, :, i]).all()]
        for task in nan:
            if ("nan", task) not in self._warned:
                self._warned.add(("nan", task))
                self._note(f"Step {step}: gradients of task '{task}' are not finite; recorded as NaN.")

    def _know_modules(self, sizes: Mapping[str, int]) -> None:
        known = {module.name: module for module in self.info.modules}
        merged = known | {name: Module(name, size) for name, size in sizes.items() if not _counted(known.get(name))}
        if merged != known:
            self.update(modules=tuple(merged.values()))

    def _write_cost(self) -> None:
        if self._cost is not None:
            step, before = self._cost
            self._cost = None
            values = {"recording/seconds": self._cadence.seconds - before, "recording/share": self._cadence.fraction}
            self.scalars(step, values)


class _Skip(Exception):
    """A record that cannot be made at this step, for a reason that is no mistake."""


def _counted(module: Module | None) -> bool:
    return module is not None and module.parameters > 0


def _sizes(model: nn.Module) -> dict[str, int]:
    """Number of trainable parameters by module, named as the gsnr table names them."""
    sizes: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            module = name.rpartition(".")[0]
            sizes[module] = sizes.get(module, 0) + parameter.numel()
    return sizes


def _per_sample(domains: Iterable[str | Sequence[str]], batches: Sequence[Sequence[Any]]) -> list[Sequence[str]]:
    given = list(domains)
    if len(given) != len(batches):
        raise ConfigError(f"domains must name each batch; got {len(given)} for {len(batches)} batches.")
    return [
        [names] * len(batch[0]) if isinstance(names, str) else names
        for names, batch in zip(given, batches, strict=True)
    ]


def _fitting(values: np.ndarray, dtype: Any) -> np.ndarray:
    """``values`` in ``dtype``, or unchanged when they would overflow there."""
    largest = np.finfo(dtype).max
    return values.astype(dtype) if not (np.abs(values) > largest).any() else values


def _save_tensors(path: Path, state: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: save_file(dict(state), temporary))
