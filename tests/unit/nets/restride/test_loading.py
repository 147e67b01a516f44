"""Networks by name, and what is said when there is none."""

import importlib
import sys

import pytest
import torch
import torchvision
from torch import nn

from poolsearch.cost import cost_table
from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import NetSpec, blank
from poolsearch.nets.restride import from_name, load_model

pytestmark = pytest.mark.usefixtures("one_thread")

FILE = """
from torch import nn

def small(classes):
    one, two, three = (nn.Conv2d(n, 4, 3, padding=1) for n in (3, 4, 4))
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)]
    return nn.Sequential(one, two, nn.ReLU(), nn.MaxPool2d(2), three, *head)

def grey(classes):
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), *small(classes))

def last_made_first(classes):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.late = nn.Conv2d(4, 3, 1)
            self.net = small(classes)
            self.early = nn.Conv2d(3, 4, 1)
        def forward(self, x):
            return self.net(self.late(self.early(x)))
    return Net()

def broken(classes):
    raise KeyError("width")

def nothing(classes):
    return "a network"

class NoArguments(nn.Module):
    def __init__(self):
        super().__init__()

made = small(5)
width = 4
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_a_network_from_a_file_of_ones_own(file):
    net = from_name(f"{file}:small", 7, 16)
    assert str(net.default) == "2,1"
    assert net.model[-1].out_features == 7


def test_the_channels_are_those_that_a_network_takes(file):
    assert from_name(f"{file}:grey", 7, 16).channels == 1
    assert from_name(f"{file}:small", 7, 16).channels == 3
    assert from_name(f"{file}:last_made_first", 7, 16).channels == 3
    with pytest.raises(PoolsearchError, match="takes 1 channels, the images have 3: use --channels 1"):
        from_name(f"{file}:grey", 7, 16, channels=3)
    with pytest.raises(PoolsearchError, match="torchvision's networks take 3"):
        load_model("torchvision:resnet18", 7, channels=1)


@pytest.mark.parametrize("name", ["cifar-resnet20", "resnet18"])
def test_our_networks_are_built_for_any_number_of_channels(name):
    net = blank(NetSpec(name, 3, 2, channels=13))
    assert net.channels == 13 and net(torch.empty(2, 13, 40, 40, device="meta"), net.default).shape == (2, 3)
    net.check_input(40, 40)
    assert cost_table(net, 40, 40).macs(net.default) > cost_table(blank(NetSpec(name, 3, 2)), 40, 40).macs(net.default)


def test_networks_of_timm_are_built_for_any_number_of_channels():
    pytest.importorskip("timm")
    assert load_model("timm:resnet18", 7, channels=2).conv1.in_channels == 2


def test_a_network_of_each_library():
    timm = pytest.importorskip("timm")
    made = load_model("timm:resnet18", 7)
    assert isinstance(made, timm.models.ResNet) and made.fc.out_features == 7
    made = load_model("torchvision:mobilenet_v2", 7)
    assert isinstance(made, torchvision.models.MobileNetV2) and made.classifier[-1].out_features == 7
    assert from_name("torchvision:squeezenet1_1", 7, 64, op="max").op == "max"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18", "'resnet18' names no network: give timm:NAME, torchvision:NAME, FILE.py:FACTORY"),
        ("tim:resnet18", "names no network"),
        ("timm:resnet81", "timm has no network 'resnet81'. Near it: .*resnet"),
        ("torchvision:resnet81", "torchvision has no network 'resnet81'. Near it: .*resnet"),
        ("torchvision:fasterrcnn_resnet50_fpn", "torchvision has no network 'fasterrcnn"),
        ("torchvision:qqqqqqq", "no network 'qqqqqqq'. torchvision's own list"),
        ("nowhere.py:small", "there is no file nowhere.py"),
        ("{}:tiny", "mine.py has no function 'tiny'; it has small, grey, last_made_first, broken, nothing"),
        ("{}:broken", "mine.py:broken could not be built: KeyError: 'width'"),
        ("{}:nothing", "mine.py:nothing gave a str: it has to give a torch.nn.Module"),
        ("{}:made", r"mine.py:made is a network that is made already, a Sequential. Give .* def make\(classes\)"),
        ("{}:width", "'width' in .*mine.py is a int, not a function; it has small, grey"),
        ("{}:NoArguments", r"cannot be called with the number of classes: too many .*def make\(classes\)"),
    ],
)
def test_what_is_no_network_is_said(name, message, file):
    with pytest.raises(PoolsearchError, match=message):
        load_model(name.format(file), 5)


def test_a_file_that_cannot_be_imported_is_said(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("import nothing_of_this_name")
    with pytest.raises(
        PoolsearchError, match=r"bad.py cannot be imported: ModuleNotFoundError: .*nothing_of_this_name"
    ):
        load_model(f"{path}:small", 5)


def test_missing_timm_is_said_with_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(PoolsearchError, match=r"needs timm, which is not installed: pip install 'poolsearch\[timm\]'"):
        load_model("timm:resnet18", 5)


def test_restriding_does_not_import_timm():
    package = importlib.import_module("poolsearch.nets.restride")
    assert all("timm" not in vars(module) for name, module in sys.modules.items() if name.startswith(package.__name__))
    assert isinstance(load_model("torchvision:squeezenet1_1", 3), nn.Module)
