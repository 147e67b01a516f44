"""What cannot be restrided is refused, with the reason and what would help."""

import pytest
import torch
import torchvision.models as tv
from torch import nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.restride import restride

from .test_network import Net, Residual, plain

pytestmark = pytest.mark.usefixtures("one_thread")


def conv(inputs, outputs, stride=1, kernel=3, padding=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU())


class Branching(Net):
    def forward(self, x):
        return super().forward(x if x.mean() > 0 else -x)


class Constant(Net):
    def forward(self, x):
        return super().forward(x * torch.tensor([1.0, 2.0, 3.0])[:, None, None])


class Auxiliary(Net):
    def forward(self, x):
        out = super().forward(x)
        return (out.relu(), out.sigmoid()) if self.training else out


class Listing(Net):
    def forward(self, x):
        out = super().forward(x)
        return [out, out.relu()]


class Position(nn.Module):
    def __init__(self, channels, size):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1, channels, size, size))
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(x + self.table)


class Upsampled(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.up = nn.Upsample(scale_factor=2)

    def forward(self, x):
        return self.up(self.conv(x))


class LongSkip(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = Residual(3, 4, 1), Residual(4, 4, 2), Residual(4, 4, 1)
        self.down = nn.Conv2d(4, 4, 1, 2)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        a = self.a(x)
        return self.fc((self.c(self.b(a)) + self.down(a)).mean((2, 3)))


def fours(*blocks):
    return Net([Residual(4, 4, 1), *blocks, Residual(4, 4, 1), Residual(4, 4, 2)], 4)


def twice():
    block = Residual(4, 4, 1)
    return Net([block, Residual(4, 4, 2), block], 4)


NAMED = {"blocks": ["body.0", "body.1", "body.2", "body.3"]}

REFUSED = {
    "branches on values": (
        lambda: Branching([Residual(4, 4, 1)], 4), {}, "Branching cannot be written down as one graph.*Control flow"),
    "a constant": (
        lambda: Constant([Residual(4, 4, 1)], 4), {}, "makes a tensor that depends on nothing.*register_buffer"),
    "other outputs in training": (
        lambda: Auxiliary([Residual(4, 4, 1), Residual(4, 4, 2)], 4), {},
        "several outputs, of which none is computed like that in evaluation"),
    "a list": (
        lambda: Listing([Residual(4, 4, 1), Residual(4, 4, 1), Residual(4, 4, 2)], 4), {},
        r"Listing does not give the class logits as one tensor: it gives '0' \(\[B, 5\]\), '1' .*several are of shape"),
    "one convolution": (
        lambda: nn.Sequential(conv(3, 4), nn.Flatten(), nn.Linear(4 * 16 * 16, 5)), {},
        "has 1 block .*at least 2.*named with --blocks"),
    "no convolution": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5)), {}, "has 0 blocks"),
    "no halving": (
        lambda: Net([Residual(4, 4, 1), Residual(4, 4, 1)], 4), {},
        "no site between the blocks of Net has a halving: there is nothing to move"),
    "halvings only": (
        lambda: Net([Residual(4, 4, 2), Residual(4, 4, 2)], 4), {"blocks": ["body.*"]},
        "every site between the blocks of Net"),
    "a table of positions": (lambda: fours(Position(4, 16)), NAMED, "body.1.*one size of maps only"),
    "enlarging": (lambda: fours(Upsampled(4)), NAMED, "'body.1.up' in block 'body.1'.*16x16 into 32x32"),
    "a stride of 4": (
        lambda: fours(Residual(4, 4, 4)), {}, "'body.1' of Net shrinks its maps by 4x4; a site halves both axes once"),
    "a stride of 3": (lambda: fours(conv(4, 4, 3)), NAMED, "'body.1.0' in block 'body.1'.*strides of 2"),
    "a stride of one axis": (lambda: fours(conv(4, 4, (2, 1))), NAMED, "shrinks its maps by 2x1"),
    "a long shortcut": (
        LongSkip, {"blocks": ["a", "b", "c"]}, r"maps of several sizes \(16x16, 8x8\) are alive after block 'b'"),
    "a wrong name": (plain, {"blocks": ["body.0", "bodi.1"]}, r"no submodule 'bodi.1'.*Near it: body.1"),
    "a block and all": (plain, {"blocks": ["body.0", "body"]}, "'body.*overlap"),
    "a block and its layer": (plain, {"blocks": ["body.0", "body.0.conv"]}, "overlap"),
    "a block used twice": (
        twice, {"blocks": ["body.0", "body.1"]}, "'body.0' of Net does not run once and in one piece"),
    "another op": (plain, {"op": "stride"}, "unknown downsampling op.*avg, blur, max, native"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_cut_is_refused_with_the_reason(case, images):
    make, options, message = REFUSED[case]
    with pytest.raises(PoolsearchError, match=f"(?s){message}"):
        restride(make(), images(16), **options)


def test_attention_over_a_table_of_positions_is_refused(images):
    with pytest.raises(PoolsearchError, match="one size only"):
        restride(tv.vit_b_16(num_classes=5), images(224, count=1))


@pytest.mark.parametrize(
    ("change", "example", "message"),
    [
        (nn.Module.half, torch.zeros(2, 3, 16, 16), "'stem.weight' is torch.float16 on cpu, the example torch.float32"),
        (lambda m: m.to("meta"), torch.zeros(2, 3, 16, 16), "on meta, the example torch.float32 on cpu"),
        (lambda m: m, torch.zeros(3, 16, 16), r"shape \[3, 16, 16\]: give floating-point images of shape \(B"),
        (lambda m: m, torch.zeros(2, 3, 16, 16, dtype=torch.uint8), "torch.uint8 tensor"),
        (lambda m: m, torch.zeros(2, 1, 16, 16), "Net does not run on images of 1x16x16: .*channel"),
    ],
)  # fmt: skip
def test_an_example_that_does_not_go_with_the_model_is_refused(change, example, message):
    with pytest.raises(PoolsearchError, match=message):
        restride(change(plain()), example)


@pytest.mark.parametrize(("side", "enough"), [(2, False), (3, True), (4, True), (9, True)])
def test_images_that_a_placement_cannot_halve_are_refused(side, enough, images):
    # two halvings that round up: 3 to 2 to 1
    if enough:
        restride(plain(), images(side)).check_input(side, side)
        return
    net = restride(plain(), images(16))
    for refuse in (lambda: restride(plain(), images(side)), lambda: net.check_input(side, 16)):
        with pytest.raises(
            PoolsearchError, match=r"maps of 1x\d+ before 'body.\d' cannot be halved: use larger images"
        ):
            refuse()


def test_a_head_for_one_size_is_kept_where_every_placement_ends_at_that_size(images):
    class Flat(Net):
        def forward(self, x):
            return self.fc(self.body(self.stem(x)).flatten(1))

    def make():
        return Flat([Residual(4, 4, 1), Residual(4, 8, 2), Residual(8, 8, 1), Residual(8, 12, 2)], 12 * 4 * 4)

    net = restride(make(), images(16))
    assert {net(images(16), p).shape for p in net.space} == {(3, 5)}
    with pytest.raises(PoolsearchError, match="does not run on images of 3x32x32"):
        restride(make(), images(32))
