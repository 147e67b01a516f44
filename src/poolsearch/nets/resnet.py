"""ResNets (He et al. 2016) with movable downsampling: the 6n+2 family of CIFAR, and ResNet18 to 101.

Parameter names of a block are torchvision's, so that weights can be compared one to one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from poolsearch.nets.poolable import Block, Op, Poolable, he_init, shrink_factors
from poolsearch.space import KEEP, Exponents, Placement

Norm = Callable[[int], nn.Module]
"""Makes the normalisation of so many channels."""


def _strided(convolution: nn.Conv2d, x_BCHW: Tensor, stride: tuple[int, int]) -> Tensor:
    """Run a stride-1 convolution at another stride, with its own weights."""
    return F.conv2d(x_BCHW, convolution.weight, convolution.bias, stride, convolution.padding, 1, convolution.groups)


def _shortcut(downsample: nn.Module | None, x_BCHW: Tensor, stride: tuple[int, int]) -> Tensor:
    """Projection at the stride, or the identity subsampled by slicing, which has no parameters.

    Source: docs/differences.md#downsampling-operation.
    """
    if isinstance(downsample, nn.Sequential):
        convolution, norm = downsample
        assert isinstance(convolution, nn.Conv2d)
        return norm(_strided(convolution, x_BCHW, stride))
    return x_BCHW[..., :: stride[0], :: stride[1]]


class StemBlock(Block):
    """A 3x3 convolution that counts as the first block, where the stem is searched over (paper, Table 5)."""

    def __init__(self, channels: int, norm: Norm, inputs: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
        self.bn1 = norm(channels)

    def forward(self, x_BCHW: Tensor, exponents: Exponents = KEEP) -> Tensor:
        return F.relu(self.bn1(_strided(self.conv1, x_BCHW, shrink_factors(exponents))), inplace=True)


class BasicBlock(Block):
    """Two 3x3 convolutions; op ``stride`` strides the first."""

    expansion = 1

    def __init__(self, inputs: int, width: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = norm(width)
        self.downsample = _projection(inputs, width, norm)

    @property
    def last_norm(self) -> nn.Module:
        return self.bn2

    def forward(self, x_BCHW: Tensor, exponents: Exponents = KEEP) -> Tensor:
        stride = shrink_factors(exponents)
        out = F.relu(self.bn1(_strided(self.conv1, x_BCHW, stride)), inplace=True)
        out = self.bn2(self.conv2(out))
        return F.relu(out + _shortcut(self.downsample, x_BCHW, stride), inplace=True)


class Bottleneck(Block):
    """1x1, 3x3, 1x1 convolutions; op ``stride`` strides the 3x3 one, as torchvision's ("v1.5")."""

    expansion = 4

    def __init__(self, inputs: int, width: int, norm: Norm) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = norm(outputs)
        self.downsample = _projection(inputs, outputs, norm)

    @property
    def last_norm(self) -> nn.Module:
        return self.bn3

    def forward(self, x_BCHW: Tensor, exponents: Exponents = KEEP) -> Tensor:
        stride = shrink_factors(exponents)
        out = F.relu(self.bn1(self.conv1(x_BCHW)), inplace=True)
        out = F.relu(self.bn2(_strided(self.conv2, out, stride)), inplace=True)
        out = self.bn3(self.conv3(out))
        return F.relu(out + _shortcut(self.downsample, x_BCHW, stride), inplace=True)


def _projection(inputs: int, outputs: int, norm: Norm) -> nn.Module | None:
    """The shortcut of a block that changes its channels: it stays with its block, wherever the downsampling goes."""
    if inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), norm(outputs))


class Head(nn.Module):
    """Global average pooling and a linear classifier."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.fc(x_BCHW.mean((2, 3)))


class ImageNetStem(nn.Module):
    """7x7 convolution at stride 2 and 3x3 max pooling at stride 2: fixed (paper, Table 5)."""

    def __init__(self, channels: int, norm: Norm, inputs: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = F.relu(self.bn1(self.conv1(x_BCHW)), inplace=True)
        return F.max_pool2d(x_BCHW, 3, stride=2, padding=1)


def resnet(
    block: type[BasicBlock] | type[Bottleneck],
    depths: Sequence[int],
    width: int,
    classes: int,
    norm: Norm,
    op: Op,
    searched_stem: bool,
    zero_init: bool = False,
    channels: int = 3,
) -> Poolable:
    """A ResNet whose channels double with each stage of the default placement and stay tied to the block's index.

    Args:
        block: the kind of residual block.
        depths: residual blocks per stage of the textbook network.
        width: channels of the first stage (before a bottleneck's expansion).
        classes: outputs.
        norm: makes each normalisation.
        op: how a site downsamples.
        searched_stem: a 3x3 stem that counts as the first block (CIFAR), or the fixed ImageNet stem.
        zero_init: see :func:`~poolsearch.nets.poolable.he_init`.
        channels: of the images.

    Returns:
        The network with fresh weights; its default placement is that of the textbook.
    """
    blocks: list[Block] = [StemBlock(width, norm, channels)] if searched_stem else []
    stem = nn.Identity() if searched_stem else ImageNetStem(width, norm, channels)
    inputs = width
    for stage, depth in enumerate(depths):
        for _ in range(depth):
            blocks.append(block(inputs, width * 2**stage, norm))
            inputs = width * 2**stage * block.expansion
    default = Placement.of_blocks([depths[0] + searched_stem, *depths[1:]])
    net = Poolable(stem, blocks, Head(inputs, classes), default, op)
    net.channels = channels
    he_init(net, zero_init)
    return net
