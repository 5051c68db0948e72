"""Two digits in one picture, four tasks on one trunk: left digit, right digit, same parity, rebuilding the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from workbench.core import Attribute, RunWriter, Task
from workbench.demos.data import mnist, pngs
from workbench.demos.data.pairs import PAIR_SIZE, Pairs, draw_pairs
from workbench.demos.nets import Net, NetSpec, save_net
from workbench.demos.recipe import Job
from workbench.demos.trainer import Training, as_pictures, batches_of, fit, record_answers
from workbench.diagnostics.recorder import Recorder

DIGITS = tuple("0123456789")
TASKS = (
    Task("left", classes=DIGITS),
    Task("right", classes=DIGITS),
    Task("parity", classes=("different", "same")),
    Task("rebuild", kind="reconstruction"),
)
#: Variant -> the tasks that it trains.
TRAINED = {"joint": tuple(task.name for task in TASKS)} | {f"{task.name}-alone": (task.name,) for task in TASKS}
MODULES = ("conv1", "conv2", "conv3", "embed")
#: The layer whose channels are recorded in groups, one a task; the others whole, since each group weighs as a module.
CUT = "conv3"
LAYERS = ("trunk.conv2", "trunk.conv3", "trunk.embed")
PROBES = (0, 15, 30, 45, 60, 80, 100, 130, 160, 200, 250, 300, 370, 450, 520, 600)
TRAINING = Training(probes=PROBES, lr=0.03)
#: Steps at which embeddings are recorded too, and all that the single-task runs record.
FEW = (0, 100, 300, 600)
N_TEST_DIGITS, N_TEST, N_PICTURED, N_PROBE, N_BATCHES = 1000, 800, 240, 1536, 8
N_GSNR, N_TRIAL, N_HELD_OUT = 256, 64, 256
OVERLAP_LEVELS = ("little", "some", "much")


def record(job: Job) -> None:
    rng = np.random.default_rng(job.seed)
    train, test = mnist().split(N_TEST_DIGITS, rng)
    shown, probed = draw_pairs(test, N_TEST, rng), draw_pairs(train, N_PROBE, rng)
    tasks = [task for task in TASKS if task.name in TRAINED[job.variant.name]]
    joint = len(tasks) > 1
    net = Net(NetSpec({task.name: len(task.classes) for task in tasks}, size=PAIR_SIZE, width=12, features=64))
    training = TRAINING if joint else replace(TRAINING, probes=FEW)
    with job.recorder(
        model=net,
        tasks=tasks,
        attributes=[Attribute("overlap", "ordered", OVERLAP_LEVELS), Attribute("same_digit", levels=("no", "yes"))],
        config=training.describe(weights=dict.fromkeys(TRAINED[job.variant.name], 1.0)),
        method="sum of losses" if joint else "single task",
        parent=None if joint else "joint",
    ) as rec:
        record_samples(rec, shown, N_PICTURED if joint else 0)

        def probe(step: int) -> None:
            answer(rec, step, net, shown)
            if not joint:
                return
            losses = losses_on(net, probed)
            rec.task_gradients(step, losses, net.trunk, n_batches=N_BATCHES, modules=MODULES, groups={CUT: len(tasks)})
            record_gsnr(rec, step, net, probed)
            record_trial_steps(rec, step, net, probed, shown)
            if step in FEW:
                ids = np.arange(N_PICTURED)
                rec.embeddings(step, net, as_pictures(shown.images[ids]), sample=ids, layers=LAYERS)

        fit(job, rec, net, training, lambda n: draw_pairs(train, n, rng), lambda pairs: losses_on(net, pairs), probe)
        if joint:
            save_net(rec, job.variant.steps, net)


def losses_of(
    net: Net, images: Float[Tensor, "B C H W"], targets: Mapping[str, Tensor]
) -> dict[str, Float[Tensor, " B"]]:
    """Loss per task and sample: nats for the classifications, squared error per pixel (times 10) for the pictures.

    The factor brings the four losses to one order of magnitude at the start.
    """
    return {
        task: 10 * mse_loss(output, images, reduction="none").flatten(1).mean(1)
        if task == "rebuild"
        else cross_entropy(output, targets[task], reduction="none")
        for task, output in net(images).items()
    }


def losses_on(net: Net, pairs: Pairs) -> dict[str, Float[Tensor, " B"]]:
    images = as_pictures(pairs.images)
    return losses_of(net, images, {task: torch.from_numpy(values) for task, values in targets_of(pairs).items()})


def targets_of(pairs: Pairs) -> dict[str, np.ndarray]:
    return {"left": pairs.left, "right": pairs.right, "parity": pairs.same_parity}


def record_samples(rec: RunWriter, shown: Pairs, n_pictured: int) -> None:
    """Describe the test pictures; the first ones have thumbnails. ``overlap`` is cut at its terciles."""
    level = np.digitize(shown.overlap, np.quantile(shown.overlap, [1 / 3, 2 / 3]))
    thumbnails = pngs(shown.images[:n_pictured])
    rec.samples(
        {
            "sample": np.arange(len(shown.left)),
            "dataset": "mnist",
            "split": "test",
            "overlap": np.array(OVERLAP_LEVELS)[level],
            "same_digit": np.where(shown.left == shown.right, "yes", "no"),
        }
        | {f"target_{task}": values for task, values in targets_of(shown).items()}
        | ({"thumbnail": thumbnails + [None] * (len(shown.left) - n_pictured)} if n_pictured else {})
    )


def answer(rec: RunWriter, step: int, net: Net, shown: Pairs) -> None:
    """Record every head's answers on the test pictures, and accuracies and errors in the summary."""
    images = as_pictures(shown.images)
    summary: dict[str, float] = {}
    if set(net.heads) & {"left", "right", "parity"}:
        summary |= record_answers(rec, step, net, images, targets_of(shown))
    if "rebuild" in net.heads:
        with torch.no_grad():
            summary["error/rebuild"] = float((net(images)["rebuild"] - images).square().mean())
        rec.scalars(step, {"error/rebuild": summary["error/rebuild"]})
    rec.update(summary=summary)


def record_gsnr(rec: Recorder, step: int, net: Net, probed: Pairs) -> None:
    """GSNR of the sum of the task losses, the loss that training minimises."""

    def total(images: Tensor, targets: Mapping[str, Tensor]) -> Float[Tensor, " B"]:
        return torch.stack(list(losses_of(net, images, targets).values())).sum(0)

    rec.gsnr(step, net, total, batches_from(probed, N_GSNR, size=16), detail=True)


def record_trial_steps(rec: Recorder, step: int, net: Net, probed: Pairs, shown: Pairs) -> None:
    """What a plain step on training pictures does to every loss, on them and on test pictures."""

    def losses(images: Tensor, targets: Mapping[str, Tensor]) -> dict[str, Float[Tensor, " B"]]:
        return losses_of(net, images, targets)

    held_out = batches_from(shown, N_HELD_OUT, size=N_HELD_OUT)
    lr = TRAINING.lr
    two, many = (batches_from(probed, n * N_TRIAL, size=N_TRIAL) for n in (2, 8))
    rec.trial_steps(step, net, losses, two, lr=lr, shared=net.trunk, held_out=held_out)
    rec.trial_steps(step, net, losses, many, lr=lr, held_out=held_out, each_task=False)


def batches_from(pairs: Pairs, n: int, size: int) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """The first ``n`` pairs in batches."""
    targets = {task: values[:n] for task, values in targets_of(pairs).items()}
    return list(batches_of(as_pictures(pairs.images[:n]), targets, size=size))
