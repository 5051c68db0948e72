"""What the data say before training: domains in the untrained network and in a frozen feature, groups, label lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.diagnostics import embeddings
from workbench.diagnostics.recorder import Recorder
from workbench.diagnostics.untouched import device_of, on_device, random_state_kept, untouched
from workbench.forecast.problem import Problem

#: Samples that are looked at, and the batches drawn for them, at most.
MAX_SAMPLES, MAX_BATCHES = 1200, 40
#: Raw inputs are projected onto so many fixed random directions.
WIDTH = 64
#: Layers of the record that no network of the user's made.
FROZEN, RAW = "frozen features", "raw inputs"


@dataclass(frozen=True)
class Sampled:
    """Some samples of the training data.

    Attributes:
        batches: As drawn; where tasks have their own batches, one mapping with one task each.
        domain: Of every sample [N]; empty when nothing tells domains apart.
        attributes: Name -> values [N].
    """

    batches: tuple[Any, ...]
    domain: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return len(self.domain) or max((len(values) for values in self.attributes.values()), default=0)


def sample(
    problem: Problem,
    seed: int,
    function: str = "batches",
    n_samples: int = MAX_SAMPLES,
    n_batches: int = MAX_BATCHES,
) -> Sampled:
    """Draw samples and ask ``domains`` and ``attributes`` about them. Tasks with their own batches are domains too.

    Args:
        function: ``batches`` or ``validation``.
        n_samples: Enough; the batch that reaches it is the last. n_batches: Drawn at most.

    Raises:
        ConfigError: the functions disagree about the number of samples.
    """
    kept: list[Any] = []
    domain: list[str] = []
    attributes: dict[str, list[str]] = {}
    found = 0
    with random_state_kept():
        drawn = islice(problem.one_pass(seed, function), n_batches)
        for batch, task in chain.from_iterable(_pieces(problem, batch) for batch in drawn):
            names = _domains(problem, batch, task)
            given = _attributes(problem, batch)
            sizes = {len(names), *(len(values) for values in given.values())} - ({0} if not names else set())
            if len(sizes) > 1:
                raise ConfigError(
                    f"{problem.where}: domains() and attributes() must give one entry for every sample of a batch; "
                    f"they gave {', '.join(map(str, sorted(sizes)))} for the same batch."
                )
            kept.append(batch)
            domain.extend(names)
            for name, values in given.items():
                attributes.setdefault(name, []).extend(values)
            inputs = first_inputs(batch)
            found += max(0 if inputs is None else len(inputs), *sizes, 0)
            if found >= n_samples:
                break
    return Sampled(tuple(kept), tuple(domain), {name: tuple(values) for name, values in attributes.items()})


def describe(recorder: Recorder, sampled: Sampled) -> None:
    """Record the samples with their domains and attributes."""
    if sampled.n == 0:
        return
    columns: dict[str, Any] = {"sample": np.arange(sampled.n), "split": "train", **sampled.attributes}
    if sampled.domain:
        columns["domain"] = sampled.domain
    recorder.samples(columns)


def record_features(recorder: Recorder, problem: Problem, sampled: Sampled) -> str:
    """Record the frozen feature of every sample, or the raw inputs; returns why neither was possible, or ""."""
    if not sampled.domain:
        return ""
    with torch.no_grad():
        rows = [_features(problem, batch) for batch in sampled.batches]
    if any(row is None for row in rows):
        return "No frozen feature: features(batch) is missing, and the batches hold no tensor of numbers."
    values = np.concatenate([row for row in rows if row is not None])
    if len(values) != sampled.n:
        return f"No frozen feature: it has {len(values)} rows for {sampled.n} samples."
    recorder.embedding(0, FROZEN if problem.features else RAW, values, np.arange(len(values)))
    return ""


def record_embeddings(recorder: Recorder, problem: Problem, model: nn.Module, sampled: Sampled) -> str:
    """Record what the untrained shared part makes of every sample; returns why it could not, or ""."""
    if not sampled.domain:
        return ""
    try:
        layer, values = _embedded(problem, model, sampled)
    except ConfigError as error:
        return f"No embeddings: {error}"
    if len(values) != sampled.n:
        return (
            f"No embeddings: layer '{layer}' has {len(values)} rows for {sampled.n} samples; give embed(model, batch)."
        )
    recorder.embedding(0, layer, values.astype(np.float32), np.arange(len(values)))
    return ""


def _pieces(problem: Problem, batch: Any) -> list[tuple[Any, str]]:
    if problem.by_task(batch):
        return [({task: batch[task]}, task) for task in problem.tasks]
    return [(batch, "")]


def _domains(problem: Problem, batch: Any, task: str) -> list[str]:
    if problem.domains is not None:
        with problem.calling("domains"):
            return [str(name) for name in problem.domains(batch)]
    inputs = first_inputs(batch)
    return [task] * len(inputs) if task and inputs is not None else []


def _attributes(problem: Problem, batch: Any) -> dict[str, list[str]]:
    if problem.attributes is None:
        return {}
    with problem.calling("attributes"):
        given = problem.attributes(batch)
        return {
            str(name): [str(v.item() if hasattr(v, "item") else v) for v in values] for name, values in given.items()
        }


def _embedded(problem: Problem, model: nn.Module, sampled: Sampled) -> tuple[str, Float[np.ndarray, "N D"]]:
    if problem.embed is not None:
        with untouched(model), torch.no_grad():
            rows = [_given_rows(problem, model, batch) for batch in sampled.batches]
        return "embed", np.concatenate(rows)
    layer = _shared_layer(problem, model)

    def forward(net: nn.Module, batch: Any) -> None:
        with problem.calling("losses"):
            problem.losses(net, batch)

    return layer, embeddings.collect(model, sampled.batches, [layer], forward=forward)[layer]


def _given_rows(problem: Problem, model: nn.Module, batch: Any) -> Float[np.ndarray, "B D"]:
    assert problem.embed is not None
    with problem.calling("embed"):
        given = problem.embed(model, on_device(batch, device_of(model)))
    rows = torch.cat(list(given.values())) if isinstance(given, Mapping) else given
    return rows.reshape(len(rows), -1).float().cpu().numpy()


def _shared_layer(problem: Problem, model: nn.Module) -> str:
    """The name of the shared module, or of the last one of several."""
    with problem.calling("shared"):
        given = problem.shared(model)
    options: Sequence[Any] = list(given.values()) if isinstance(given, Mapping) else given
    last = options[-1] if isinstance(options, (list, tuple)) and options else options
    if isinstance(last, str):
        return last
    name = next((name for name, module in model.named_modules() if module is last), "")
    if not name:
        raise ConfigError("the shared part is no submodule with an output; give embed(model, batch).")
    return name


def _features(problem: Problem, batch: Any) -> Float[np.ndarray, "B D"] | None:
    if problem.features is not None:
        with problem.calling("features"):
            found = problem.features(batch)
        return found.reshape(len(found), -1).float().cpu().numpy()
    inputs = first_inputs(batch)
    if inputs is None:
        return None
    flat = inputs.detach().reshape(len(inputs), -1).float().cpu().numpy()
    if flat.shape[1] <= WIDTH:
        return flat
    directions = np.random.default_rng(0).standard_normal((flat.shape[1], WIDTH)).astype(np.float32)
    return flat @ (directions / np.sqrt(WIDTH))


def first_inputs(value: Any) -> Tensor | None:
    """The first tensor of numbers with rows inside a batch: its inputs, in all layouts that are common."""
    if isinstance(value, Tensor):
        return value if value.ndim >= 2 and value.is_floating_point() else None
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return next((found for item in items if (found := first_inputs(item)) is not None), None)
