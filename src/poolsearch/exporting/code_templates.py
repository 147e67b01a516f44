"""What exported files are made of, in plain PyTorch: each class and function is copied into them as it stands here."""

from __future__ import annotations

import copy

import torch.nn.functional as F
from torch import Tensor, nn


class StemBlock(nn.Module):
    """A 3x3 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv1(x)))


class ImageNetStem(nn.Module):
    """A 7x7 convolution and max pooling: a quarter of the image's height and width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)


def shortcut(inputs: int, outputs: int, stride: int | tuple[int, int]) -> nn.Module:
    """The way past a block: a projection where channels change, else the identity; strided, that is every second pixel.

    Args:
        inputs, outputs: numbers of channels.
        stride: of both axes, or (height, width).

    Returns:
        A 1x1 convolution with BatchNorm, or a layer without parameters.
    """
    if inputs != outputs:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Identity() if stride == 1 else nn.MaxPool2d(1, stride)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, the first with the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int | tuple[int, int] = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the 3x3 one with the stride."""

    def __init__(self, inputs: int, width: int, stride: int | tuple[int, int] = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu(out + self.downsample(x))


class Head(nn.Module):
    """Global average pooling and a linear classifier."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))


def blur(x: Tensor, stride: int | tuple[int, int]) -> Tensor:
    """Shrink maps by the filter [1, 2, 1] / 4 along each axis that is halved, and keep every second pixel.

    A stride of 4 does so twice.

    Args:
        x: maps, (N, C, H, W).
        stride: a power of 2 for both axes, or (height, width).

    Returns:
        Maps of the same channels; sizes round up.
    """
    left = (stride, stride) if isinstance(stride, int) else stride
    while max(left) > 1:
        strides = (min(left[0], 2), min(left[1], 2))
        left = (left[0] // strides[0], left[1] // strides[1])
        rows, columns = (x.new_tensor([0.25, 0.5, 0.25] if s > 1 else [1.0]) for s in strides)
        kernel = (rows[:, None] * columns[None, :]).expand(x.shape[1], 1, -1, -1)
        margin = (len(columns) // 2,) * 2 + (len(rows) // 2,) * 2
        x = F.conv2d(F.pad(x, margin, mode="replicate"), kernel, stride=strides, groups=x.shape[1])
    return x


def like(pooling: nn.Module, channels: int, stride: int | tuple[int, int]) -> nn.Module:
    """A pooling layer like another block's, for so many channels; sizes round up.

    Args:
        pooling: the other layer; it stays as it is.
        channels: of the maps that the new layer reads.
        stride: of both axes, or (height, width).

    Returns:
        The new layer; only attributes that the other has are set.
    """
    pooling = copy.deepcopy(pooling)
    for name, taps in pooling.named_buffers(recurse=False):
        setattr(pooling, name, taps[:1].repeat(channels, *[1] * (taps.dim() - 1)))
    for name, value in {"channels": channels, "ceil_mode": True, "stride": stride}.items():
        if hasattr(pooling, name):
            setattr(pooling, name, value)
    return pooling


def pool_in_front(layer: nn.Module, pooling: nn.Module) -> None:
    """Shrink what a layer reads. Names of parameters stay as they are.

    Args:
        layer: changed in place; its first argument is shrunk.
        pooling: what shrinks it: a layer without parameters, or a function.
    """
    layer.register_forward_pre_hook(lambda _, inputs: (pooling(inputs[0]), *inputs[1:]))


def pad_in_front(convolution: nn.Conv2d, margin: tuple[int, int, int, int], mode: str) -> None:
    """Give a convolution another margin in place of its own padding.

    Args:
        convolution: changed in place.
        margin: pixels (left, right, top, bottom).
        mode: what is there, as in nn.functional.pad: "constant" (zeros), "reflect", "replicate" or "circular".
    """
    convolution.padding, convolution.padding_mode = (0, 0), "zeros"
    convolution.register_forward_pre_hook(lambda _, inputs: (F.pad(inputs[0], margin, mode),))


def subsample(x: Tensor, stride: int | tuple[int, int]) -> Tensor:
    """Every second pixel along the axes with stride 2.

    Args:
        x: maps, (N, C, H, W).
        stride: of both axes, or (height, width).

    Returns:
        A view of the same channels; sizes round up.
    """
    rows, columns = (stride, stride) if isinstance(stride, int) else stride
    return x[..., ::rows, ::columns]


def unshuffle(x: Tensor, factor: int, stride: tuple[int, int]) -> Tensor:
    """Space to depth at another stride: every pixel (or every second along one axis) with its neighbours to the end.

    Args:
        x: maps, (N, C, H, W).
        factor: side of the square of pixels that becomes channels.
        stride: (height, width): 1 along an axis keeps its size, with zeros past the end; else the factor.

    Returns:
        Maps of C * factor * factor channels.
    """
    bottom, right = (factor - 1 if s == 1 else 0 for s in stride)
    height, width = (-(-n // s) if s == 1 else n // s for n, s in zip(x.shape[2:], stride))
    patches = F.unfold(F.pad(x, (0, right, 0, bottom)), factor, stride=stride)
    return patches.unflatten(2, (height, width))


def pooled_like(pooling: nn.Module, x: Tensor, stride: int | tuple[int, int]) -> Tensor:
    """Run another block's pooling layer on this map.

    Args:
        pooling: the other layer; it stays as it is.
        x: maps, (N, C, H, W); C may differ from the other block's.
        stride: of both axes, or (height, width).

    Returns:
        Maps of the same channels; sizes round up.
    """
    return like(pooling, x.shape[1], stride)(x)


def fitted(x: Tensor, size: tuple[int, int]) -> Tensor:
    """A map of the size that the head needs: its border cut off, or zeros added.

    Args:
        x: maps (B, C, H, W).
        size: height and width that come out.

    Returns:
        Maps (B, C, *size).
    """
    rows, columns = size[0] - x.shape[2], size[1] - x.shape[3]
    top, left = int(rows / 2), int(columns / 2)
    return F.pad(x, (left, columns - left, top, rows - top))
