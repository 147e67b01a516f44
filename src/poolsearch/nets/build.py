"""From a network's name to the network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from torch import nn

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.nets.poolable import OPS, Op, Poolable
from poolsearch.nets.resnet import BasicBlock, Bottleneck, Norm, resnet

_DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}
_CIFAR_DEPTHS = (20, 32, 44, 56, 110)  # 6n+2

NAMES: tuple[str, ...] = (
    *(f"cifar-resnet{d}" for d in (*_CIFAR_DEPTHS, *_DEPTHS)),
    *(f"resnet{d}" for d in _DEPTHS),
)


@dataclass(frozen=True)
class NetSpec:
    """What a network is, without its weights: enough to build it again anywhere."""

    name: str
    classes: int
    width: int | None = None
    op: str | None = None  # None and native: the network's own
    zero_init: bool = False


def default_width(name: str) -> int:
    """Channels of the first stage."""
    return 16 if _is_cifar_family(name) else 64


def default_op(name: str) -> Op:
    """Max pooling for the 6n+2 family (paper, appendix B.2), strided blocks elsewhere (NOTES D26)."""
    return "max" if _is_cifar_family(name) else "stride"


def stand_alone_norm(channels: int) -> nn.Module:
    """The normalisation of a network that is trained by itself (NOTES D13)."""
    return nn.BatchNorm2d(channels)


def build(spec: NetSpec, norm: Norm = stand_alone_norm) -> Poolable:
    """Build a network with fresh weights from torch's global generator.

    Raises:
        PoolsearchError: the name or the op is unknown, or the width is not positive.
    """
    if spec.name not in NAMES:
        raise unknown("network", spec.name, NAMES)
    op = default_op(spec.name) if spec.op in (None, "native") else spec.op
    if op not in OPS:
        raise unknown("downsampling op", op, OPS)
    width = default_width(spec.name) if spec.width is None else spec.width
    if width < 1:
        raise PoolsearchError(
            f"width is {width}: give the channels of the first stage, at least 1 (default {default_width(spec.name)})."
        )
    depth = int(re.sub(r"\D", "", spec.name))
    make = partial(resnet, width=width, classes=spec.classes, norm=norm, op=op, zero_init=spec.zero_init)  # type: ignore[arg-type]
    if _is_cifar_family(spec.name):
        return make(BasicBlock, ((depth - 2) // 6,) * 3, searched_stem=True)
    block, depths = _DEPTHS[depth]
    return make(block, depths, searched_stem=spec.name.startswith("cifar-"))


def _is_cifar_family(name: str) -> bool:
    return name in {f"cifar-resnet{d}" for d in _CIFAR_DEPTHS}
