"""What the sample runs hold beyond scalars: the test pictures with all answers, and gradients by owner of a filter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from workbench.core import Attribute, Domain
from workbench.demos.data import pngs
from workbench.demos.data.pairs import Pairs
from workbench.demos.nets import save_net
from workbench.demos.recipes.gradsplit.nets import Branched
from workbench.demos.recipes.gradsplit.problem import OVERLAP, Batch, Problem, halved, losses_of, targets_of
from workbench.demos.recipes.gradsplit.watch import Watched
from workbench.demos.trainer import record_answers
from workbench.diagnostics.gramian import Channels, channel_groups
from workbench.diagnostics.recorder import Recorder
from workbench.methods.gradsplit import group_of

DOMAINS = (Domain("mnist"), Domain("uci", held_out=True))
ATTRIBUTES = (Attribute("ink_overlap", "ordered", OVERLAP),)
#: Test pairs that are recorded of each kind, how many of them as pictures, and mini-batches of the gradients.
N_SHOWN, N_PICTURED, N_BATCHES = 200, 40, 4
LAYER = "trunk.embed"
#: Samples a task behind the recorded gradients.
N_RECORDED = 512
#: Length of a trial step in units of the gradient.
TRIAL_LR = 0.02
FIELDS = ("images", "left", "right", "overlap")


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


def record_groups(rec: Recorder, step: int, net: Branched, watched: Batch, layers: Sequence[str]) -> None:
    """Gradients on each owner's filters, layer by layer (a layer's norm goes with it), and what a step really does."""
    rec.task_gradients(step, losses_of(net, watched, {}), groups_of(net, layers), n_batches=N_BATCHES)
    halves = [({task: part(pairs, slice(k, None, 2)) for task, pairs in watched.items()},) for k in range(2)]
    rec.trial_steps(step, net, lambda batch: losses_of(net, batch, {}), halves, lr=TRIAL_LR, shared=net.trunk)


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
        rec.array("group_use", step, {"share": use_of(net)})
    save_net(rec, step, net)


def use_of(net: Branched) -> Float[np.ndarray, "T T"]:
    """How much each head reads from each owner's features: share of its squared weights, row the head, in [0, 1]."""
    owners = group_of(net.spec.features, len(net.heads))
    rows = []
    for head in net.heads.values():
        weights = next(head.parameters()).detach().double().square().sum(0)  # [D]
        rows.append(torch.bincount(owners, weights, minlength=len(net.heads)) / weights.sum())
    return torch.stack(rows).numpy()


def joined(*kinds: Pairs) -> Pairs:
    """The first pairs of each kind, one kind after the other."""
    return Pairs(*(np.concatenate([getattr(pairs, name)[:N_SHOWN] for pairs in kinds]) for name in FIELDS))


def part(pairs: Pairs, index: slice) -> Pairs:
    return Pairs(*(getattr(pairs, name)[index] for name in FIELDS))
