from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from workbench.core import Run, RunFormatError
from workbench.demos.data import png
from workbench.demos.nets import Net, NetSpec, save_net
from workbench.demos.rebuilt import grounds, rebuild, why_not
from workbench.demos.training_data import training_data
from workbench.diagnostics.recorder import Recorder

SAMPLES = Path(__file__).parents[2] / "sample_runs"


def record(folder: Path, net: Net, task: str = "digit", predicted: str = "digit") -> Run:
    """Five pictures; the third is of another size and the fourth was never kept. The last answer is another one."""
    images = np.random.default_rng(0).integers(16, size=(5, 16, 16)) / 15
    with torch.no_grad():
        chance = net(torch.from_numpy(images[:, None]).float())[task].softmax(1)
    answers = chance.argmax(1).numpy()
    answers[4] = (answers[4] + 1) % 3
    thumbnails = [png(image) for image in images]
    thumbnails[2], thumbnails[3] = png(np.zeros((8, 8))), None
    with Recorder(folder, tasks=[predicted]) as rec:
        rec.samples({"sample": np.arange(5), "split": "test", f"target_{predicted}": answers, "thumbnail": thumbnails})
        sure = chance.max(1).values.double().numpy()
        rec.predictions(7, predicted, sample=np.arange(5), prediction=answers, confidence=sure, loss=np.ones(5))
        save_net(rec, 7, net)
    return Run(folder)


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net(NetSpec({"digit": 3, "rebuild": 0}, size=(16, 16), width=4, features=6)).eval()


def test_the_net_comes_back_with_the_pictures_of_its_size(tmp_path, net):
    run = record(tmp_path / "run", net)
    assert why_not(run) is None
    found = rebuild(run)
    assert found.step == 7
    assert found.tasks == ("digit",)
    assert found.samples.tolist() == [0, 1, 4]
    assert tuple(found.inputs.shape) == (3, 1, 16, 16)
    assert found.faithful.tolist() == [True, True, False]


@pytest.mark.parametrize("name", ["digit-pairs/joint", "digit-domains/without-uci", "faults/case-b"])
def test_sample_runs_are_rebuilt_and_most_pictures_stand_for_the_inputs(name):
    run = Run(SAMPLES / name)
    found = rebuild(run)
    assert set(found.tasks) <= {task.name for task in run.info.tasks}
    assert found.faithful.mean() > 0.7


@pytest.mark.parametrize("name", ["digit-biases/skewed", "digit-domains/without-uci", "faults/case-a"])
def test_test_samples_drawn_again_are_the_nets_own_inputs(name):
    run = Run(SAMPLES / name)
    found = rebuild(run, training_data(run)[1])
    assert found.exact
    assert found.faithful.all()
    assert found.samples.tolist() == run.query("SELECT sample FROM samples ORDER BY sample")["sample"].tolist()


def test_what_cannot_be_rebuilt_says_why(tmp_path, net):
    assert "no checkpoint" in (why_not(Run(SAMPLES / "digit-pairs" / "left-alone")) or "")
    with pytest.raises(RunFormatError, match="no checkpoint"):
        rebuild(Run(SAMPLES / "digit-pairs" / "left-alone"))
    with pytest.raises(RunFormatError, match="not finite"):
        rebuild(Run(SAMPLES / "faults" / "case-f"))
    with pytest.raises(RunFormatError, match=r"No head of the net \(digit\)"):
        rebuild(record(tmp_path / "other", net, predicted="letter"))


def test_a_description_of_another_net_is_refused(tmp_path, net):
    shutil.copytree(record(tmp_path / "run", net).path, tmp_path / "copy")
    file = tmp_path / "copy" / "checkpoints" / "step-00000007.json"
    described = json.loads(file.read_text())
    described["net"]["width"] = 8
    file.write_text(json.dumps(described))
    with pytest.raises(RunFormatError, match="does not hold the net"):
        rebuild(Run(tmp_path / "copy"))
    file.write_text("not JSON")
    assert "no checkpoint" in (why_not(Run(tmp_path / "copy")) or "")


def test_the_ground_of_a_picture_is_its_most_common_colour():
    pictures = torch.full((2, 3, 6, 6), 0.25)
    pictures[1, 2] = 1.0
    pictures[:, :, 2:4, 2:4] = 0.9
    ground = grounds(pictures)
    assert ground.shape == pictures.shape
    assert torch.equal(ground[0], torch.full((3, 6, 6), 0.25))
    assert torch.equal(ground[1, 2], torch.ones(6, 6))
