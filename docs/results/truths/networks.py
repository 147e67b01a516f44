"""The narrow networks of the truths in this folder, for ``--net networks.py:NAME``."""

from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn


def resnet18_narrow(classes: int) -> nn.Module:
    """A ResNet18 of timm with a quarter of the channels: three halvings behind those of its stem."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes=classes, channels=(16, 32, 64, 128), stem_width=16)


def resnet18_eighth(classes: int) -> nn.Module:
    """As :func:`resnet18_narrow`, with an eighth of the channels."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes=classes, channels=(8, 16, 32, 64), stem_width=8)


class PlainBlock(nn.Module):
    """Convolution, BatchNorm, ReLU: no residual branch."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu()


def plain10(classes: int) -> nn.Module:
    """Ten convolutions without residual branches and two halvings, as a narrow VGG."""
    widths, strides = (8, 8, 8, 12, 12, 12, 16, 16, 16, 16), (1, 1, 1, 2, 1, 1, 2, 1, 1, 1)
    blocks = [
        PlainBlock(before, after, stride) for before, after, stride in zip((3, *widths), widths, strides, strict=False)
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))
