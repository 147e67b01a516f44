"""Checking a network: what is looked at, what is found, and what is refused."""

import textwrap

import pytest
import torch
from torch import nn

import poolsearch
from poolsearch.errors import PoolsearchError
from poolsearch.image_size import ImageSize
from poolsearch.inspection_results import CheckReport
from poolsearch.reports.terminal import show_check
from poolsearch.stages import check as module
from poolsearch.stages.check import check

pytestmark = pytest.mark.usefixtures("one_thread")

NETS = """
import itertools
import random
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm = nn.BatchNorm2d(outputs)
    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))

class Noise(nn.Module):
    def forward(self, x):
        return x * random.random()

class Broken(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()
    @staticmethod
    def backward(ctx, x):
        raise RuntimeError("no way back")

class OneWay(nn.Module):
    def forward(self, x):
        return Broken.apply(x)

def net(classes, *more):
    return nn.Sequential(Block(3, 4), Block(4, 4), Block(4, 4, 2), Block(4, 4), *more, nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(4, classes))

def noisy(classes):
    return net(classes, Noise())

def one_way(classes):
    return net(classes, OneWay())

def fails(classes):
    raise KeyError("no weights here")

class View(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(Block(3, 4), Block(4, 4), Block(4, 4, 2), Block(4, 4))
        self.fc = nn.Linear(4 * 8 * 8, classes)
    def forward(self, x):
        return self.fc(self.body(x).view(-1, 4 * 8 * 8))

def view(classes):
    return View(classes)

class Weighed(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv = nn.utils.weight_norm(nn.Conv2d(inputs, outputs, 3, stride, 1))
    def forward(self, x):
        return torch.relu(self.conv(x))

def weighed(classes):
    return nn.Sequential(Weighed(3, 4), Weighed(4, 4), Weighed(4, 4, 2), Weighed(4, 4), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(4, classes))

def nothing_to_move(classes):
    return nn.Sequential(Block(3, 4), Block(4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))

def number(classes):
    return classes
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("nets") / "nets.py"
    path.write_text(textwrap.dedent(NETS))
    return path


def test_a_network_of_a_file_holds(file):
    found = check(f"{file}:net", image_size=16, classes=7)
    assert found.holds and found.problems == () and found.logit_gap == 0.0 and not found.own
    assert found.default == "2,2" and found.placements == found.proved == 3 and found.halved == {2}
    assert [block.partition(":")[0] for block in found.blocks] == ["0", "1", "2", "3"]
    assert found.parameters == (27 * 4 + 4) + 3 * (36 * 4 + 4) + 4 * 8 + 4 * 7 + 7
    assert found.op == "native" and found.axes == "hw" and found.ran == 3


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
def test_weights_that_are_computed_hold(file):
    assert check(f"{file}:weighed", 16, 3).holds  # such a network cannot be copied by copy.deepcopy


def test_blocks_are_named(file):
    found = check(f"{file}:net", image_size=16, blocks=["[1-3]"])
    assert found.holds and found.default == "1,2"
    assert [block.partition(":")[0] for block in found.blocks] == ["1", "2", "3"]
    with pytest.raises(PoolsearchError, match="--blocks is for networks that are restrided"):
        check("cifar-resnet20", blocks=["*"])


def test_both_axes_and_other_ops(file):
    found = check(f"{file}:net", image_size=16, op="blur", axes="h,w")
    assert found.holds and found.placements == found.proved == 9 and found.logit_gap is None
    assert "blur pooling 2x2 in front" in found.blocks[1]


def test_images_need_not_be_square(file):
    found = check(f"{file}:net", image_size="16x40", axes="h,w")
    assert found.holds and found.placements == found.proved == 9 and found.image_size == (16, 40)
    assert check("cifar-resnet20", image_size=(8, 20)).holds
    with pytest.raises(PoolsearchError, match="no size of images"):
        check("cifar-resnet20", image_size="8:20")


def test_one_of_ours_has_no_original():
    found = check("cifar-resnet20", image_size=8)
    assert found.holds and found.own and found.logit_gap is None and found.placements == found.proved == 36
    assert found.ran == 5  # 36 in steps of 8, the default first
    assert found.blocks[1] == "blocks.1 (BasicBlock): max pooling 2x2 in front"
    assert "strided by itself" in check("cifar-resnet20", image_size=8, op="stride").blocks[1]


def test_large_spaces_are_sampled_unless_all_is_asked_for(monkeypatch):
    monkeypatch.setattr(module, "WHOLE_UP_TO", 20)
    monkeypatch.setattr(module, "_SAMPLE", 12)
    assert check("cifar-resnet20", image_size=8).proved == 12
    assert check("cifar-resnet20", image_size=8, whole=True).proved == 36
    monkeypatch.setattr(module, "_MOST", 30)
    with pytest.raises(PoolsearchError, match=r"--all: 36 placements are more than the 30.*Leave it out"):
        check("cifar-resnet20", image_size=8, whole=True)


def test_a_check_repeats_and_leaves_the_random_numbers_alone(file):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    assert check(f"{file}:net", image_size=16) == check(f"{file}:net", image_size=16)
    assert torch.equal(torch.rand(1), expected)


def test_logits_that_are_not_the_originals_are_found(file):
    found = check(f"{file}:noisy", image_size=16)
    assert not found.holds and found.logit_gap > 0
    placements, problems = zip(*found.problems, strict=True)
    assert {*placements} == {"2,2"}  # the default's
    assert "in evaluation, the logits at the default placement differ" in problems[0]


@pytest.mark.parametrize(
    ("name", "size", "why"),
    [
        ("cifar-resent20", 32, "unknown network 'cifar-resent20'. Did you mean 'cifar-resnet20'"),
        ("timm:resnet_of_mine", 32, "timm has no network 'resnet_of_mine'"),
        ("{file}:nett", 32, "has no function 'nett'; it has .*net"),
        ("no_such.py:net", 32, "there is no file no_such.py"),
        ("{file}:fails", 32, "could not be built: KeyError: 'no weights here'"),
        ("{file}:number", 32, "gave a int: it has to give a torch.nn.Module"),
        ("{file}:nothing_to_move", 32, "there is nothing to move"),
        ("{file}:one_way", 16, "does not run forward and backward on two images of 16x16: no way back"),
        ("{file}:view", 32, "made for images of another size.*--image-size"),
        ("{file}:net", 1, "cannot be halved: use larger images"),
        ("resnet18", 8, "too small for 3 halvings"),
        ("{file}:net", 0, "--image-size is 0; allowed is at least 1"),
    ],
)
def test_what_is_refused(file, name, size, why):
    with pytest.raises(PoolsearchError, match=why):
        check(name.format(file=file), image_size=size)


def test_it_is_a_function_of_the_package():
    assert poolsearch.check is check


FOUND = CheckReport(
    net="mine[0].py:net", image_size=ImageSize.of(48), own=False, op="native",
    blocks=("a[0]: first block", "b: like a[0]"),
    halved=frozenset({1}), default="1,1", axes="hw", placements=5000, proved=200, ran=5, parameters=1234,
    logit_gap=0.0, problems=(), step="4 images, channels-last memory, fp32",
)  # fmt: skip


def shown(capsys, **changes):
    show_check(CheckReport(**{**vars(FOUND), **changes}))
    return " ".join(capsys.readouterr().out.split())


def test_what_is_printed(capsys):
    text = shown(capsys)
    for part in (
        "mine[0].py:net: how each block", "a[0] first block", "b like a[0] halves", "5,000 placements",
        "default is 1,1", "200 of them, drawn at random, for images of 48x48", "5 of these",
        "largest difference to the original's: 0,",
        "1,234, shared by all placements; compared", "Everything holds.",
    ):  # fmt: skip
        assert part in text, part
    assert "all of them" in shown(capsys, proved=5000)
    assert "no original to compare with" in shown(capsys, own=True, logit_gap=None)
    assert "--op max pools" in shown(capsys, op="max", logit_gap=None)
    assert "height and width each by itself" in shown(capsys, axes="h,w")


def test_problems_are_printed_up_to_ten(capsys):
    problems = tuple((f"{n},1", f"[bold]block {n} is odd") for n in range(1, 14))
    text = shown(capsys, problems=problems)
    assert "Everything holds" not in text
    assert "Does not hold (13): 1,1: [bold]block 1 is odd" in text
    assert "10,1: [bold]block 10 is odd and 3 more" in text


class Pyramid(nn.Module):
    """Gives the maps of two blocks."""

    def __init__(self, *_):
        super().__init__()
        self.body = nn.ModuleList(nn.Conv2d(*io, 3, s, 1) for *io, s in ((3, 4, 1), (4, 4, 1), (4, 8, 2), (8, 8, 1)))

    def forward(self, x):
        first = self.body[1](self.body[0](x).relu()).relu()
        return {"fine": first, "coarse": self.body[3](self.body[2](first).relu()).relu()}


def test_what_holds_of_a_network_of_maps_is_said_with_their_strides():
    found = check(Pyramid, 16)
    assert found.holds and found.logit_gap == 0.0 and (found.outputs, found.placements) == ("maps", 3)
    assert found.notes == (
        "it gives maps, by its own placement 'fine' (4 channels at stride 1), 'coarse' (8 channels at stride 2)",
        "its head reads or gives maps or other values of earlier blocks (1), which keep their size, whatever "
        "downsampling comes behind them",
    )
