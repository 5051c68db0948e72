"""What does the Gramian of T task gradients cost, and what do others need for it?

Time is CPU time in units of one plain backward pass of the summed losses; the forward pass is done anew for every call
and not counted. In every round all approaches run one after the other, beginning with the plain pass. The workbench
gives the products of all (task, mini-batch) pairs in every module; the other programs give those of the tasks alone
(K = 1), torchjd's Engine over all modules together. The error is that of the total Gramian against a float64 loop,
relative to the lengths of the two gradients.
"""

from __future__ import annotations

import copy
import multiprocessing
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workbench.core.memory import peak_megabytes_of_this_process
from workbench.diagnostics import gramian
from workbench.diagnostics.benchmark import nets
from workbench.diagnostics.benchmark.gsnr import Figure
from workbench.diagnostics.benchmark.peers import Unsupported


@dataclass(frozen=True)
class Problem:
    """A trunk that T classification heads share, and a batch with T targets."""

    trunk: nn.Module
    heads: nn.ModuleList
    inputs: Tensor
    targets: tuple[Tensor, ...]

    def losses(self) -> dict[str, Tensor]:
        """A fresh forward pass: task -> cross-entropy [B] in nats."""
        features = self.trunk(self.inputs)
        pairs = zip(self.heads, self.targets, strict=True)
        return {str(t): cross_entropy(head(features), y, reduction="none") for t, (head, y) in enumerate(pairs)}

    @property
    def shared(self) -> list[nn.Parameter]:
        return list(self.trunk.parameters())

    def exact(self) -> Problem:
        """The same problem in float64."""
        inputs = self.inputs.double() if self.inputs.is_floating_point() else self.inputs
        return Problem(copy.deepcopy(self.trunk).double(), copy.deepcopy(self.heads).double(), inputs, self.targets)


@dataclass(frozen=True)
class Case:
    name: str
    build: Callable[[], Problem]


#: The graph at hand -> the total Gramian [T, T], or [T·K, T·K], or None for the unit.
Call = Callable[[Problem, dict[str, Tensor]], Any]


def plain(problem: Problem, losses: dict[str, Tensor]) -> None:
    total = torch.stack([loss.mean() for loss in losses.values()]).sum()
    torch.autograd.grad(total, problem.shared, retain_graph=True)


def ours(problem: Problem, losses: dict[str, Tensor], n_batches: int) -> np.ndarray:
    return gramian.measure(losses, problem.trunk, n_batches=n_batches).total().dot[0]


def backward_loop(problem: Problem, losses: dict[str, Tensor], n_batches: int = 1) -> np.ndarray:
    """One backward pass for every (task, mini-batch), products by parameter in the gradients' own precision."""
    rows = [
        torch.autograd.grad(loss[k::n_batches].mean(), problem.shared, retain_graph=True)
        for loss in losses.values()
        for k in range(n_batches)
    ]
    return _products([torch.stack(pieces).flatten(1) for pieces in zip(*rows, strict=True)])


def batched(problem: Problem, losses: dict[str, Tensor]) -> np.ndarray:
    """torch.autograd.grad with is_grads_batched."""
    means = torch.stack([loss.mean() for loss in losses.values()])
    basis = torch.eye(len(means), dtype=means.dtype)
    rows = torch.autograd.grad(means, problem.shared, basis, retain_graph=True, is_grads_batched=True)
    return _products([row.flatten(1) for row in rows])


def libmtl_style(problem: Problem, losses: dict[str, Tensor]) -> np.ndarray:
    """backward() for every task into .grad, copied into one flat vector each, as multi-task libraries do."""
    rows = []
    for loss in losses.values():
        problem.trunk.zero_grad()
        loss.mean().backward(retain_graph=True)
        rows.append(torch.cat([p.grad.flatten() for p in problem.shared if p.grad is not None]))
    problem.trunk.zero_grad()
    problem.heads.zero_grad()
    return _products([torch.stack(rows)])


def torchjd_jac(problem: Problem, losses: dict[str, Tensor]) -> np.ndarray:
    jac = _torchjd("autojac").jac
    rows = jac([loss.mean() for loss in losses.values()], problem.shared, retain_graph=True)
    return _products([row.flatten(1) for row in rows])


def torchjd_engine(problem: Problem, losses: dict[str, Tensor]) -> np.ndarray:
    engine = _ENGINES[id(problem)]
    found: Tensor = engine.compute_gramian(torch.stack([loss.mean() for loss in losses.values()]))
    return found.detach().numpy()


_ENGINES: dict[int, Any] = {}


def _attach_engine(problem: Problem) -> None:
    """torchjd's Engine works by hooks that must be in place before the forward pass."""
    leaves = [module for module in problem.trunk.modules() if any(True for _ in module.parameters(recurse=False))]
    _ENGINES[id(problem)] = _torchjd("autogram").Engine(*leaves, batch_dim=None)


APPROACHES: Mapping[str, Call] = {
    "plain": plain,
    "workbench, K = 4": partial(ours, n_batches=4),
    "workbench, K = 1": partial(ours, n_batches=1),
    "T backward passes": backward_loop,
    "T·K backward passes, K = 4": partial(backward_loop, n_batches=4),
    "is_grads_batched": batched,
    "LibMTL-style loop": libmtl_style,
    "torchjd jac": torchjd_jac,
    "torchjd Engine": torchjd_engine,
}
_BEFORE: Mapping[str, Callable[[Problem], None]] = {"torchjd Engine": _attach_engine}


def run(
    cases: Sequence[Case] | None = None,
    approaches: Sequence[str] = tuple(APPROACHES),
    *,
    rounds: int = 7,
    memory: bool = True,
) -> dict[str, dict[str, Figure]]:
    """Measure every approach on every case with one torch thread: case -> approach -> figure."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():  # torch says so when it cannot batch an operation, which the figure shows
            warnings.filterwarnings("ignore", message="There is a performance drop")
            return {case.name: _case(case, approaches, rounds, memory) for case in cases or CASES}
    finally:
        torch.set_num_threads(threads)


def _case(case: Case, approaches: Sequence[str], rounds: int, memory: bool) -> dict[str, Figure]:
    ready: dict[str, Callable[[], float]] = {}
    errors, why_not = {}, {}
    for name in dict.fromkeys(("plain", *approaches)):
        try:
            problem = _prepared(case, name)
            errors[name] = _error(problem, APPROACHES[name](problem, problem.losses()))
            ready[name] = partial(_seconds, problem, APPROACHES[name])
        except (Unsupported, ImportError, RuntimeError, ValueError) as error:
            why_not[name] = f"fails: {str(error).splitlines()[0] or type(error).__name__}"
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(rounds):
        for name, timed in ready.items():
            seconds[name].append(timed())
    unit = np.array(seconds["plain"])
    return {
        name: Figure(
            tuple(np.array(seconds[name]) / unit),
            peak_megabytes(case, name) if memory else float("nan"),
            errors[name],
            seconds=tuple(seconds[name]),
        )
        if name in ready
        else Figure(why_not=why_not[name])
        for name in approaches
    }


def _prepared(case: Case, name: str) -> Problem:
    problem = case.build()
    _BEFORE.get(name, lambda _: None)(problem)
    return problem


def _seconds(problem: Problem, call: Call) -> float:
    losses = problem.losses()
    start = time.process_time()
    call(problem, losses)
    return time.process_time() - start


def _error(problem: Problem, found: np.ndarray | None) -> float:
    """Largest error of a product relative to the two gradients' lengths; NaN for the unit."""
    if found is None:
        return float("nan")
    exact = problem.exact()
    n_batches = round(found.size**0.5) // len(problem.targets)
    expected = backward_loop(exact, exact.losses(), n_batches)
    length = np.sqrt(np.diag(expected))
    return float((np.abs(found.reshape(expected.shape) - expected) / np.outer(length, length)).max())


def _products(rows: Sequence[Tensor]) -> np.ndarray:
    return torch.stack([(row @ row.T).double() for row in rows]).sum(0).numpy()


def peak_megabytes(case: Case, approach: str) -> float:
    """Peak memory of three calls over what the process held after building the case, in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak, case.name, approach).result()


def _peak(name: str, approach: str) -> float:
    torch.set_num_threads(1)
    problem = _prepared(next(case for case in CASES if case.name == name), approach)
    before = peak_megabytes_of_this_process()
    for _ in range(3):
        APPROACHES[approach](problem, problem.losses())
    return peak_megabytes_of_this_process() - before


def _torchjd(module: str) -> Any:
    from importlib import import_module
    from importlib.util import find_spec

    if find_spec("torchjd") is None:
        raise Unsupported("torchjd is not installed (extra 'bench')")
    return import_module(f"torchjd.{module}")


def _problem(trunk: nn.Module, width: int, inputs: Tensor, n_tasks: int) -> Problem:
    heads = nn.ModuleList([nn.Linear(width, 10) for _ in range(n_tasks)])
    return Problem(trunk, heads, inputs, tuple(torch.randint(10, (len(inputs),)) for _ in range(n_tasks)))


def resnet(n_tasks: int) -> Problem:
    torch.manual_seed(0)
    layers = list(nets.resnet18(16, nets.group_norm).children())[:-1]
    return _problem(nn.Sequential(*layers), 128, torch.randn(16, 3, 32, 32), n_tasks)


def transformer(n_tasks: int) -> Problem:
    torch.manual_seed(0)
    trunk = nets.Transformer(1000, 192, 4, 6, 64)
    trunk.head = nn.Identity()  # type: ignore[assignment]
    return _problem(trunk, 192, torch.randint(1000, (8, 64)), n_tasks)


def mlp(n_tasks: int) -> Problem:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU())
    return _problem(trunk, 512, torch.randn(128, 784), n_tasks)


CASES = (
    Case("ResNet-18 w16, B=16, T=2", partial(resnet, 2)),
    Case("ResNet-18 w16, B=16, T=8", partial(resnet, 8)),
    Case("Transformer d192 L4, B=8, T=2", partial(transformer, 2)),
    Case("Transformer d192 L4, B=8, T=8", partial(transformer, 8)),
    Case("MLP 670k, B=128, T=2", partial(mlp, 2)),
    Case("MLP 670k, B=128, T=8", partial(mlp, 8)),
    Case("MLP 670k, B=128, T=40", partial(mlp, 40)),
)
