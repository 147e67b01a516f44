"""The training step before anything begins: what it finds, what it refuses, and what a run then does."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import poolsearch
from poolsearch.errors import PoolsearchError
from poolsearch.image_size import ImageSize
from poolsearch.nets.restride import restride
from poolsearch.settings.groups import MachineSettings
from poolsearch.storage.run_dir import RunDir
from poolsearch.train.first_step import first_step
from poolsearch.train.machine import pick_machine

pytestmark = pytest.mark.usefixtures("one_thread")

NETS = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm = nn.BatchNorm2d(outputs)
    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))

class Fold(nn.Module):
    def forward(self, x):
        b, c, h, w = x.shape
        return x.view(b * 2, c // 2, h, w).mul(2).view(b, c, h, w)

class Net(nn.Module):
    def __init__(self, classes, *more, flat="flatten", head=None, side=8):
        super().__init__()
        self.blocks = nn.Sequential(Block(3, 4), Block(4, 4, 2), *more, Block(4, 4))
        self.flat, self.many = flat, 4 * side * side
        self.fc = head or nn.Linear(4 * side * side, classes)
    def forward(self, x):
        x = self.blocks(x)
        if self.flat == "view":
            x = x.view(x.size(0), -1)
        elif self.flat == "counted":
            x = x.view(-1, self.many)
        else:
            x = x.flatten(1)
        return self.fc(x)

class Five(Net):
    def __init__(self, classes):
        super().__init__(classes)
        self.gain = nn.Parameter(torch.ones(1, 1, 4, 1, 1))
    def forward(self, x):
        return self.fc((self.blocks(x) * self.gain[0]).flatten(1))

class Pair(Net):
    def forward(self, x):
        return super().forward(x), x

class Broken(nn.Linear):
    def forward(self, x):
        return super().forward(x) / 0

def view(classes): return Net(classes, flat="view")
def counted(classes): return Net(classes, flat="counted")
def fold(classes): return Net(classes, Fold())
def plain(classes): return Net(classes)
def more(classes): return Net(classes + 3)
def fewer(classes): return Net(classes - 1)
def one_value(classes): return Net(classes, head=nn.Sequential(nn.Linear(256, 8), nn.BatchNorm1d(8), nn.Linear(8, classes)))
def infinite(classes): return Net(classes, head=Broken(256, classes))
"""  # noqa: E501
MACHINE = pick_machine(MachineSettings(device="cpu", precision="fp32"))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("nets") / "nets.py"
    path.write_text(NETS)
    return path


@pytest.fixture(scope="module")
def made(file):
    space: dict[str, object] = {}
    exec(file.read_text(), space)
    return space


def step(model, batch=8, machine=MACHINE, **changes):
    net = restride(model, torch.zeros(2, 3, 16, 16))
    ends = [net.space[0], net.space[net.space.size - 1]]
    return first_step(net, "mine.py:net", ImageSize.of(16), 5, ends, batch, machine, **changes)


@pytest.mark.parametrize("name", ["view", "counted", "fold"])
def test_what_views_its_maps_gets_contiguous_memory(made, name):
    found = step(made[name](5))
    assert found.machine.layout == "contiguous" and "view size is not compatible" in str(found.note)
    assert str(found) == "4 images, contiguous memory, fp32"


@pytest.mark.parametrize("name", ["plain", "Five"])
def test_others_stay_in_channels_last(made, name):
    found = step(made[name](5))
    assert found.machine == MACHINE and found.machine.layout == "channels-last" and found.note is None


def test_a_layout_that_was_asked_for_is_not_changed(made):
    with pytest.raises(PoolsearchError, match="does not train on a minibatch of 4 images of 16x16, in fp32: view size"):
        step(made["view"](5), choose=False)
    given = pick_machine(MachineSettings(device="cpu", precision="fp32", memory_format="contiguous"))
    assert step(made["plain"](5), machine=given).machine.layout == "contiguous"


@pytest.mark.parametrize(("name", "outputs"), [("more", 8), ("fewer", 4)])
def test_another_number_of_outputs_is_refused_with_both_numbers(made, name, outputs):
    with pytest.raises(PoolsearchError, match=f"mine.py:net has {outputs} outputs, and there are 5 classes"):
        step(made[name](5))


def test_a_minibatch_of_one_image_is_refused_where_the_network_cannot_take_it(made):
    text = r"a minibatch of one image \(--retrain-batch 1\).*more than 1 value.*give --retrain-batch 2 or more"
    with pytest.raises(PoolsearchError, match=text):
        step(made["one_value"](5), batch=1, flag="--retrain-batch")
    assert step(made["plain"](5), batch=1).images == 1


def test_a_loss_that_is_no_number_before_anything_was_learned(made):
    with pytest.raises(PoolsearchError, match=r"the loss of the first training step of mine.py:net.* is (nan|inf)"):
        step(made["infinite"](5))


def test_the_step_leaves_all_generators_alone(made):
    model = made["plain"](5)
    layer = next(part for part in model.modules() if isinstance(part, nn.Conv2d))
    layer.register_forward_pre_hook(lambda *_: (random.random(), np.random.rand(), None)[-1])  # as some layers draw

    def seeded():
        torch.manual_seed(3), random.seed(3), np.random.seed(3)

    def drawn():
        return torch.rand(1).item(), random.random(), np.random.rand()

    seeded()
    expected = drawn()
    seeded()
    step(model)
    assert drawn() == expected


def test_five_dimensional_weights_keep_their_layout(made):
    net = MACHINE.place(made["Five"](5))
    assert isinstance(net, nn.Module) and net.gain.dim() == 5
    assert net.blocks[0].conv.weight.is_contiguous(memory_format=torch.channels_last)
    contiguous = replace(MACHINE, memory_format=torch.contiguous_format)
    assert contiguous.place(net).blocks[0].conv.weight.is_contiguous()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of twelve images."""
    root, draw = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for path in (root / f"class{c}" / f"{i}.png" for c in range(2) for i in range(12)):
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    return root


def small(file, name, photos, **changes):
    return poolsearch.Settings.of(**{
        "data": photos, "net": f"{file}:{name}", "image_size": 16, "batch": 4, "trials": 2, "trial_epochs": 1,
        "retrain_epochs": 1, "retrain_seeds": 2, "top_k": 1, "answer_at": (), "control": (), "device": "cpu",
        "precision": "fp32", "workers": 1, **changes,
    })  # fmt: skip


def test_a_run_does_what_the_step_proved(tmp_path, file, photos):
    out = tmp_path / "run"
    poolsearch.run(out, small(file, "view", photos))
    assert json.loads(RunDir(out).run.read_text())["settings"]["machine"]["memory_format"] == "contiguous"


@pytest.mark.parametrize(
    ("name", "changes", "text"),
    [
        ("more", {}, "has 5 outputs, and there are 2 classes"),
        ("one_value", {"retrain_batch": 1}, "give --retrain-batch 2 or more"),
    ],
)
def test_a_run_that_cannot_train_does_not_begin(tmp_path, file, photos, name, changes, text):
    with pytest.raises(PoolsearchError, match=text):
        poolsearch.run(tmp_path / "run", small(file, name, photos, **changes))
    assert not RunDir(tmp_path / "run").run.exists()
