"""What the sample runs hold beyond scalars: the test pictures with all answers, and gradients by owner of a filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from workbench.core import Attribute, Domain
from workbench.demos.data import pngs
from workbench.demos.data.pairs import Pairs
from workbench.demos.nets import save_net
from workbench.demos.recipes.gradsplit.nets import Branched
from workbench.demos.recipes.gradsplit.problem import OVERLAP, Problem, halved, targets_of
from workbench.demos.recipes.gradsplit.watch import Watched
from workbench.demos.trainer import record_answers
from workbench.diagnostics.gramian import Channels, channel_groups
from workbench.diagnostics.recorder import Recorder

DOMAINS = (Domain("mnist"), Domain("uci", held_out=True))
ATTRIBUTES = (Attribute("ink_overlap", "ordered", OVERLAP),)
#: Test pairs that are recorded of each kind, how many of them as pictures, and mini-batches of the gradients.
N_SHOWN, N_PICTURED, N_BATCHES = 300, 60, 4
LAYER = "trunk.embed"


def record_start(rec: Recorder, problem: Problem, seen: Watched | None) -> None:
    """Describe the shown pairs, MNIST first, and keep what was seen before training."""
    for first, pairs, domain in ((0, problem.test, "mnist"), (N_SHOWN, problem.foreign, "uci")):
        targets = {name: values[:N_SHOWN] for name, values in targets_of(pairs).items()}
        pictures = pngs(pairs.images[:N_PICTURED])
        rec.samples(
            {
                "sample": first + np.arange(N_SHOWN),
                "dataset": domain,
                "domain": domain,
                "split": "test",
                "ink_overlap": np.array(OVERLAP)[targets["overlap"]],
                "thumbnail": pictures + [None] * (N_SHOWN - len(pictures)),
            }
            | {f"target_{task.name}": targets[task.name] for task in problem.tasks if task.name in targets}
        )
    if seen is not None:
        rec.array("influence", 0, {"z": seen.influence.double().numpy(), "steps": seen.steps})


def record_groups(rec: Recorder, step: int, losses: Mapping[str, Tensor], net: Branched, layers: Sequence[str]) -> None:
    """The Gramian of the tasks' gradients on each owner's filters, layer by layer; a layer's norm goes with it."""
    rec.task_gradients(step, losses, groups_of(net, layers), n_batches=N_BATCHES)


def groups_of(net: Branched, layers: Sequence[str]) -> dict[str, tuple[Channels, ...]]:
    """``<layer>[<first channel>:<last + 1>]`` -> the owner's pieces of all parameters of the layer."""
    groups: dict[str, tuple[Channels, ...]] = {}
    for layer in layers:
        for name, pieces in channel_groups(net.layer(layer), len(net.heads)).items():
            owned = f"trunk.{layer}[{name.partition('[')[2]}"
            groups[owned] = (*groups.get(owned, ()), *pieces)
    return groups


def record_end(rec: Recorder, step: int, net: Branched, problem: Problem) -> None:
    """Answers, features and weights at the end."""
    shown = joined(problem.test, problem.foreign)
    images, targets = halved(shown.images), targets_of(shown)
    domains = np.repeat([domain.name for domain in DOMAINS], N_SHOWN)
    known = {task: targets[task] for task in net.heads if task in targets}
    if known:
        rec.update(summary=record_answers(rec, step, net, images, known, domains))
    if not net.own:  # otherwise every task has features of its own
        rec.embeddings(step, net, images, sample=np.arange(len(images)), layers=[LAYER])
    save_net(rec, step, net)


def joined(*kinds: Pairs) -> Pairs:
    """The first pairs of each kind, one kind after the other."""
    fields = ("images", "left", "right", "overlap")
    return Pairs(*(np.concatenate([getattr(pairs, field)[:N_SHOWN] for pairs in kinds]) for field in fields))
