"""The protocol: what a file must say, and what a person reads when it says it wrongly."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import nn

from workbench.core import ConfigError
from workbench.forecast import Problem, load_model, load_problem

GOOD = """
import torch
from torch import nn
import helper_of_the_test

tasks = ["a", "b"]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4))
        self.heads = nn.ModuleDict({t: nn.Linear(4, 1) for t in tasks})

def build_model(seed):
    return Net()

def shared(model):
    return model.trunk

def batches(seed):
    for _ in range(2):
        yield torch.randn(6, 3)

def losses(model, x):
    h = model.trunk(x)
    return {t: model.heads[t](h).squeeze(1) ** 2 for t in tasks}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "helper_of_the_test.py").write_text("value = 1\n")
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    return path


def test_file_describes_a_problem(file):
    problem = load_problem(file)
    assert (problem.tasks, problem.name, problem.where) == (("a", "b"), "mine", "mine.py")
    model = problem.model(0)
    assert list(problem.parts(model)) == ["trunk.0", "trunk.2"]
    losses = problem.task_losses(model, next(problem.stream(0)))
    assert {task: tuple(loss.shape) for task, loss in losses.items()} == {"a": (6,), "b": (6,)}


def test_same_seed_gives_same_model_and_batches_without_touching_the_generator(file):
    problem = load_problem(file)
    state = torch.get_rng_state()
    one, two = problem.model(3), problem.model(3)
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    first, again = (list(islice(problem.stream(5), 5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[2])  # a new pass draws anew


def test_file_may_hold_one_problem_object(file):
    more = "\nfrom workbench.forecast import Problem\n"
    more += (
        "problem = Problem(tasks=('x', 'y'), build_model=build_model, shared=shared, batches=batches, losses=losses)\n"
    )
    file.write_text(GOOD + more)
    problem = load_problem(file)
    assert (problem.tasks, problem.name, problem.source) == (("x", "y"), "mine", file.resolve())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("def losses(", "def lossses("), "mine.py does not define losses"),
        (('tasks = ["a", "b"]', 'tasks = ["a"]'), "mine.py: tasks must be a list of at least two names"),
        (('tasks = ["a", "b"]', 'tasks = ["a", "a"]'), "task names must differ"),
        (('tasks = ["a", "b"]', "tasks = ["), r"mine.py, line \d+"),
        (("import helper_of_the_test", "import no_such_module_here"), r"mine.py could not be run.*at line 4"),
        (("def shared(model):", "shared = 3\ndef unused(model):"), "shared must be a function; got 3"),
    ],
)
def test_bad_file_is_named_with_what_is_wrong(file, change, message):
    file.write_text(GOOD.replace(*change))
    with pytest.raises(ConfigError, match=message):
        load_problem(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("    return Net()", "    Net()"), "build_model.* must return an nn.Module; got a NoneType"),
        (("    return Net()", "    return Nett()"), r"build_model.* NameError at line \d+ \(return Nett"),
        (("    return model.trunk", "    return ['trunk', 'neck']"), "names 'neck', which the model does not have"),
        (("    return model.trunk", "    return nn.Linear(3, 3)"), "no trainable parameters"),
        (("    return model.trunk", "    return 5"), "must return a module, a list"),
        (("for _ in range(2):", "for _ in range(0):"), "yielded nothing"),
        (("for t in tasks}\n", "for t in ['a']}\n#", ), "no entry for task 'b'"),
        ((".squeeze(1) ** 2", ".expand(6, 2)"), r"loss of task 'a' must be a tensor \[B\].*\(6, 2\)"),
        (("    return {t: model.heads", "    [t for t in tasks][7]; return {t: model.heads"), "raised IndexError"),
    ],
)  # fmt: skip
def test_function_that_misbehaves_is_named(file, change, message):
    head, _, tail = GOOD.rpartition(change[0])
    file.write_text(head + change[1] + tail)
    problem = load_problem(file)
    with pytest.raises(ConfigError, match=message):
        model = problem.model(0)
        problem.parts(model)
        problem.task_losses(model, next(problem.stream(0)))


def test_missing_file_and_foreign_file(tmp_path):
    with pytest.raises(ConfigError, match="is no Python file.*--template heads"):
        load_problem(tmp_path / "absent.py")


def _problem(**changes) -> Problem:
    given = {
        "tasks": ["a", "b"],
        "build_model": lambda seed: nn.ModuleDict(
            {"trunk": nn.Linear(3, 2), "a": nn.Linear(2, 1), "b": nn.Linear(2, 1)}
        ),
        "shared": lambda model: model["trunk"],
        "batches": lambda seed: iter([{"a": torch.ones(4, 3), "b": torch.ones(5, 3)}]),
        "losses": lambda model, batch: {t: model[t](model["trunk"](x)).mean() ** 2 for t, x in batch.items()},
    }
    return Problem(**(given | changes))


def test_tasks_with_their_own_batches_are_asked_alone():
    asked = []

    def losses(model, batch):
        asked.append(tuple(batch))
        return {t: model[t](model["trunk"](x))[:, 0] ** 2 for t, x in batch.items()}

    problem = _problem(losses=losses)
    model, batch = problem.model(0), next(problem.stream(0))
    assert problem.by_task(batch)
    assert list(problem.task_losses(model, batch, ["b"])) == ["b"]
    assert asked == [("b",)]


def test_named_groups_of_the_shared_part_keep_their_names():
    problem = _problem(shared=lambda model: {"early": [model["trunk"].weight], "late": model["trunk"].bias})
    assert list(problem.parts(problem.model(0))) == ["early", "late"]


def test_labels_are_lists():
    with pytest.raises(ConfigError, match="labels must map every dataset to its list"):
        _problem(labels={"city": "road"})


def test_checkpoint_gives_the_trained_model(tmp_path):
    problem = _problem()
    trained = problem.model(1)
    torch.save(
        {"state_dict": {f"model.{name}": value for name, value in trained.state_dict().items()}}, tmp_path / "a.ckpt"
    )
    loaded = load_model(problem, tmp_path / "a.ckpt")
    assert not loaded.training
    for a, b in zip(trained.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(a, b)


def test_checkpoint_of_another_model_is_refused(tmp_path):
    problem = _problem()
    torch.save(nn.Linear(3, 3).state_dict(), tmp_path / "a.pt")
    with pytest.raises(
        ConfigError, match=r"a.pt lacks 6 of the 6 tensors.*e.g. 'trunk.weight'.*holds e.g. weight, bias"
    ):
        load_model(problem, tmp_path / "a.pt")
    wide = _problem(
        build_model=lambda seed: nn.ModuleDict({"trunk": nn.Linear(3, 9), "a": nn.Linear(2, 1), "b": nn.Linear(2, 1)})
    )
    torch.save(wide.model(0).state_dict(), tmp_path / "wide.pt")
    with pytest.raises(ConfigError, match=r"'trunk.weight' has shape \(9, 3\).*has \(2, 3\)"):
        load_model(problem, tmp_path / "wide.pt")
