"""A supernet of one's own network: made, saved, moved, copied out for a placement, evaluated by the prefix tree."""

import copy
import io
import sys
from functools import partial

import pytest
import torch
from torch import nn

from poolsearch.cost.costs import placement_costs
from poolsearch.errors import PoolsearchError
from poolsearch.nets.restride import restride
from poolsearch.space import Placement
from poolsearch.supernet.evaluate import evaluate_tree
from poolsearch.supernet.own_network import SuperNet

pytestmark = pytest.mark.usefixtures("one_thread")


class Unit(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x):
        return self.norm(self.conv(x)).relu()


class Net(nn.Module):
    """Five units, two of them strided: six placements."""

    def __init__(self):
        super().__init__()
        self.units = nn.Sequential(
            *(Unit(a, b, s) for a, b, s in ((3, 4, 1), (4, 4, 2), (4, 6, 1), (6, 6, 2), (6, 6, 1)))
        )
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        return self.head(self.units(x).mean((2, 3)))


def made(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net()


@pytest.fixture(scope="module")
def net():
    return restride(made(), torch.zeros(2, 3, 8, 8))


@pytest.fixture
def batches(images):
    draw = torch.Generator().manual_seed(3)
    return [(images(8, 6, seed), torch.randint(5, (6,), generator=draw)) for seed in range(3)]


def train(supernet, batches, placements):
    optimizer = torch.optim.SGD(supernet.parameters(), 0.1)
    for (x, y), placement in zip(batches, placements, strict=False):
        optimizer.zero_grad()
        nn.functional.cross_entropy(supernet.train()(x, placement), y).backward()
        optimizer.step()
    return supernet


def test_a_supernet_is_a_copy_and_members_of_a_function_have_weights_of_their_own(net, images):
    one, other = SuperNet(net), SuperNet(net)
    drawn = [SuperNet(partial(lambda seed: restride(made(seed), images(8)), seed)) for seed in (1, 2)]
    x, placement = images(8), net.space[3]
    torch.testing.assert_close(one(x, placement), other(x, placement), rtol=0, atol=0)
    assert not torch.equal(drawn[0](x, placement), drawn[1](x, placement))
    with torch.no_grad():
        one.net.model.head.weight.zero_()
    assert net.model.head.weight.abs().sum() > 0 and other.net.model.head.weight.abs().sum() > 0
    assert one.space == net.space and one.space.size == 6


def test_by_the_batch_at_hand_the_default_gives_what_the_network_gives_in_training(net, images):
    plain = made().train()
    expected = plain(images(8))
    assert torch.equal(SuperNet(net).eval()(images(8), net.default), expected)


@pytest.mark.parametrize("norm", ["batch", "calibrate", "per_placement"])
def test_what_is_extracted_computes_what_the_supernet_does_and_shares_nothing(net, batches, norm):
    supernet = train(SuperNet(net, norm), batches, list(net.space))
    if norm == "calibrate":
        supernet.calibrate([x for x, _ in batches], list(net.space)[:3])
    supernet.eval()
    x, placement = batches[0][0], net.space[1]
    extracted = supernet.extract(placement)
    assert torch.equal(extracted(x), supernet(x, placement))
    if norm != "batch":
        assert torch.equal(extracted(x[:1]), supernet(x, placement)[:1]) or torch.allclose(
            extracted(x[:1]), supernet(x, placement)[:1], atol=1e-6
        ), "by its statistics, not by the batch"
        plain = made(9)
        plain.load_state_dict(extracted.net.original.state_dict())  # the network's own names
    before = supernet(x, placement)
    with torch.no_grad():
        for parameter in extracted.parameters():
            parameter.zero_()
        extracted.train()(x)
    assert torch.equal(supernet(x, placement), before)


@pytest.mark.parametrize("norm", ["batch", "per_placement"])
def test_a_state_dict_holds_everything_whatever_was_run_last(net, batches, norm):
    supernet = train(SuperNet(net, norm), batches, list(net.space))
    supernet.eval()(batches[0][0], net.space[5])  # never trained: nothing is kept for it
    file = io.BytesIO()
    torch.save(nn.ModuleDict({"m": supernet}).state_dict(), file)
    file.seek(0)
    other = SuperNet(net, norm)
    train(other, batches[:1], [net.space[4]])
    nn.ModuleDict({"m": other}).load_state_dict(torch.load(file, weights_only=True))
    for placement in net.space:
        x = batches[1][0]
        assert torch.equal(other.eval()(x, placement), supernet.eval()(x, placement)), placement
    names = set(supernet.state_dict())
    assert names == set(other.state_dict()) == set(copy.deepcopy(supernet).state_dict())


def test_statistics_move_and_are_cast_with_the_supernet(net, batches):
    supernet = train(SuperNet(net, "per_placement"), batches, list(net.space)).eval()
    x, placement = batches[0][0], net.space[1]
    before = supernet(x, placement)
    assert torch.allclose(supernet.double()(x.double(), placement).float(), before, atol=1e-5)


def test_what_is_no_movable_network_is_refused_with_what_to_do(net):
    for given, says in [
        (made(), r"a network whose downsampling cannot be moved .*SuperNet\(poolsearch.restride\(model, images\)\)"),
        (made, "a network whose downsampling cannot be moved"), ("resnet18", "a str whose downsampling"),
    ]:  # fmt: skip
        with pytest.raises(PoolsearchError, match=says):
            SuperNet(given)
    with pytest.raises(PoolsearchError, match="unknown norm of a supernet 'group'"):
        SuperNet(net, "group")
    with pytest.raises(PoolsearchError, match="norm='batch', which needs no calibration"):
        SuperNet(net).calibrate([], [])


def one_by_one(supernet, batches, placement):
    with torch.no_grad():
        right = sum(int((supernet.eval()(x, placement).argmax(1) == y).sum()) for x, y in batches)
    return right / sum(len(y) for _, y in batches)


def test_the_tree_gives_the_accuracy_of_each_placement_run_alone(net, batches):
    supernet = SuperNet(net).train()
    placements = [*net.space, net.space[2]]
    found = evaluate_tree(supernet, iter(batches), placements)
    assert supernet.training
    assert list(found) == [*net.space]
    assert found == {placement: one_by_one(supernet, batches, placement) for placement in net.space}


def test_any_metric_is_averaged_over_the_images_however_the_batches_are_cut(net, batches):
    supernet = SuperNet(net, "per_placement", trained=True)
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))

    def right(outputs, targets):
        return (outputs.argmax(1) == targets).float()

    cut = [(x[:10], y[:10]), (x[10:], y[10:])]
    expected = evaluate_tree(supernet, batches, [*net.space])
    for found in (
        evaluate_tree(supernet, cut, [*net.space], right),
        evaluate_tree(supernet, cut, [*net.space], lambda outputs, targets: right(outputs, targets).mean()),
    ):
        assert found == pytest.approx(expected)
    assert set(evaluate_tree(supernet, cut, [net.default], "macro-f1")) == {net.default}


def test_an_evaluation_that_cannot_be_is_refused_and_leaves_the_mode(net, batches):
    supernet = SuperNet(net).train()
    x, y = batches[0]
    for given, metric, says in [
        ([], "accuracy", "there are no batches"), ([x], "accuracy", "a batch is a Tensor: give pairs"),
        ([(x, y.float())], "accuracy", "needs the number of a class for each of 6 images"),
        ([(x, y)], "f2", "unknown metric 'f2'"),
        ([(x, y)], lambda *_: torch.zeros(2), r"values of shape \[2\] for 6 images"),
    ]:  # fmt: skip
        with pytest.raises(PoolsearchError, match=says):
            evaluate_tree(supernet, given, [net.default], metric)
        assert supernet.training


def test_a_metric_that_fails_is_the_user_s_own_error_and_names_the_placement(net, batches):
    def fails(outputs, targets):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        evaluate_tree(SuperNet(net), batches, [net.default], fails)
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == [f"raised by the metric of placement {net.default.shown}"]


def test_costs_of_ones_own_network_are_in_the_order_of_its_space(net):
    costs = placement_costs(net, 8, batch=4)
    assert costs.macs_A.shape == (6,) and costs.memory_A is not None
    by_hand = {}
    for number, placement in enumerate(net.space):
        size, total = 8, 0
        for block, (before, after) in enumerate(((3, 4), (4, 4), (4, 6), (6, 6), (6, 6))):
            size //= 2 ** placement.at(block)[0]
            total += 9 * before * after * size**2
        by_hand[number] = total + 6 * 5
    assert dict(enumerate(costs.macs_A.tolist())) == by_hand
    assert placement_costs(net, "8x8", net.space.take([2])).macs_A.tolist() == [by_hand[2]]


def test_the_maps_of_blocks_are_those_that_the_output_is_made_of(net, images):
    """Against a plain network with the strides moved by hand."""
    supernet, x = SuperNet(net).eval(), images(8, 2)
    for placement in net.space:
        by_hand = copy.deepcopy(supernet.net.original)
        for unit, site in zip(by_hand.units[1:], placement.sites, strict=True):
            unit.conv.stride = (2, 2) if site == (1, 1) else (1, 1)
        expected, state = [], x
        for unit in by_hand.units.train():  # a supernet normalises by the batch at hand
            state = unit(state)
            expected.append(state)
        found = supernet.maps(x, placement)
        assert len(found) == 5 and all(map(torch.equal, found, expected))
        assert torch.equal(by_hand.head(found[-1].mean((2, 3))), supernet(x, placement))
    found[-1].sum().backward()
    assert all(unit.conv.weight.grad is not None for unit in supernet.net.original.units)


def test_a_thing_of_another_kind_is_named_with_what_to_give(net, images):
    supernet, x = SuperNet(net), images(8, 2)
    for call, said in (
        (lambda: supernet(x, "2,2,1"), "'2,2,1' is a str and no placement"),
        (lambda: supernet.maps(x, None), "None is a NoneType"),
        (lambda: net.fixed((2, 2, 1)), "is a tuple and no placement"),
        (lambda: Placement.parse((2, 2, 1)), "is read from a text"),
        (lambda: restride(Net, x), "call it to get one, as Net()"),
        (lambda: restride(net, x), "is restrided already"),
        (lambda: restride(Net(), [8, 8]), "the example is a list"),
        (lambda: placement_costs(supernet, 8), "or of a supernet its net"),
        (lambda: placement_costs(Net(), 8), "Give poolsearch.restride(model, images)"),
    ):
        with pytest.raises(PoolsearchError) as error:
            call()
        assert said in str(error.value)


def test_a_placement_prints_as_what_makes_it(net):
    for placement in net.space:
        assert eval(repr(placement)) == placement


def test_nothing_to_calibrate_on_and_classes_that_are_none_are_refused(net, images, batches):
    supernet = SuperNet(net, norm="calibrate")
    with pytest.raises(PoolsearchError, match="no batches to calibrate on"):
        supernet.calibrate([], [net.default])
    with pytest.raises(PoolsearchError, match="no placements were given"):
        supernet.calibrate(batches, [])
    for wrong in (-1, 5):
        with pytest.raises(PoolsearchError, match="numbered 0 to 4"):
            evaluate_tree(supernet, [(images(8, 2), torch.tensor([0, wrong]))], [net.default])
