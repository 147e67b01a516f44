"""From a network's name to the network."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import nn

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.image_size import ImageSize
from poolsearch.nets import objects
from poolsearch.nets.poolable import Op, Poolable
from poolsearch.nets.resnet import BasicBlock, Bottleneck, Norm, resnet
from poolsearch.nets.restride.loading import COLOURS, FORMS, LIBRARIES, from_name, names_like
from poolsearch.nets.restride.trace import blank_copy
from poolsearch.user_code import file_of, functions_in

_DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}
OWN_OPS: tuple[Op, ...] = ("max", "avg", "blur", "stride")
_CIFAR_DEPTHS = (20, 32, 44, 56, 110)  # 6n+2
_WEIGHTS = (".pth", ".pt", ".ckpt", ".safetensors", ".bin")

NAMES: tuple[str, ...] = (
    *(f"cifar-resnet{d}" for d in (*_CIFAR_DEPTHS, *_DEPTHS)),
    *(f"resnet{d}" for d in _DEPTHS),
)


@dataclass(frozen=True)
class NetSpec:
    """What a network is, without its weights: enough to build it again anywhere.

    ``image_size`` (the side of a square, or height and width) and ``search_stem`` are of networks that are not ours:
    they are traced with images of that size. So are ``blocks``, names or patterns of submodules; none: they are found.
    ``digest`` is the SHA-256 that a file of the user's must have when it runs; None: whatever is in it may run.
    ``channels``: of the images; None: those that the network takes by itself. ``make``: makes a network that was given
    as an object, of a number of classes, instead of what has its name.
    """

    name: str
    classes: int
    width: int | None = None
    op: str | None = None
    zero_init: bool = False
    image_size: ImageSize | int = 32
    search_stem: bool = False
    digest: str | None = None
    blocks: tuple[str, ...] = ()
    channels: int | None = None
    make: Callable[[int], nn.Module] | None = field(default=None, compare=False, repr=False)

    @property
    def size(self) -> ImageSize:
        """Of the images."""
        return ImageSize.of(self.image_size)


def default_width(name: str) -> int:
    """Channels of the first stage of one of our networks, where ``--width`` does not say.

    Args:
        name: one of :data:`NAMES`.

    Returns:
        16 for the 6n+2 family, else 64.
    """
    return 16 if _is_cifar_family(name) else 64


def default_op(name: str) -> Op:
    """How the sites of one of our networks downsample, where ``--op`` does not say.

    Args:
        name: one of :data:`NAMES`.

    Returns:
        Max pooling for the 6n+2 family (paper, appendix B.2), strided blocks elsewhere.
    """
    return "max" if _is_cifar_family(name) else "stride"


def stand_alone_norm(channels: int) -> nn.Module:
    """The normalisation of a network that is trained by itself (docs/differences.md#batchnorm-stand-alone).

    Args:
        channels: of the maps to normalise.

    Returns:
        A BatchNorm with parameters and running statistics.
    """
    return nn.BatchNorm2d(channels)


def build(spec: NetSpec, norm: Norm = stand_alone_norm) -> Poolable:
    """Build a network with fresh weights from torch's global generator.

    Args:
        spec: what to build.
        norm: makes each normalisation of our own networks; others keep theirs.

    Returns:
        The network, on torch's default device.

    Raises:
        PoolsearchError: the name or the op is unknown, an option does not belong to the network, or it cannot be
            built or restrided.
    """
    if spec.name.rpartition(":")[0] in (*LIBRARIES, objects.LIBRARY) or file_of(spec.name) is not None:
        return _restrided(spec)
    if spec.name not in NAMES:
        raise _no_network(spec.name)
    op = spec.op or default_op(spec.name)
    if op not in OWN_OPS:
        raise unknown(f"downsampling op of {spec.name}", op, OWN_OPS)
    if spec.search_stem:
        raise PoolsearchError(
            f"--search-stem is for networks that are restrided: {', '.join(FORMS)}. {spec.name} has "
            f"{'a stem that is searched already' if spec.name.startswith('cifar-') else 'the fixed stem of the paper'}."
        )
    width = default_width(spec.name) if spec.width is None else spec.width
    if width < 1:
        raise PoolsearchError(
            f"width is {width}: give the channels of the first stage, at least 1 (default {default_width(spec.name)})."
        )
    if spec.blocks:
        raise PoolsearchError(
            f"--blocks is for networks that are restrided: {', '.join(FORMS)}. Those of {spec.name} are known."
        )
    depth = int(re.sub(r"\D", "", spec.name))
    make = partial(resnet, width=width, classes=spec.classes, norm=norm, op=op, zero_init=spec.zero_init)
    make = partial(make, channels=spec.channels or COLOURS)
    if _is_cifar_family(spec.name):
        return make(BasicBlock, ((depth - 2) // 6,) * 3, searched_stem=True)
    block, depths = _DEPTHS[depth]
    return make(block, depths, searched_stem=spec.name.startswith("cifar-"))


def blank(spec: NetSpec) -> Poolable:
    """Build the network without numbers, to count and measure.

    Args:
        spec: what to build.

    Returns:
        The network on the meta device.

    Raises:
        PoolsearchError: as :func:`build`.
    """
    if ":" in spec.name:  # their constructors may compute with tensors, as the rates of dropped paths
        return blank_copy(build(spec))
    with torch.device("meta"):
        return build(spec)


def _restrided(spec: NetSpec) -> Poolable:
    if spec.width is not None or spec.zero_init:
        flag = "--width" if spec.width is not None else "--zero-init"
        raise PoolsearchError(f"{flag} is for poolsearch's own networks, not for {spec.name}. Leave it out.")
    op = cast("Op", spec.op or "native")
    return from_name(
        spec.name, spec.classes, spec.size, op, spec.search_stem, spec.digest, spec.blocks, spec.channels, spec.make
    )


def _no_network(name: str) -> PoolsearchError:
    """What is said of a name that is of no network, by what was probably meant."""
    path = Path(name).expanduser()
    if path.suffix == ".py":
        if not path.is_file():
            return PoolsearchError(f"there is no file {path} to take a network from.")
        there = f" It has {', '.join(names)}." if (names := functions_in(path)) else ""
        return PoolsearchError(
            f"--net {name} does not say which function of the file makes the network: give {name}:FACTORY, where "
            f"FACTORY(classes) returns a torch.nn.Module.{there}"
        )
    if path.suffix in _WEIGHTS:
        return PoolsearchError(
            f"--net {name} is a file of weights, which is not enough to build a network: name the network with --net, "
            f"as {', '.join(FORMS)}, and give its weights with --init {name}."
        )
    near = [each for each in NAMES if each.endswith(f"-{name}")]
    if not near and not name.startswith("cifar-"):  # the libraries take seconds to import
        near = names_like(name, NAMES)
    return unknown("network", name, (*NAMES, *FORMS), near)


def _is_cifar_family(name: str) -> bool:
    return name in {f"cifar-resnet{d}" for d in _CIFAR_DEPTHS}
