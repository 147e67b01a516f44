"""Networks that give maps of several sizes, and segmenters: what is carried to the head keeps its size."""

import copy
import dataclasses
import io
from collections import OrderedDict, namedtuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from poolsearch import SuperNet, placement_costs
from poolsearch.cost import cost_table
from poolsearch.cost.memory import _fake, run_step
from poolsearch.errors import PoolsearchError
from poolsearch.nets.live_bytes import LiveBytes
from poolsearch.nets.restride import prove, restride
from poolsearch.nets.restride.trace import blank_copy, copy_with
from poolsearch.space import Placement
from poolsearch.supernet.prefix_tree import run_tree
from poolsearch.supernet.relaxed import forward as relaxed
from poolsearch.supernet.single_path import SinglePath
from poolsearch.supernet.tree_memory import memory_table, tree_bytes
from poolsearch.tasks.task import Task
from poolsearch.train.machine import Machine
from poolsearch.train.step import tree_backward

from .test_network import Residual

pytestmark = pytest.mark.usefixtures("one_thread")

Maps = namedtuple("Maps", "a b c")
FORMS = {
    "tuple": lambda *maps: maps,
    "list": lambda *maps: [*maps],
    "dict": lambda a, b, c: {"a": a, "b": b, "c": c},
    "ordered": lambda a, b, c: OrderedDict(a=a, b=b, c=c),
    "named": Maps,
    "nested": lambda a, b, c: {"low": [a, b], "high": (c, c.mean((2, 3)).unsqueeze(1))},
}


class Stages(nn.Module):
    """The maps of the stem, the third block and the last."""

    def __init__(self, form="list"):
        super().__init__()
        self.form = form
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.body = nn.ModuleList([Residual(4, 4, 1), Residual(4, 8, 2), Residual(8, 8, 1), Residual(8, 8, 2)])

    def forward(self, x):
        x = a = self.stem(x)
        x = b = self.body[2](self.body[1](self.body[0](x)))
        return FORMS[self.form](a, b, self.body[3](x))


class Segmenter(nn.Module):
    """An encoder of five blocks, the maps of two of which a decoder joins."""

    def __init__(self, up="size", pools=False):
        super().__init__()
        self.up, self.pools = up, pools
        stride = 1 if pools else 2
        sizes = (3, 4, 1), (4, 4, 1), (4, 8, stride), (8, 8, 1), (8, 8, stride)
        self.encoder = nn.ModuleList(Residual(*size) for size in sizes)
        self.wide = nn.ConvTranspose2d(8, 8, 2, 2)
        self.decoder = nn.ModuleList([nn.Conv2d(16, 8, 3, padding=1), nn.Conv2d(12, 8, 3, padding=1)])
        self.norm, self.out = nn.BatchNorm2d(8), nn.Conv2d(8, 5, 1)

    def join(self, x, skip, conv):
        if self.up == "size":
            x = F.interpolate(x, size=skip.shape[-2:])
        elif self.up == "factor":
            x = F.interpolate(x, scale_factor=2)
        else:
            x = self.wide(x)
        return conv(torch.cat([x, skip], 1))

    def forward(self, x):
        a = self.encoder[1](self.encoder[0](x))
        b = self.encoder[3](self.encoder[2](F.max_pool2d(a, 2) if self.pools else a))
        x = self.encoder[4](F.max_pool2d(b, 2) if self.pools else b)
        x = self.join(self.norm(self.join(x, b, self.decoder[0])), a, self.decoder[1])
        return self.out(F.relu(x))


def made(make, seed=0):
    torch.manual_seed(seed)
    model = make()
    for norm in (part for part in model.modules() if isinstance(part, nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return model


@pytest.fixture(scope="module")
def small():
    """The maps of stages, and a segmenter, restrided; shared: not to be changed."""
    x = torch.zeros(2, 3, 32, 32)
    return {"stages": restride(made(Stages), x), "segmenter": restride(made(Segmenter), x)}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_given_has_the_structure_and_the_bits_of_the_original(form, images):
    model, x = made(lambda: Stages(form)), images(32)
    net = restride(model, x)
    for training in (False, True):
        theirs, ours = copy.deepcopy(model).train(training), copy.deepcopy(net).train(training)
        torch.manual_seed(1)
        expected = theirs(x)
        torch.manual_seed(1)
        found = ours(x, net.default)
        assert type(found) is type(expected)
        assert torch.utils._pytree.tree_structure(found) == torch.utils._pytree.tree_structure(expected)
        assert all(torch.equal(*pair) for pair in zip(tree_leaves(found), tree_leaves(expected), strict=True))
        state = ours.original.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in theirs.state_dict().items())
    assert net.fixed(net.space[0])(x).keys() == expected.keys() if isinstance(expected, dict) else True


def test_strides_and_channels_of_each_map_at_every_placement_by_hand(images, small):
    net, x = small["stages"], images(32)
    # the stem halves; two of the sites before blocks 1, 2 and 3 do, and the second map is that of block 2
    by_hand = {"2,1,1": (2, 4, 8), "1,2,1": (2, 4, 8), "1,1,2": (2, 8, 8)}
    assert {str(p) for p in net.space} == {*by_hand} and str(net.default) == "1,2,1"
    for text, strides in by_hand.items():
        placement = Placement.parse(text)
        assert net.strides(placement) == [(s, s) for s in strides]
        assert [m.shape for m in net(x, placement)] == [
            (3, c, 32 // s, 32 // s) for c, s in zip(net.out_channels, strides, strict=True)
        ]
    assert net.out_channels == [4, 8, 8]
    one_axis = Placement(((1, 0), (0, 1), (1, 1)))
    assert net.strides(one_axis) == [(2, 2), (4, 4), (8, 8)]
    assert restride(made(lambda: Stages("dict")), x).strides(one_axis) == {"a": (2, 2), "b": (4, 4), "c": (8, 8)}


@pytest.mark.parametrize("pools", [False, True])
def test_a_segmenter_is_itself_by_default_and_runs_at_every_placement(pools, images):
    model, x = made(lambda: Segmenter(pools=pools)), images(32, count=2)
    net = restride(model, x)
    assert str(net.default) == "2,2,1" and net.space.size == 6 and net.carries == 2
    proofs = prove(net, model, net.space, x)
    assert [p.problems for p in proofs] == [()] * 6 and proofs[0].logit_gap == 0.0
    for placement in net.space:
        side = 16 if placement.at(1) == (1, 1) else 32  # that of the earlier map, which the second block makes
        assert net(x, placement).shape == (2, 5, side, side)
        assert net.strides(placement) == (32 // side, 32 // side)


@pytest.mark.parametrize("name", ["stages", "segmenter"])
@pytest.mark.parametrize("op", ["native", "avg", "blur"])
def test_no_site_resizes_what_is_carried(name, op, images):
    """The maps of blocks before a site are those of a placement that halves nowhere before them."""
    make = {"stages": lambda: Stages("tuple"), "segmenter": Segmenter}[name]
    net, x = restride(made(make), images(32), op=op).eval(), images(32)
    late = max(net.space, key=lambda p: [index for index in range(p.length) if p.at(index) != (0, 0)])
    stem = net.stem(x)
    for placement in net.space:
        ours, theirs = stem, stem
        for index in range(len(net.blocks)):
            ours, theirs = (net.run_block(index, s, p.at(index)) for s, p in ((ours, placement), (theirs, late)))
            if placement.prefix(index) == late.prefix(index):
                kept = getattr(ours, "carried", ())
        if kept:
            assert all(a is b or torch.equal(a, b) for a, b in zip(ours.carried, kept, strict=False))


@pytest.mark.parametrize("name", ["stages", "segmenter"])
def test_a_tree_gives_what_each_placement_gives(name, images, small):
    supernet, x = SuperNet(small[name]).eval(), images(32)
    with torch.no_grad():
        for position, outputs in run_tree(supernet, x, [*supernet.space]):
            alone = supernet(x, supernet.space[position])
            assert all(torch.equal(*pair) for pair in zip(tree_leaves(outputs), tree_leaves(alone), strict=True))


def squares(outputs, _):
    return torch.stack([out.square().mean() for out in tree_leaves(outputs)]).sum()


@pytest.mark.parametrize("name", ["stages", "segmenter"])
def test_a_step_through_a_tree_has_the_gradients_of_its_placements(name, images, small):
    by_tree, alone = SuperNet(small[name]), SuperNet(small[name])
    for part in (*by_tree.modules(), *alone.modules()):
        part.training = not isinstance(part, Residual)  # whose dropout would draw other numbers
    placements, x = [*by_tree.space], images(32)
    scaler, machine = torch.amp.GradScaler("cpu", enabled=False), Machine(torch.device("cpu"), "fp32")
    loss = tree_backward(Task(squares, squares), by_tree, x, torch.zeros(3), placements, scaler, machine)
    expected = torch.stack([squares(alone(x, placement), None) for placement in placements]).mean()
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    for ours, theirs in zip(by_tree.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("name", ["stages", "segmenter"])
@pytest.mark.parametrize("size", [37])
def test_costs_are_torchs_counts_of_the_whole_network_whatever_its_maps(name, size, small):
    net = small[name]
    blank = blank_copy(net).eval()
    found = placement_costs(net, size, batch=4)
    table = cost_table(blank, size, size)
    for number, placement in enumerate(net.space):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            blank(torch.zeros(1, 3, size, size, device="meta"), placement)
        assert table.macs(placement) == found.macs_A[number] == counter.get_total_flops() // 2
    assert len({key[1:] for key in table.head}) == {"stages": 2, "segmenter": 4}[name]
    with FakeTensorMode():
        fake = copy_with(blank, _fake).train()
        for number, placement in enumerate(net.space):
            now = most = 0
            for change in run_step(fake, placement, size, size, 4, torch.float32):
                most, now = max(most, now + change.rise), now + change.left
            assert found.memory_A[number] == most


def test_memory_is_known_whatever_the_structure_of_the_maps(images):
    nets = (restride(made(lambda form=form: Stages(form)), images(32)) for form in ("list", "nested"))
    flat, nested = (placement_costs(net, 32, batch=4) for net in nets)
    assert flat.memory_A is not None and nested.memory_A is not None
    assert (abs(nested.memory_A / flat.memory_A - 1) < 0.05).all()  # the same maps, and a mean


def test_costs_of_more_combinations_of_maps_than_are_run_are_exact_or_above(small):
    """Height and width apart: multiply-adds are counted for each, memory is that of a combination at least as large."""
    net = small["segmenter"]
    space = dataclasses.replace(net.space, axes="h,w")
    blank = blank_copy(net).eval()
    found = placement_costs(net, 32, space, batch=4)
    with FakeTensorMode():
        fake = copy_with(blank, _fake).train()
        for number in range(0, space.size, 7):
            placement = space[number]
            now = most = 0
            for change in run_step(fake, placement, 32, 32, 4, torch.float32):
                most, now = max(most, now + change.rise), now + change.left
            assert most <= found.memory_A[number] <= 1.5 * most
    for number in range(0, space.size, 7):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            blank(torch.zeros(1, 3, 32, 32, device="meta"), space[number])
        assert found.macs_A[number] == counter.get_total_flops() // 2


@pytest.mark.parametrize("name", ["stages", "segmenter"])
def test_the_memory_of_a_tree_counts_what_is_carried(name, small):
    blank = blank_copy(small[name])
    supernet = SinglePath(lambda _: blank, "batch").eval()
    table = memory_table(blank, 32, 32)
    for placements in ([*blank.space], [blank.space[0]], [blank.space[blank.space.size - 1]]):
        x = torch.zeros(8, 3, 32, 32, device="meta").contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), LiveBytes() as live:
            live.ignore(x)
            for _, outputs in run_tree(supernet, x, placements):
                del outputs
        bound = 8 * (tree_bytes(table, placements) - table.image)
        assert 0.97 * bound <= live.most <= bound + 4096


def test_a_decoder_of_fixed_factors_is_refused_by_its_line(images):
    for up in ("factor", "transposed"):
        with pytest.raises(PoolsearchError) as refused:
            restride(made(lambda up=up: Segmenter(up)), images(32))
        said = str(refused.value)
        assert "the decoder does not run where a placement gives it maps of" in said
        assert "of test_backbones.py: return conv(torch.cat([x, skip], 1)), on maps of" in said
        assert "resize one map to the size of the other" in said and "interpolate(x, size=skip.shape[-2:])" in said


def test_a_block_that_writes_into_a_map_that_is_given_is_refused(images):
    class Overwriting(Stages):
        def forward(self, x):
            a = self.body[1](self.body[0](self.stem(x)))
            return a, self.body[3](self.body[2](F.relu_(a)))

    with pytest.raises(PoolsearchError, match=r"block 'body.2' of Overwriting writes into the map .*without inplace"):
        restride(Overwriting(), images(32), blocks=["body.*"])


def test_class_logits_beside_maps_are_taken_alone_unless_all_are_asked_for(images):
    class Both(Stages):
        def forward(self, x):
            maps = super().forward(x)
            return {"logits": maps[-1].mean((2, 3)), "maps": maps}

    model, x = made(Both), images(32)
    assert restride(model, x)(x, Placement.parse("1,2,1")).shape == (3, 8)
    net = restride(model, x, outputs="all")
    found = net.eval()(x, net.space[0])
    assert found["logits"].shape == (3, 8) and [m.shape[1] for m in found["maps"]] == [4, 8, 8]
    assert net.strides(net.default) == {"logits": None, "maps": [(2, 2), (4, 4), (8, 8)]}
    with pytest.raises(PoolsearchError, match=r"unknown choice of outputs.*logits"):
        restride(model, x, outputs="some")


def test_maps_that_hooks_collect_are_not_seen(images):
    class Hooked(Stages):
        def __init__(self):
            super().__init__()
            self.found = []
            self.body[2].register_forward_hook(lambda *given: self.found.append(given[-1]))

        def forward(self, x):
            self.found.clear()
            super().forward(x)
            return []

    with pytest.raises(PoolsearchError, match=r"Hooked gives nothing where it is traced: what hooks collect"):
        restride(Hooked(), images(32))


def test_a_network_of_maps_cannot_be_relaxed(images, small):
    with pytest.raises(PoolsearchError, match="cannot be relaxed: its head reads maps of several blocks"):
        relaxed(SuperNet(small["stages"]), images(32), torch.ones(3, 3) / 3)


def test_one_placement_is_saved_loaded_and_exported(images, small):
    x = images(32)
    fixed = copy.deepcopy(small["stages"]).fixed(small["stages"].space[0]).eval()
    file = io.BytesIO()
    torch.save(fixed, file)
    file.seek(0)
    for other in (torch.load(file, weights_only=False), torch.export.export(fixed, (x,)).module()):
        assert all(torch.equal(*pair) for pair in zip(other(x), fixed(x), strict=True))


def timm_maps(name, **options):
    timm = pytest.importorskip("timm")
    return timm.create_model(name, features_only=True, **options)


def pyramid():
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    return resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5)


def dilated():
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    return lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)


LIBRARIES = {
    "timm resnet": (lambda: timm_maps("resnet10t", out_indices=(1, 2, 3)), "2,1,1", 2),
    "timm mobilenet": (lambda: timm_maps("mobilenetv3_small_050"), "1,1,2,5,3", 4),
    "torchvision pyramid": (pyramid, "2,2,2,2", 3),
    "torchvision segmenter": (dilated, "1,2,3,9", 2),
}


@pytest.mark.parametrize(
    "name", [n if n == "timm resnet" else pytest.param(n, marks=pytest.mark.nightly) for n in LIBRARIES]
)
def test_backbones_and_segmenters_of_libraries(name, images):
    make, default, carries = LIBRARIES[name]
    model, x = made(make), images(64, count=2)
    net = restride(model, x)
    assert (str(net.default), net.carries) == (default, carries)
    proofs = prove(net, model, [net.space[0]], x)
    assert not any(p.problems for p in proofs) and proofs[0].logit_gap == 0.0
