"""Small members of the families, out of the libraries' own constructors; full ones by name."""

from __future__ import annotations

from collections.abc import Callable

import timm
import timm.models as tm
import torch
import torchvision.models as tv
from torch import nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.resnet import Bottleneck
from torchvision.models.vgg import make_layers

CLASSES = 5


def _vgg() -> nn.Module:
    net = tv.VGG(make_layers([4, "M", 8, "M", 8, 8, "M", 8, 8, "M", 8, 8, "M"], batch_norm=True), CLASSES, False)
    net.classifier = nn.Linear(8 * 7 * 7, CLASSES)  # the real one has 120 million parameters
    return net


def _timm(name: str, **changes: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=CLASSES, **changes)


NARROW = {"channels": (8, 16, 24, 32)}

SMALL: dict[str, Callable[[], nn.Module]] = {
    "torchvision resnet": lambda: tv.resnet18(num_classes=CLASSES),
    "torchvision resnext": lambda: tv.ResNet(Bottleneck, [2, 2, 2, 2], CLASSES, groups=8, width_per_group=4),
    "torchvision wide_resnet": lambda: tv.ResNet(Bottleneck, [1, 2, 1, 2], CLASSES, width_per_group=32),
    "torchvision regnet_x": lambda: tv.regnet_x_400mf(num_classes=CLASSES),
    "torchvision regnet_y": lambda: tv.regnet_y_400mf(num_classes=CLASSES),
    "torchvision convnext": lambda: tv.ConvNeXt(
        [CNBlockConfig(8, 12, 2), CNBlockConfig(12, 16, 2), CNBlockConfig(16, 24, 3), CNBlockConfig(24, None, 2)],
        num_classes=CLASSES,
    ),
    "torchvision efficientnet": lambda: tv.efficientnet_b0(num_classes=CLASSES),
    "torchvision mobilenet_v2": lambda: tv.mobilenet_v2(num_classes=CLASSES, width_mult=0.25),
    "torchvision mobilenet_v3": lambda: tv.mobilenet_v3_small(num_classes=CLASSES),
    "torchvision vgg_bn": _vgg,
    "torchvision densenet": lambda: tv.DenseNet(4, (2, 3, 3, 2), 8, num_classes=CLASSES),
    "timm resnet": _timm("resnet18", **NARROW),
    "timm resnext": _timm("resnext50_32x4d", layers=(2, 2, 2, 2), cardinality=4, base_width=32, **NARROW),
    "timm wide_resnet": _timm("wide_resnet50_2", layers=(1, 2, 2, 1), **NARROW),
    "timm resnet-d": _timm("resnet18d", **NARROW),
    "timm resnet50-d": _timm("resnet26d", **NARROW),
    "timm seresnet": _timm("seresnet18", **NARROW),
    "timm resnet with blur": _timm("resnetblur18", **NARROW),
    "timm regnet_x": _timm("regnetx_002"),
    "timm regnet_y": _timm("regnety_002"),
    "timm convnext": _timm("convnext_atto", depths=(2, 2, 3, 2), dims=(8, 12, 16, 24)),
    "timm efficientnet": _timm("efficientnet_b0"),
    "timm mobilenetv2": _timm("mobilenetv2_035"),
    "timm mobilenetv3": _timm("mobilenetv3_small_050"),
    "timm tf same padding": _timm("tf_mobilenetv3_small_minimal_100"),
    "timm vgg_bn": lambda: tm.VGG([4, "M", 8, "M", 8, 8, "M", 8, 8, "M", 8, 8, "M"], CLASSES, norm_layer=nn.BatchNorm2d,
                                  mlp_ratio=0.01),
    "timm densenet": lambda: tm.DenseNet(8, (2, 3, 3, 2), CLASSES),
}  # fmt: skip

FULL = (
    "torchvision:resnet50", "torchvision:resnext50_32x4d", "torchvision:wide_resnet50_2", "torchvision:regnet_y_800mf",
    "torchvision:convnext_tiny", "torchvision:efficientnet_v2_s", "torchvision:mobilenet_v3_large",
    "torchvision:densenet121", "torchvision:mnasnet0_5", "torchvision:shufflenet_v2_x0_5", "torchvision:squeezenet1_1",
    "timm:resnet50d", "timm:seresnet50", "timm:resnetblur50", "timm:regnetz_b16", "timm:convnext_tiny",
    "timm:efficientnet_b2", "timm:tf_efficientnet_b0", "timm:mobilenetv3_large_100", "timm:mobilenetv4_conv_small",
    "timm:mixnet_s", "timm:densenet121", "timm:tresnet_m", "timm:nfnet_f0", "timm:res2net50_26w_4s",
    "timm:legacy_xception",
)  # fmt: skip


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A network with weights of its own generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
