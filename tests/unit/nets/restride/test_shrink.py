"""Layers at other strides, against layers that were built so."""

import copy
import operator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from poolsearch.nets.restride.shrink import (
    average_pool_at,
    convolution_at,
    margin_at,
    max_pool_at,
    pooling_at,
    pooling_like,
    slice_at,
    unshuffle_at,
)

pytestmark = pytest.mark.usefixtures("one_thread")

STRIDES = [(1, 1), (2, 2), (2, 1), (1, 2)]
ROW = [1.0, 5.0, 3.0, -2.0, 7.0, 4.0]


def row(values=ROW):
    return torch.tensor(values).reshape(1, 1, 1, -1)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize(("kernel", "dilation", "groups"), [(3, 1, 1), (5, 1, 4), (3, 2, 2), (1, 1, 1), ((3, 5), 1, 1)])
def test_an_odd_convolution_at_another_stride_is_one_built_with_it(stride, kernel, dilation, groups, images):
    k = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = tuple(dilation * (n - 1) // 2 for n in k)
    one, other = (nn.Conv2d(4, 4, kernel, s, padding, dilation, groups) for s in (2, stride))
    other.load_state_dict(one.state_dict())
    with torch.device("meta"):
        blank = nn.Conv2d(4, 4, kernel, 2, padding, dilation, groups)
    assert margin_at(blank, stride) is None
    for x in (images(9, channels=4), images(8, channels=4)):
        assert torch.equal(convolution_at(one, x, stride, None), other(x))
    assert one.stride == (2, 2)


@pytest.mark.parametrize(
    ("kernel", "padding", "before", "stride", "margin"),
    [
        (2, 0, 2, (1, 1), (0, 1, 0, 1)),  # a patch sees its neighbours to the end
        (2, 0, 2, (1, 2), (0, 0, 0, 1)),  # along the width it stays a patch
        (4, 1, 2, (1, 1), (1, 2, 1, 2)),
        (3, 0, 2, (1, 1), (1, 1, 1, 1)),  # a convolution without padding would lose its border
        (3, "same", 1, (2, 2), (1, 1, 1, 1)),  # which torch has at stride 1 only
    ],
)
def test_margins_by_hand(kernel, padding, before, stride, margin):
    with torch.device("meta"):
        assert margin_at(nn.Conv2d(3, 3, kernel, before, padding), stride) == margin


class PaddedWithin(nn.Conv2d):
    """Pads for its stride and even sizes in its forward method, as ports of TensorFlow's networks do."""

    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__(inputs, outputs, kernel, stride)
        total = kernel - stride
        self.pad = nn.ZeroPad2d((total // 2, total - total // 2) * 2)

    def forward(self, x):
        return super().forward(self.pad(x))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(("stride", "margin"), [((1, 1), (1, 0, 1, 0)), ((2, 1), (1, 0, 0, 0)), ((2, 2), None)])
def test_a_convolution_that_pads_within_is_padded_to_the_end(kernel, stride, margin, images):
    layer, plain = PaddedWithin(4, 4, kernel, 2), nn.Conv2d(4, 4, kernel, padding="same")
    plain.load_state_dict(layer.state_dict())
    assert margin_at(copy.deepcopy(layer).to("meta"), stride) == margin
    x = images(8, channels=4)
    # along an axis of stride 2 TensorFlow's windows stand one pixel further than those that begin at the border
    expected = plain(x)[:, :, 1 if stride[0] == 2 else 0 :: stride[0], 1 if stride[1] == 2 else 0 :: stride[1]]
    torch.testing.assert_close(convolution_at(layer, x, stride, margin), expected)


def test_a_margin_follows_the_padding_mode():
    conv = nn.Conv2d(1, 1, 3, padding="same", padding_mode="replicate", bias=False)
    conv.weight.data.fill_(1)
    x = torch.arange(4.0).reshape(1, 1, 2, 2)
    # nine times: 0 0 1 1 / 0 0 1 1 / 2 2 3 3 / 2 2 3 3, the window at the first pixel
    assert convolution_at(conv, x, (2, 2), (1, 1, 1, 1)).item() == 0 * 4 + 1 * 2 + 2 * 2 + 3 * 1


def test_a_convolution_sees_what_happens_to_it_later(images):
    conv, x = nn.Conv2d(3, 3, 3, 2, 1), images(6)
    conv.weight = nn.Parameter(torch.zeros_like(conv.weight))
    assert torch.equal(convolution_at(conv, x, (1, 1), None), conv.bias[:, None, None].expand(3, 3, 6, 6))
    conv.register_forward_hook(lambda *_: torch.tensor(7.0))
    assert convolution_at(conv, x, (1, 1), None) == 7


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.MaxPool2d(2), [5, 3, 7]),
        (nn.MaxPool2d(3, 2, 1), [5, 5, 7]),  # windows of three around positions 0, 2, 4
        (nn.AvgPool2d(2), [3, 0.5, 5.5]),
        (nn.LPPool2d(1, 2), [6, 1, 11]),  # the sum
    ],
)
def test_a_pooling_along_one_axis_has_a_window_along_it_only(layer, expected):
    x = torch.cat([row(), row() + 100], 2)
    both = torch.tensor([expected, [e + (100 if not isinstance(layer, nn.LPPool2d) else 200) for e in expected]])
    assert torch.equal(pooling_at(layer, x, (1, 2))[0, 0], both)
    assert torch.equal(pooling_at(layer, x.mT, (2, 1))[0, 0], both.T)


def test_pooling_functions_do_the_same():
    x = torch.cat([row(), row() + 100], 2)
    assert torch.equal(max_pool_at(x, (1, 2), 3, 2, padding=1), pooling_at(nn.MaxPool2d(3, 2, 1), x, (1, 2)))
    assert torch.equal(average_pool_at(x, (1, 2), 2), pooling_at(nn.AvgPool2d(2), x, (1, 2)))


def test_a_filter_kept_per_channel_fits_other_channels(images):
    timm = pytest.importorskip("timm")
    template, x = timm.layers.BlurPool2d(8), images(7)
    assert torch.equal(pooling_like(template, x, (2, 2)), timm.layers.BlurPool2d(3)(x))
    assert template.filt.shape == (8, 1, 3, 3)


def test_a_borrowed_pooling_rounds_sizes_up():
    assert pooling_like(nn.AvgPool2d(2), row(ROW[:5]), (1, 2)).flatten().tolist() == [3, 0.5, 7]


def test_unshuffling_at_stride_1_gives_every_pixel_its_neighbours():
    x = torch.arange(1.0, 5).reshape(1, 1, 2, 2)
    own, right, below, across = unshuffle_at(x, 2, (1, 1))[0].tolist()
    assert own == [[1, 2], [3, 4]] and right == [[2, 0], [4, 0]]
    assert below == [[3, 4], [0, 0]] and across == [[4, 0], [0, 0]]


@pytest.mark.parametrize("stride", STRIDES)
def test_unshuffling_at_any_stride_is_every_second_of_those(stride, images):
    x = images(6, channels=2)
    dense = unshuffle_at(x, 2, (1, 1))
    assert torch.equal(unshuffle_at(x, 2, stride), dense[..., :: stride[0], :: stride[1]])
    assert torch.equal(unshuffle_at(x, 2, (2, 2)), F.pixel_unshuffle(x, 2))


@pytest.mark.parametrize(
    "index",
    [
        (slice(None), slice(None), slice(None, None, 2), slice(1, None, 2)),
        (..., slice(None, None, 2), slice(1, None, 2)),
    ],
)
def test_a_slice_changes_its_steps_only(index, images):
    x = images(6)
    assert torch.equal(operator.getitem(x, slice_at(index, (1, 2))), x[..., :, 1::2])
    assert torch.equal(operator.getitem(x, slice_at(index, (2, 2))), x[..., ::2, 1::2])
