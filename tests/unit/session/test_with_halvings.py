"""How often placements halve, as it is asked for: what is read, what is refused, what is searched."""

import pytest
import torch
from torch import nn

from poolsearch.cost import cost_table
from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import NetSpec, blank
from poolsearch.nets.restride import restride
from poolsearch.session.prepare import with_halvings
from poolsearch.settings import Settings
from poolsearch.settings.check import check
from poolsearch.settings.halvings import read_halvings
from poolsearch.space import Placement

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("text", "read"), [("default", None), ("3", (3, 3)), ("2-5", (2, 5)), (" 1-1 ", (1, 1)), ("12", (12, 12))]
)
def test_numbers_are_read(text, read):
    assert read_halvings(text) == read


@pytest.mark.parametrize("text", ["", "0", "0-3", "5-2", "-2", "2-", "2..5", "two", "2,3", "99999"])
def test_anything_else_is_refused(text):
    with pytest.raises(PoolsearchError, match=r"--halvings is '.*'; allowed is a number of at least 1, such as 3"):
        check(Settings.of(halvings=text))


def test_it_does_not_go_with_all_paths():
    with pytest.raises(PoolsearchError, match="--paths any has all others, too"):
        check(Settings.of(halvings="2-5", paths="any"))


def test_a_placement_costs_what_it_costs_in_the_space_of_its_own_number():
    net = blank(NetSpec("cifar-resnet20", 10, width=4))
    space, own = with_halvings(net.space, "1-4"), net.space
    costs, expected = cost_table(net, 32, 32, space), cost_table(net, 32, 32, own)
    assert [costs.macs(placement) for placement in own] == [expected.macs(placement) for placement in own]
    # a halving more before the last block divides the work of what follows it by four, and nothing else
    more, less = (costs.macs(Placement.parse(text)) for text in ("4,3,3", "4,3,2,1"))
    block = 2 * 8 * 8 * 9 * 16 * 16  # two 3x3 convolutions of 16 channels on maps of 8x8
    assert more - less == block * 3 // 4


def test_the_default_is_known_where_its_number_is_not_searched():
    net = blank(NetSpec("cifar-resnet20", 10, width=4))
    space = with_halvings(net.space, "3")
    net.check_input(32, 32, space)
    assert net.default not in space and net.default in space.whole
    found, own = cost_table(net, 32, 32, space), cost_table(net, 32, 32, net.space)
    assert found.macs(net.default) == own.macs(net.default)


def _block(inputs, outputs, *more):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), *more)


class Flattening(nn.Module):
    def __init__(self):
        super().__init__()
        pool = nn.MaxPool2d(2)
        self.body = nn.Sequential(_block(3, 4), _block(4, 4, pool), _block(4, 4), _block(4, 4, pool), _block(4, 4))
        self.classifier = nn.Linear(4 * 8 * 8, 10)

    def forward(self, x):
        return self.classifier(self.body(x).flatten(1))


def test_a_head_for_one_size_is_named():
    net = restride(Flattening(), torch.zeros(2, 3, 32, 32))
    net.check_input(32, 32, with_halvings(net.space, "2"))
    with pytest.raises(
        PoolsearchError, match=r"'classifier' in the head does not run on maps of \d+x\d+.*AdaptiveAvgPool2d"
    ):
        net.check_input(32, 32, with_halvings(net.space, "1-2"))


def test_more_halvings_than_the_images_bear_are_refused():
    net = blank(NetSpec("cifar-resnet20", 10))
    with pytest.raises(PoolsearchError, match=r"too small for 7 halvings: .* or fewer halvings \(--halvings\)"):
        net.check_input(32, 32, with_halvings(net.space, "2-7"))
