"""Every family of torchvision and timm: the proof, over all placements where there are not too many."""

import copy
import random

import pytest
import torch
from torch import nn

from poolsearch.nets.restride import load_model, prove, restride
from poolsearch.space import HalvingsSpace

from .families import FULL, SMALL, seeded

pytestmark = pytest.mark.usefixtures("one_thread")

# (blocks per resolution by the families' papers and tables; the stem is a block where the first block halves)
DEFAULTS = {
    "torchvision resnet": "2,2,2,2", "torchvision resnext": "2,2,2,2", "torchvision wide_resnet": "1,2,1,2",
    "torchvision regnet_x": "1,1,2,7,12", "torchvision regnet_y": "1,1,3,6,6", "torchvision convnext": "2,2,3,2",
    "torchvision efficientnet": "1,2,2,6,5", "torchvision mobilenet_v2": "1,2,3,7,4",
    "torchvision mobilenet_v3": "1,1,2,5,3", "torchvision vgg_bn": "1,1,2,2,2", "torchvision densenet": "2,3,3,2",
    "timm resnet": "2,2,2,2", "timm resnext": "2,2,2,2", "timm wide_resnet": "1,2,2,1", "timm resnet-d": "2,2,2,2",
    "timm resnet50-d": "2,2,2,2", "timm seresnet": "2,2,2,2", "timm resnet with blur": "2,2,2,2",
    "timm regnet_x": "1,1,1,4,7", "timm regnet_y": "1,1,1,4,7", "timm convnext": "2,2,3,2",
    "timm efficientnet": "1,2,2,6,5", "timm mobilenetv2": "1,2,3,7,4", "timm mobilenetv3": "1,1,2,5,3",
    "timm tf same padding": "1,1,2,5,3", "timm vgg_bn": "1,1,2,2,2", "timm densenet": "2,3,3,2",
}  # fmt: skip


def sample(space, most, seed=0):
    """All placements where the space is small, else so many random ones."""
    if space.size <= 1000:
        return [*space]
    return [space[number] for number in random.Random(seed).sample(range(space.size), most)]


def shake(model, randomise_norms):
    """Weights and statistics with which an error cannot hide: norms that are not trivial, no branch scaled to zero."""
    randomise_norms(model)
    g = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if parameter.dim() <= 1 or name.endswith(("layer_scale", "gamma")):
            parameter.data = torch.rand(parameter.shape, generator=g) + 0.5
    return model


@pytest.mark.parametrize("name", SMALL)
def test_every_family_holds_the_proof(name, family, images, randomise_norms):
    model, net = copy.deepcopy(family(name))
    shake(model, randomise_norms)
    x = images(64, count=2)
    assert str(net.default) == DEFAULTS[name]
    assert {id(p) for p in net.parameters()} == {id(p) for p in model.parameters()}
    proofs = prove(net, model, sample(net.space, 40), x, run=3)
    assert [p for p in proofs if not p.holds] == []
    assert model.eval()(x).std() > 1e-3  # not a comparison of zeros


# one of each kind of block; others of FULL are larger members of the same families
BY_DAY = {
    "torchvision:resnet50", "torchvision:shufflenet_v2_x0_5", "torchvision:squeezenet1_1", "torchvision:mnasnet0_5",
    "timm:mobilenetv4_conv_small", "timm:mixnet_s", "timm:res2net50_26w_4s", "timm:tresnet_m", "timm:legacy_xception",
}  # fmt: skip

OTHER_NUMBERS = (
    "torchvision resnet", "torchvision regnet_y", "torchvision convnext", "torchvision vgg_bn", "torchvision densenet",
    "timm resnet-d", "timm efficientnet", "timm mobilenetv3",
)  # fmt: skip


@pytest.mark.parametrize("name", OTHER_NUMBERS)
def test_other_numbers_of_halvings_hold_the_proof(name, family, images, randomise_norms):
    model, net = copy.deepcopy(family(name))
    shake(model, randomise_norms)
    own = net.space.poolings
    space = HalvingsSpace.of(net.space, own - 2, own + 1)
    net.check_input(64, 64, space)
    chosen = [net.default, *(HalvingsSpace.of(space, n, n).subset(3, 0)[2] for n in (own - 2, own - 1, own + 1))]
    proofs = prove(net, model, chosen, images(64, count=2), run=4)
    assert [p for p in proofs if not p.holds] == [] and len(proofs) == 4


@pytest.mark.parametrize(
    ("name", "most"),
    [
        *(pytest.param(name, 30, marks=pytest.mark.slow if name in BY_DAY else pytest.mark.nightly) for name in FULL),
        *(pytest.param(name, None, marks=pytest.mark.nightly) for name in FULL),
    ],
)
def test_full_members_hold_the_proof(name, most, images):
    model = seeded(lambda: load_model(name, 5))
    x = images(64, count=2)
    net = restride(model, x)
    placements = net.space if most is None else sample(net.space, most)
    assert [p for p in prove(net, model, placements, x, run=6) if not p.holds] == []


@pytest.mark.parametrize("op", ["max", "avg", "blur"])
@pytest.mark.parametrize("name", ["torchvision densenet", "timm resnet"])
def test_poolings_hold_it_too(name, op, family, images):
    model, net = copy.deepcopy(family(name))
    x = images(64, count=2)
    net.op = op
    assert [p for p in prove(net, model, sample(net.space, 20), x, run=3) if not p.holds] == []


HOW = {  # a block that keeps its size, how it is strided, and in whose manner
    "torchvision resnet": (1, "like layer2.0: layer1.1.conv1 at stride 2; rest subsampled"),
    "torchvision resnext": (1, "like layer2.0: layer1.1.conv2 at stride 2; rest subsampled"),
    "torchvision convnext": (1, "max pooling 2x2 in front"),
    "torchvision vgg_bn": (3, "max pooling 2x2 in front"),
    "torchvision densenet": (1, "max pooling 2x2 in front"),
    "torchvision efficientnet": (2, "features.2.1.block.1.0 at stride 2"),
    "torchvision mobilenet_v2": (8, "like features.2: features.9.conv.1.0 at stride 2"),
    "timm resnet-d": (1, "like layer2.0: layer1.1.conv1 at stride 2; rest averaged"),
    "timm resnet50-d": (1, "like layer2.0: layer1.1.conv2 at stride 2; rest averaged"),
    "timm resnet with blur": (1, "like layer2.0: layer2.0.aa after layer1.1.aa; rest subsampled"),
    "timm regnet_y": (4, "like s1.b1: s3.b2.conv2.conv at stride 2; rest subsampled"),
    "timm mobilenetv3": (3, "blocks.1.1.conv_dw at stride 2"),
}


@pytest.mark.parametrize("name", HOW)
def test_a_block_says_how_it_is_strided(name, family):
    index, words = HOW[name]
    _, net = family(name)
    assert words in net.how(index)
    first = next(i for i in range(1, len(net.blocks)) if net.default.at(i) == (1, 1))
    assert "halves by itself; at full size" in net.how(first)
    assert "stays as it is" in net.how(0)


def test_every_layer_is_in_one_part_and_the_model_is_untouched(images):
    model = seeded(SMALL["timm densenet"])
    before = {name: type(m) for name, m in model.named_modules()}
    net = restride(model, images(64, count=2))
    assert {name: type(m) for name, m in model.named_modules()} == before
    held = [m for part in (net.stem, *net.blocks, net.head) for m in part.modules()]
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.BatchNorm2d, nn.Linear))]
    assert all(sum(m is h for h in held) == 1 for m in layers)
