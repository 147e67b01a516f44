"""Networks of libraries and of users as the original and a patch."""

import ast
import copy
import random
import runpy
from itertools import pairwise
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from poolsearch.errors import PoolsearchError
from poolsearch.exporting.library_code import check_patchable, library_codes, original_call
from poolsearch.exporting.model_card import features_of, last_blocks, states_of
from poolsearch.nets.build import NetSpec
from poolsearch.nets.restride import load_model, restride
from poolsearch.nets.restride.trace import blank_copy
from poolsearch.space import HalvingsSpace, Placement

_FILE = Path(__file__).parents[1] / "nets" / "restride" / "families.py"
_families = runpy.run_path(str(_FILE))
SMALL, seeded = _families["SMALL"], _families["seeded"]

pytestmark = pytest.mark.usefixtures("one_thread")


def codes_of(net, placement, facts, side=64, name="timm:any"):
    spec = NetSpec(name, 5, None, net.op, image_size=side)
    features = features_of(spec, placement, blank_copy(net).eval())
    return [*library_codes(facts(spec, placement), net, features)]


def placements_of(net, count, seed=0):
    """The default, random ones, and one with sites of a single axis."""
    draw = random.Random(seed)
    found = [net.default, *(net.space[draw.randrange(net.space.size)] for _ in range(count))]
    pairs = zip(found[-1].sites, found[-2].sites, strict=True)
    return [*found, Placement(tuple((a[0], b[1]) for a, b in pairs))]


def check(code, model, net, placement, x, run_code, same_maps, slack=0):
    """Equal to the bit in evaluation, in training with the same draws, and as a backbone."""
    defined = [part.name for part in ast.parse(code).body if isinstance(part, ast.FunctionDef | ast.ClassDef)]
    assert len(defined) == len({*defined}), "one function takes the place of another of its name"
    exported = run_code(code, model.state_dict())
    patched = copy.deepcopy(model).eval()
    exported.place(patched)
    assert patched.state_dict().keys() == model.state_dict().keys()
    net, names = copy.deepcopy(net).eval(), [name for name, _ in model.named_parameters()]
    with torch.no_grad():
        logits, states = states_of(net, x, placement)
        assert torch.equal(patched(x), logits)
    assert logits.std() > 1e-4  # no comparison of zeros
    trained = []
    for run in (patched.train(), lambda x: net.train()(x, placement)):
        torch.manual_seed(0)
        trained.append(run(x))
    assert torch.equal(*trained)
    assert all(torch.equal(patched.state_dict()[n], net.original.state_dict()[n]) for n in net.original.state_dict())
    assert [n for n, _ in patched.named_parameters()] == names
    other = copy.deepcopy(model).eval()
    exported.place(other)
    same_maps(exported.Backbone(other), states, x.shape[-1], x, slack)


POOLED = (
    "torchvision resnet",
    "torchvision vgg_bn",
    "timm regnet_y",
    "timm convnext",
    "timm mobilenetv3",
    "timm densenet",
)


# torchvision has the same families, which take no less time
AT_NIGHT = ("timm regnet_x", "timm regnet_y", "timm efficientnet", "timm mobilenetv2", "timm mobilenetv3")


@pytest.mark.parametrize(
    ("name", "op"),
    [
        *((name, "native") for name in SMALL if name not in AT_NIGHT),
        *(pytest.param(name, "native", marks=pytest.mark.nightly) for name in AT_NIGHT),
        *((name, op) for name in POOLED for op in ("max", "blur")),
    ],
)
def test_every_family_is_equal_to_the_bit(name, op, facts, run_code, images, randomise_norms, same_maps):
    model, x = randomise_norms(seeded(SMALL[name])), images(64, count=2)
    net = restride(model, x, op=op)
    first, *others = placements_of(net, 2)[1:] if op == "native" else placements_of(net, 1)[1:2]
    for code in codes_of(net, first, facts):  # the patch, and the fallback
        check(code, model, net, first, x, run_code, same_maps)
    for placement in others:
        check(codes_of(net, placement, facts)[0], model, net, placement, x, run_code, same_maps)


@pytest.mark.parametrize("name", ["torchvision resnet", "torchvision mobilenet_v3"])
def test_other_numbers_of_halvings_are_equal_to_the_bit(name, facts, run_code, images, randomise_norms, same_maps):
    model, x = randomise_norms(seeded(SMALL[name])), images(64, count=2)
    net = restride(model, x)
    own = net.space.poolings
    for halvings in (own - 2, own + 1):
        space = HalvingsSpace.of(net.space, halvings, halvings)
        placement = space[space.size // 2]
        check(codes_of(net, placement, facts)[0], model, net, placement, x, run_code, same_maps)


class Flattening(nn.Module):
    """Without padding, so that the head's maps come out larger where the halving is moved."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.pool, self.fc = (
            nn.Conv2d(3, 4, 5),
            nn.Conv2d(4, 8, 5),
            nn.MaxPool2d(2),
            nn.Linear(200, 5),
        )

    def forward(self, x):
        return self.fc(torch.flatten(self.pool(F.relu(self.conv2(self.pool(F.relu(self.conv1(x)))))), 1))


class Dropping(nn.Module):
    """Drops whole branches of random images, in training only."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.same = stride == 1

    def forward(self, x):
        out = F.relu(self.conv(x))
        if self.training and self.same:
            out = out * torch.rand([x.shape[0], 1, 1, 1], dtype=x.dtype, device=x.device).round()
        return out + x if self.same else out


def dropping():
    blocks = [Dropping(4, 4, 1), Dropping(4, 8, 2), Dropping(8, 8, 1)]
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


class Several(nn.Module):
    """Gives a dictionary, of which an export gives the class logits alone."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(*(nn.Conv2d(*io, 3, s, 1) for *io, s in ((3, 4, 1), (4, 8, 2), (8, 8, 1))))
        self.fc, self.projector = nn.Linear(8, 5), nn.Linear(8, 3)

    def forward(self, x):
        maps = self.body(x)
        pooled = maps.mean((2, 3))
        return {"maps": maps, "projected": self.projector(pooled), "logits": self.fc(pooled)}


class Segmenting(nn.Module):
    """Gives a map, by a decoder that joins maps of two sizes."""

    def __init__(self):
        super().__init__()
        self.body = nn.ModuleList(nn.Conv2d(*io, 3, s, 1) for *io, s in ((3, 4, 1), (4, 4, 1), (4, 8, 2), (8, 8, 1)))
        self.side, self.out = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 5, 1)

    def forward(self, x):
        skip = F.relu(self.body[1](F.relu(self.body[0](x))))
        x = self.body[3](F.relu(self.body[2](skip)))
        return self.out(self.side(skip) + F.interpolate(x, skip.shape[-2:], mode="bilinear"))


@pytest.mark.parametrize(
    ("make", "placement"), [(Flattening, "2,1"), (dropping, "1,2"), (Several, "1,2"), (Segmenting, "1,3")]
)
def test_lost_pixels_two_modes_and_several_outputs_are_exported(make, placement, facts, run_code, images, same_maps):
    model, x = seeded(make), images(32, count=2)
    net, placement = restride(model, x, classes=5), Placement.parse(placement)
    check(codes_of(net, placement, facts, side=32)[0], model, net, placement, x, run_code, same_maps, slack=8)


@pytest.mark.parametrize(
    ("name", "channels", "made"),
    [
        ("timm:resnet18", 1, 'timm.create_model("resnet18", num_classes=5, in_chans=1)'),
        ("timm:resnet18", 3, 'timm.create_model("resnet18", num_classes=5)'),
        ("torchvision:resnet18", 3, "torchvision.models.resnet18(num_classes=5)"),
        (
            "torchvision:inception_v3",
            3,
            "torchvision.models.inception_v3(num_classes=5, aux_logits=False, init_weights=True)",
        ),
        (
            "torchvision:googlenet",
            3,
            "torchvision.models.googlenet(num_classes=5, aux_logits=False, init_weights=True)",
        ),
    ],
)
def test_the_original_is_made_as_it_was_searched(name, channels, made):
    assert original_call(NetSpec(name, 5, channels=channels))[1] == made
    with torch.device("meta"):
        ours, theirs = load_model(name, 5, channels=channels), eval(made, {"timm": timm, "torchvision": torchvision})
    assert {n: p.shape for n, p in theirs.named_parameters()} == {n: p.shape for n, p in ours.named_parameters()}


@pytest.mark.nightly
@pytest.mark.parametrize("name", _families["FULL"])
def test_full_members_are_equal_to_the_bit(name, facts, run_code, images, randomise_norms, same_maps):
    model, x = randomise_norms(seeded(lambda: load_model(name, 5))), images(64, count=2)
    net = restride(model, x)
    for placement in placements_of(net, 2)[1:]:
        check(codes_of(net, placement, facts)[0], model, net, placement, x, run_code, same_maps, slack=3)


@pytest.mark.parametrize("name", [n for n in SMALL if "densenet" not in n])
def test_a_patch_is_short(name, facts, images):
    """One entry for each layer that is changed, and no long forward pass, for all families but DenseNet."""
    net = restride(seeded(SMALL[name]), images(64, count=2))
    codes = codes_of(net, placements_of(net, 1)[1], facts)
    assert len(codes) == 2
    assert len(codes[0].splitlines()) < 240


def test_the_patch_of_a_resnet_by_hand(facts, images):
    """layer2.0, which halves, keeps its size; layer1.1, which has no projection, is halved with its shortcut."""
    net = restride(seeded(SMALL["torchvision resnet"]), images(64, count=2))
    code = codes_of(net, Placement.parse("1,3,2,2"), facts)[0]
    patch = code[code.index("def place") : code.index("class Backbone")]
    for line in (
        '"layer1.1.conv1": (2, 2),', '"layer2.0.conv1": (1, 1),', '"layer2.0.downsample.0": (1, 1),',
        '"layer1.1.downsample": nn.MaxPool2d(1, 2),',
    ):  # fmt: skip
        assert line in patch
    assert patch.count('": ') == 4
    assert "forward" not in patch


class Functions(nn.Module):
    """Everything but the convolutions is a function of one forward method."""

    def __init__(self):
        super().__init__()
        sizes = [3, 4, 4, 8, 8, 16]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = F.relu(self.convs[0](x))
        x = F.relu(self.convs[1](x))
        x = F.max_pool2d(F.relu(self.convs[2](x)), 2)
        x = F.relu(self.convs[3](x))
        x = F.avg_pool2d(F.relu(self.convs[4](x)), 2)
        return self.fc(x.mean((2, 3)))


class Even(nn.Module):
    """Convolutions of even kernels, whose margin is on one side at stride 1; one layer called for two maps is none."""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True)]
        for inputs, outputs in ((4, 8), (8, 8)):
            layers += [nn.Conv2d(inputs, outputs, 2, stride=2), nn.ReLU(inplace=True)]
            layers += [nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.layers(x).mean((2, 3)))


@pytest.mark.parametrize("kind", [Functions, Even])
@pytest.mark.parametrize("op", ["native", "avg"])
def test_networks_of_the_users_own(kind, op, facts, run_code, images, same_maps):
    model, x = seeded(kind), images(32, count=2)
    net = restride(model, x, op=op)
    for placement in net.space:
        for code in codes_of(net, placement, facts, side=32):
            check(code, model, net, placement, x, run_code, same_maps)


@pytest.mark.parametrize("text", ["at 0,1,0,1", "at 0,2,2,2"])
def test_maps_that_grow_or_are_quartered_are_refused(text):
    with pytest.raises(PoolsearchError, match=f"{text} enlarges its maps, or divides them by more than two at once"):
        check_patchable(Placement.parse(text))


def test_moved_halvings_of_one_axis_or_both_are_not():
    check_patchable(Placement.parse("2,1,1"))
    check_patchable(Placement.parse("h 2,1,1 w 1,2,1"))


def test_last_blocks_count_sites_of_one_axis():
    assert last_blocks(Placement(((0, 0), (1, 0), (0, 0), (0, 1)))) == [1, 3, 4]
