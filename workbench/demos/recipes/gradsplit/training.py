"""Train the variants of the recipe: which tasks, which net, which gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from workbench.demos.nets import NetSpec
from workbench.demos.recipe import Job
from workbench.demos.recipes.gradsplit.baselines import most_conflicting, pcgrad_rule
from workbench.demos.recipes.gradsplit.nets import LAYERS, Branched
from workbench.demos.recipes.gradsplit.problem import SIZE, Batch, Problem, losses_of, problem_of, scores_of
from workbench.demos.recipes.gradsplit.records import (
    ATTRIBUTES,
    DOMAINS,
    N_RECORDED,
    record_end,
    record_groups,
    record_start,
)
from workbench.demos.recipes.gradsplit.trials import tried_relation
from workbench.demos.recipes.gradsplit.watch import Watched, watch
from workbench.demos.trainer import Training, fit
from workbench.diagnostics.cost import inference_cost
from workbench.methods.gradsplit import GradSplit, conflict_left, group_gram, relation_of

#: The layers whose channels have owners: the deeper half, chosen over all but the first on the tuning seeds.
SPLIT = LAYERS[2:]
#: Steps at which gradients are measured, beside the last.
PROBES = (0, 20, 50, 100, 160, 240, 320)
TRAINING = Training(probes=PROBES, lr=2e-3, momentum=0.9, batch=32, optimizer="Adam")
#: Samples a task behind the conflict that is measured on the way.
N_PROBE = 192
#: The task whose loss is multiplied in the variants with a loud loss, and by how much.
LOUD = {"left": 30.0}
#: Layers that the split after Recon gives to each task.
RECON_LAYERS = 1


@dataclass(frozen=True)
class Plan:
    """What sets a variant apart.

    Attributes:
        rule: ``sum``, ``pcgrad``, ``own`` (GradSplit with A = I), ``look-ahead`` (GradSplit with A from Z) or
            ``trials`` (GradSplit with A from trial trainings).
        own: Layers that are given to each task: ``none``, ``most conflicting`` (after Recon), or ``all``, which makes a
            net a task.
        loud: Multiply one task's loss.
        wide: Width of every layer, relative to the net of the other variants.
    """

    n_tasks: int = 4
    rule: str = "sum"
    own: str = "none"
    loud: bool = False
    wide: float = 1.0

    @property
    def weights(self) -> Mapping[str, float]:
        return LOUD if self.loud else {}

    @property
    def method(self) -> str:
        if self.rule in ("own", "look-ahead", "trials"):
            return "gradsplit"
        return {"none": self.rule, "most conflicting": "recon", "all": "single nets"}[self.own]


PLANS: dict[str, Plan] = {
    "shared": Plan(),
    "gradsplit": Plan(rule="look-ahead"),
    "own-groups": Plan(rule="own"),
    "pcgrad": Plan(rule="pcgrad"),
    "recon": Plan(own="most conflicting"),
    "single-nets": Plan(own="all"),
    "shared-loud": Plan(loud=True),
    "own-groups-loud": Plan(rule="own", loud=True),
    "gradsplit-trials": Plan(rule="trials"),
    "narrow-shared": Plan(wide=0.5),
    "narrow-gradsplit": Plan(wide=0.5, rule="look-ahead"),
    "wide-shared": Plan(wide=2.0),
    "wide-gradsplit": Plan(wide=2.0, rule="look-ahead"),
    "five-shared": Plan(5),
    "five-gradsplit": Plan(5, rule="look-ahead"),
}


def record(job: Job) -> None:
    plan = PLANS[job.variant.name]
    rng = np.random.default_rng(job.seed)
    steps = job.variant.steps
    training = replace(TRAINING, probes=(*(step for step in PROBES if step < steps), steps))
    problem = problem_of(plan.n_tasks, rng)
    net = Branched(spec_of(problem, plan.wide))
    looks = plan.rule == "look-ahead" or plan.own == "most conflicting"
    seen = watch(job, net, problem, training, plan.weights) if looks else None
    if plan.own != "none":
        net.branch(most_conflicting(seen.scores, RECON_LAYERS) if seen else LAYERS)
    tried = tried_relation(job, net, problem, training, SPLIT) if plan.rule == "trials" else None
    method = split_of(plan, net, seen, tried)
    rule = pcgrad_rule(net, list(net.trunk.parameters()), job.seed) if plan.rule == "pcgrad" else None
    watched = problem.draw(N_PROBE, rng)
    recorded = problem.draw(N_RECORDED, np.random.default_rng((job.seed, 2))) if not job.lean else {}
    left: list[float] = []
    with job.recorder(
        model=net,
        tasks=problem.tasks,
        domains=DOMAINS,
        attributes=ATTRIBUTES,
        config=training.describe(**asdict(plan), own_layers=net.own)
        | ({"relation": method.relation.tolist()} if method else {}),
        method=plan.method,
        parent=None if job.variant.name.endswith("shared") else "shared",
    ) as rec:
        if not job.lean:
            record_start(rec, problem, seen)

        def split(losses: Mapping[str, Tensor]) -> None:
            if method:
                method.backward(losses)

        def probe(step: int) -> None:
            if method:
                left.append(conflict_of(method, net, watched))
            if method and not job.lean:
                record_groups(rec, step, net, recorded, SPLIT)
            if not job.lean and step == steps:
                record_end(rec, step, net, problem)

        fit(
            job,
            rec,
            net,
            training,
            lambda n: problem.draw(n, rng),
            lambda batch: losses_of(net, batch, plan.weights),
            probe,
            split if plan.method == "gradsplit" else rule,
        )
        job.results(results_of(net, problem) | ({"conflict": float(np.nanmean(left))} if left else {}))


def spec_of(problem: Problem, wide: float = 1.0) -> NetSpec:
    """Widths are multiples of the number of tasks, and norms never mix the channels of two owners."""
    heads = {task.name: len(task.classes) for task in problem.tasks}
    n = len(heads)
    return NetSpec(heads, size=SIZE, width=int(2 * wide) * n, features=int(12 * wide) * n, norm_groups=n)


def split_of(
    plan: Plan, net: Branched, seen: Watched | None, tried: Bool[Tensor, "T T"] | None = None
) -> GradSplit | None:
    """The split whose groups are watched in every net that all tasks share; A of ones where it trains plainly."""
    names = list(net.heads)
    if net.own:
        return None
    relation = torch.eye(len(names), dtype=torch.bool)
    if tried is not None:
        relation = tried
    elif plan.rule == "look-ahead" and seen:
        relation = relation_of(seen.influence)
    elif plan.rule != "own":
        relation = torch.ones_like(relation)
    return GradSplit(net, [net.layer(name) for name in SPLIT], names, relation)


def conflict_of(method: GradSplit, net: Branched, batch: Batch) -> float:
    """Mean over groups of the conflict that is left on a group's filters; NaN where no owner has a gradient."""
    gradients = []
    for loss in losses_of(net, batch, {}).values():
        gradients.append(list(torch.autograd.grad(loss.mean(), method.split, allow_unused=True)))
    return float(conflict_left(group_gram(gradients, len(gradients)), method.relation).nanmean())


def results_of(net: nn.Module, problem: Problem) -> dict[str, float]:
    """Scores in the mean and by task on unseen pairs of MNIST and of UCI digits; what the net costs for one picture."""
    names = [task.name for task in problem.tasks]
    own, foreign = (scores_of(net, names, pairs) for pairs in (problem.test, problem.foreign))
    cost = inference_cost(net, torch.zeros(1, 1, *SIZE))
    return (
        {"score": float(np.mean(list(own.values()))), "score on UCI": float(np.mean(list(foreign.values())))}
        | {f"score/{task}": score for task, score in own.items()}
        | {"flops": float(cost.flops), "parameters": float(cost.parameters)}
    )
