"""Ordinary networks that need more than blocks of one's own: single convolutions as blocks, two modes, lost pixels."""

import random
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

from poolsearch.errors import PoolsearchError
from poolsearch.nets.restride import load_model, prove, restride
from poolsearch.space import Placement

from .families import seeded
from .test_network import Net, Residual, plain
from .test_shrink import PaddedWithin

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*(weight_norm|deprecated)"),
]


def problems(model, images_BCHW, **options):
    """What does not hold of all placements, each run forward and backward."""
    net = restride(model, images_BCHW, **options)
    return net, [p.problems for p in prove(net, model, net.space, images_BCHW) if not p.holds]


class Pooled(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        return self.pool(F.relu(self.norm(self.conv(x))))


def layers(inputs, outputs):
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]


GLOBAL = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)]


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("flat", [True, False])
def test_a_pooling_after_every_convolution_can_move_behind_the_last(own, flat, images):
    head = [nn.Flatten(), nn.Linear(6 * 4, 5)] if flat else GLOBAL
    channels = [(3, 4), (4, 4), (4, 6)]
    parts = [layer for pair in channels for layer in ([Pooled(*pair)] if own else layers(*pair))]
    model = seeded(lambda: nn.Sequential(*parts, *head))
    net, bad = problems(model, images(16))
    assert (str(net.default), net.space.size, bad) == ("1,1,2", 3, [])
    assert net.blocks[3].path == "end"
    if not own:  # the second pooling is left out, and stands behind the third convolution's activation
        model.eval(), net.eval()
        late = model[8:11](model[4:7](model[:4](images(16))))
        torch.testing.assert_close(net(images(16), Placement.parse("1,2,1")), model[11:](F.max_pool2d(late, 2)))


def test_sites_inside_of_blocks_are_found_where_those_between_leave_nothing_to_move(images):
    class Deep(Residual):
        def __init__(self, inputs, outputs, stride):
            super().__init__(inputs, outputs, stride)
            self.second = nn.Conv2d(outputs, outputs, 3, padding=1)

        def forward(self, x):
            return F.relu(self.second(F.relu(self.conv(x))) + (x if self.skip is None else self.skip(x)))

    model = seeded(lambda: Net([Deep(4, 4, 1), Deep(4, 6, 2), Deep(6, 8, 2)], 8))
    net, bad = problems(model, images(16))
    assert ([b.path for b in net.blocks], str(net.default), bad) == (
        ["body.0.conv", "body.0.second", "body.1.conv", "body.2.conv"], "2,1,1", [])  # fmt: skip


@pytest.mark.parametrize("pattern", ["body.*", "body.[0-4]", "bod?.*"])
def test_blocks_are_named_by_patterns(pattern, images):
    named = restride(plain(), images(16), blocks=[pattern])
    assert [b.path for b in named.blocks] == [f"body.{i}" for i in range(5)]


@pytest.mark.parametrize(("pattern", "message"), [
    ("layer*.*", r"no submodule of Net has a name like 'layer\*.\*'. A \* stands for one part.*such as stem, body"),
    ("body.*.conv", "'body.0.conv'"),
])  # fmt: skip
def test_a_pattern_that_does_not_serve_says_what_there_is(pattern, message, images):
    with pytest.raises(PoolsearchError, match=message):
        restride(plain(), images(16), blocks=[pattern, "body.0"])


def test_where_nothing_can_move_the_flag_that_names_blocks_is_said(images):
    with pytest.raises(PoolsearchError, match=r"nothing to move.*named with --blocks \(in Python blocks=.*'body.0'"):
        restride(Net([Residual(4, 4, 1), Residual(4, 4, 1)], 4), images(16))


# Two modes


def dropped(x, rate, training):
    """Stochastic depth as it stands in many copies of EfficientNet."""
    if not training:
        return x
    noise = 1 - rate + torch.rand([x.shape[0], 1, 1, 1], dtype=x.dtype, device=x.device)
    return x / (1 - rate) * noise.floor()


class Dropping(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm = nn.BatchNorm2d(outputs)
        self.keeps = stride == 1 and inputs == outputs

    def forward(self, x):
        out = F.relu(self.norm(self.conv(x)))
        return dropped(out, 0.5, self.training) + x if self.keeps else out


class Skipping(Dropping):
    """Skips itself by chance, drawn in one of several ways."""

    def forward(self, x):
        if self.training and self.keeps and self.skips():
            return x
        return super().forward(x)

    def skips(self):
        return random.random() < 0.5


class SkippingByItem(Skipping):
    def skips(self):
        return torch.rand(1).item() < 0.5


class SkippingByConstant(Skipping):
    def skips(self):
        return torch.bernoulli(torch.tensor(0.5)) == 0


class SkippingStride(SkippingByItem):
    def forward(self, x):
        return self.conv(x) if self.training and self.skips() else Dropping.forward(self, x)


def body(kind):
    return [kind(4, 4, 1), Dropping(4, 6, 2), kind(6, 6, 1), Dropping(6, 6, 1), Dropping(6, 8, 2)]


class DroppedOut(Net):
    def forward(self, x):
        x = dropped(self.body(self.stem(x)), 0.3, self.training).mean((2, 3))
        return self.fc(F.dropout(x, 0.5) if self.training else x)


class Auxiliary(Net):
    """In training also the logits of a classifier on the way, with a dropout before that of the head."""

    def __init__(self, blocks, channels, form):
        super().__init__(blocks, channels)
        self.aux = nn.Sequential(
            nn.BatchNorm2d(6), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)
        )
        self.form = form

    def forward(self, x):
        x = self.body[:3](self.stem(x))
        aux = self.aux(x) if self.training else None
        out = self.fc(F.dropout(self.body[3:](x).mean((2, 3)), 0.5, self.training))
        return out if aux is None else self.form(out, aux)


TWO = {
    "stochastic depth in blocks": lambda: Net(body(Dropping), 8),
    "behind blocks, and dropout in the head": lambda: DroppedOut(body(Dropping), 8),
    "a tuple with auxiliary logits": lambda: Auxiliary(body(Dropping), 8, lambda out, aux: (out, aux)),
    "a dictionary": lambda: Auxiliary(body(Dropping), 8, lambda out, aux: {"aux": aux, "out": out}),
}


@pytest.mark.parametrize("case", TWO)
def test_both_modes_are_cut_at_the_same_blocks(case, images):
    model = seeded(TWO[case])
    net, bad = problems(model, images(16))
    assert ([b.path for b in net.blocks], str(net.default), bad) == ([f"body.{i}" for i in range(5)], "1,3,1", [])
    x, placement = images(16), net.space[0]
    one, other = (net.train()(x, placement) for _ in range(2))
    assert not torch.equal(one, other)
    assert torch.equal(net.eval()(x, placement), net(x, placement))
    assert net.left_out == (("aux",) if "auxiliary" in case or "dictionary" in case else ())
    assert [note for note in net.notes if "not trained: aux" in note] == [*net.notes]


class Several(Net):
    """Gives more than the class logits."""

    def __init__(self, blocks, channels):
        super().__init__(blocks, channels)
        self.projector = nn.Linear(channels, 7)

    def forward(self, x):
        features = self.body(self.stem(x)).mean((2, 3))
        return self.form(self.fc(features), features, self.projector(features))


class Dictionary(Several):
    def form(self, logits, features, projected):
        return {"features": features, "logits": logits, "projected": projected}


class Tuple(Several):
    def form(self, logits, *others):
        return logits, [*others]


class OtherOrder(Several):
    def form(self, logits, _, projected):
        return (projected, logits) if self.training else (logits, projected)


class Named(Several):
    class Outputs(NamedTuple):
        logits: torch.Tensor
        features: torch.Tensor
        projected: torch.Tensor

    def form(self, logits, features, projected):
        return self.Outputs(logits, features, projected=projected)


@dataclass
class Output:
    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...] | None = None


class Dataclass(Several):
    def form(self, logits, *others):
        return Output(logits, others)


class Listed(Several):
    def form(self, logits, *_):
        return [logits]


SEVERAL = {Dictionary: "logits", Tuple: "0", OtherOrder: "0", Named: "logits", Dataclass: "logits", Listed: "0"}


@pytest.mark.parametrize("kind", SEVERAL)
def test_the_class_logits_are_taken_of_several_outputs(kind, images):
    model = seeded(lambda: kind(body(Dropping), 8))
    net, bad = problems(model, images(16), classes=5)
    assert bad == [] and net.main is not None and net.main.name == SEVERAL[kind]
    assert net(images(16), net.default).shape == (3, 5)
    if kind is not Listed:
        assert net.left_out == ("projector",) and f"'{SEVERAL[kind]}' is taken for the class logits" in net.notes[0]


@pytest.mark.parametrize("kind", [Skipping, SkippingByItem, SkippingByConstant])
def test_blocks_that_are_skipped_by_chance_are_kept_whole(kind, images):
    model = seeded(lambda: Net(body(kind), 8))
    random.seed(5)
    before = random.getstate(), torch.get_rng_state()
    restride(model, images(16))
    assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1])
    net, bad = problems(model, images(16))
    assert ([b.path for b in net.blocks], bad) == ([f"body.{i}" for i in range(5)], [])
    assert len({net.train()(images(16), net.default).sum().item() for _ in range(12)}) > 2


def test_a_stride_in_a_block_that_is_skipped_by_chance_is_refused_with_its_cause_first(images):
    cause = r"'body.1' \(SkippingStride\) of Net is run whole, since .*test_opened.py: return self.conv"
    with pytest.raises(PoolsearchError, match=rf"^{cause}.*16x16 into 8x8.*multiply its result by 0 or 1"):
        restride(Net([SkippingStride(4, 4, 1), SkippingStride(4, 6, 2), SkippingStride(6, 6, 1)], 6), images(16))


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_torchvisions_auxiliary_classifiers_are_left_out(name, monkeypatch):
    import torchvision.models as models

    told = {}
    monkeypatch.setattr(models, "get_model", lambda _, **options: told.update(options) or nn.Identity())
    load_model(f"torchvision:{name}", 5)
    assert told["aux_logits"] is False


class Normalising(Net):
    """Computes with its buffers alone before it does with the images."""

    def __init__(self, blocks, channels):
        super().__init__(blocks, channels)
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]))
        self.register_buffer("order", torch.tensor([2, 0, 1]))

    def forward(self, x):
        return super().forward((x - self.mean.view(1, -1, 1, 1))[:, self.order.flip(0)])


def test_what_is_computed_from_buffers_alone_is_no_constant(images):
    model = seeded(lambda: Normalising(body(Residual), 8))
    net, bad = problems(model, images(16))
    assert bad == []
    before = net(images(16), net.default)
    model.mean += 1
    assert not torch.equal(net(images(16), net.default), before)


# Padding


def test_a_network_whose_convolutions_pad_within_as_tensorflows_do(images):
    def unit(inputs, outputs, stride):
        return nn.Sequential(PaddedWithin(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs), nn.ReLU6())

    layers = unit(3, 4, 1), unit(4, 4, 1), unit(4, 6, 2), unit(6, 6, 1), unit(6, 6, 2)
    net, bad = problems(seeded(lambda: nn.Sequential(*layers, *GLOBAL)), images(16))
    assert (str(net.default), net.space.size, bad) == ("2,2,1", 6, [])


# Lost pixels


class Tutorial(nn.Module):
    """The first network of PyTorch's tutorial."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.pool = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5), nn.MaxPool2d(2, 2)
        self.fc1, self.fc2 = nn.Linear(16 * 5 * 5, 12), nn.Linear(12, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        return self.fc2(F.relu(self.fc1(torch.flatten(x, 1))))


def test_pytorchs_tutorial_network(images):
    model = seeded(Tutorial)
    net, bad = problems(model, images(32))
    assert (str(net.default), net.space.size, bad) == ("1,2", 2, [])
    x, moved = images(32), Placement.parse("2,1")
    late = F.max_pool2d(F.relu(model.conv2(F.relu(model.conv1(x)))), 2)
    assert late.shape[2:] == (12, 12)  # where the head is made for 10x10: a pixel on each side is left out
    expected = model.fc2(F.relu(model.fc1(model.pool(late[..., 1:-1, 1:-1]).flatten(1))))
    torch.testing.assert_close(net(x, moved), expected)
    assert "border is cut off" in net.notes[0]
    with pytest.raises(PoolsearchError, match="made for images of 32x32, not of 40x40"):
        net.check_input(40, 40)


def unpadded(stride, *head):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, stride), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(),
        nn.MaxPool2d(3, 2), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=2), nn.ReLU(),
        *(head or (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))),
    )  # fmt: skip


@pytest.mark.parametrize("side", [32, 33])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_without_padding(stride, side, images):
    _, bad = problems(seeded(lambda: unpadded(stride)), images(side))
    assert bad == []


def test_a_flatten_of_sizes_that_were_rounded_down(images):
    # 28, 14, 7, 3: as networks for small digits do
    parts = [layer for i in (3, 4, 4) for layer in (nn.Conv2d(i, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))]
    model = seeded(lambda: nn.Sequential(*parts, nn.Flatten(), nn.Linear(36, 5)))
    net, bad = problems(model, images(28))
    assert (str(net.default), bad) == ("1,1,2", [])


def test_a_halving_more_is_no_matter_of_a_few_pixels(images):
    net = restride(seeded(Tutorial), images(32))
    with pytest.raises(RuntimeError, match="needs maps of 10x10"):
        net.head(images(24, channels=16))


# Branches and assertions on sizes


class Asserting(Net):
    def forward(self, x):
        assert x.dim() == 4, f"images, not {x.shape}"
        _, channels, height, width = x.shape
        assert channels == 3
        assert height == width == 16
        return super().forward(x)


class Within(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


class Growing(Net):
    def forward(self, x):
        x = self.body[:3](self.stem(x))
        if x.shape[2] >= 8:
            x = x * 2
        return self.fc(self.body[3:](x).mean((2, 3)))


def assertive(kind):
    return kind([Residual(4, 4, 1), Residual(4, 8, 2), Residual(8, 8, 1), Residual(8, 12, 2)], 12)


@pytest.mark.parametrize("make", [lambda: assertive(Asserting), lambda: Within(assertive(Asserting))])
def test_assertions_on_sizes_are_followed(make, images):
    net, bad = problems(seeded(make), images(16))
    assert (str(net.default), bad) == ("1,2,1", [])


def test_a_branch_that_other_placements_would_not_take_is_refused_with_its_line(images):
    with pytest.raises(
        PoolsearchError, match=r"another branch for maps of this size \(line \d+ of test_opened.py: if x.s"
    ):
        restride(assertive(Growing), images(16))


# Layers whose weight is computed


def parametrised(change):
    def make():
        model = plain()
        for layer in [*model.body.modules()]:
            if isinstance(layer, nn.Conv2d):
                change(layer)
        return model

    return make


@pytest.mark.parametrize("change", [
    nn.utils.weight_norm, nn.utils.spectral_norm, lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
    parametrizations.weight_norm, parametrizations.spectral_norm,
])  # fmt: skip
def test_layers_whose_weight_is_computed(change, images):
    net, bad = problems(seeded(parametrised(change)), images(16))
    assert (str(net.default), bad) == ("1,3,1", [])
    assert "body.2.conv at stride 2" in net.how(2)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(5)),
     r"'0' \(LazyConv2d\) of Sequential is lazy: .* Run the network on one image"),
    (lambda: torch.jit.trace(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.zeros(1, 3, 8, 8)), "is a ScriptModule"),
])  # fmt: skip
def test_modules_without_shapes_or_code_are_refused_in_a_sentence(make, message, images):
    with pytest.raises(PoolsearchError, match=message):
        restride(make(), images(16))
