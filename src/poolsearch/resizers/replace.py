"""Resizers in the place of a network's downsampling."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.nets.poolable import Poolable
from poolsearch.nets.restride import Restrided, restride
from poolsearch.nets.restride.find import BlockName
from poolsearch.resizers.behind_layers import ResizedLayers, blank_images, resized_layers, strided_layers
from poolsearch.resizers.diffstride import DiffStride
from poolsearch.resizers.dynopool import DynOPool
from poolsearch.resizers.network import Resized, Step, block_name, walk
from poolsearch.resizers.resizer import Resizer, Size
from poolsearch.resizers.shape_adaptor import ShapeAdaptor, adaptor_count, common_scale
from poolsearch.rng import generator

ResizerName = Literal["diffstride", "shape-adaptor", "dynopool"]
Start = Literal["own", "random", "equal", "uniform"]
Strides = tuple[float, float]

RESIZERS: dict[str, type[Resizer]] = {"diffstride": DiffStride, "shape-adaptor": ShapeAdaptor, "dynopool": DynOPool}
STARTS = ("own", "random", "equal", "uniform")

_FIRST = ("stride", "scale")
"""The argument of a layer that says where it begins."""

_IN_NETWORKS: dict[str, dict[str, Any]] = {"dynopool": {"points": 4}}
"""Options of a method that are the paper's in a network, where those of the layer alone are others."""

_RANDOM = (1.0, 3.0)  # DiffStride's paper begins with strides of 1, 2 and 3 where it asks how robust it is
_SMALLEST = 2  # a resizer can take no maps of one pixel


def replace_downsampling(
    net: nn.Module,
    method: ResizerName,
    images: Tensor | None = None,
    start: Start | Mapping[int | str, float | Strides] | None = None,
    *,
    seed: int = 0,
    blocks: Sequence[BlockName] | None = None,
    search_stem: bool = False,
    limit: int | None = None,
    **options: Any,
) -> Resized:
    """Make a network learn how much to shrink its maps, by layers in the place of its own downsampling.

    ::

        net = replace_downsampling(model, "diffstride", torch.zeros(2, 3, 32, 32))
        optimizer = torch.optim.SGD(parameter_groups(net, lr=0.1, resizer_lr=0.01, weight_decay=5e-4), momentum=0.9)
        loss = criterion(net(images), targets) + 0.1 * net.cost()

    The network is cut into blocks as :func:`poolsearch.restride` does. All blocks run at full size, and resizers stand
    in front of them. The network is not changed, and shares its parameters with the result; resizers add two each (one
    a Shape Adaptor).

    Source: Riad et al. 2022 (DiffStride), Liu et al. 2020 (Shape Adaptor), Jang et al. 2022 (DynOPool).

    Differs: the papers put their layer behind a convolution, which loses its stride (:func:`replace_strides`). Here it
    stands in front of the block, on all paths through it at once, as pooling does in the paper of poolsearch (appendix
    B.2): the block's layers then cost what they did, every kind of block is treated alike, and a resizer may stand
    before any block. The stem stays unless ``search_stem``.

    Args:
        net: a network as for :func:`poolsearch.restride`, or one whose downsampling can be moved already: of
            poolsearch's own, or restrided.
        method: ``diffstride``, ``shape-adaptor`` or ``dynopool``.
        images: of the size to work with; their values do not matter. Not given: 224x224 pixels; ``shape-adaptor`` needs
            them where its start is ``uniform``.
        start: where resizers stand, and how they begin. ``own``: where the network halves its maps, with its strides.
            ``random``: there, with random strides from 1 to 3 (of Shape Adaptors to 2), drawn from ``seed``. ``equal``:
            before every block but the first, all with one stride, together as the network's own. ``uniform``: as many
            as Shape Adaptor's paper takes (:func:`~poolsearch.resizers.adaptor_count`), spread evenly over the blocks,
            with one scale, together as the network's own. A mapping: strides by the number or name of the block that
            each stands before. Not given: ``uniform`` for ``shape-adaptor``, ``own`` for the others.
        seed: of random strides.
        blocks, search_stem: as of :func:`poolsearch.restride`, for a network that has not been cut yet.
        limit: of ``shape-adaptor``: how long the shorter axis of the last map may at most be, in pixels.
        **options: of the method's layer: ``smoothness`` (diffstride), ``points`` (dynopool; 4 here, as in the paper),
            ``smallest`` (all; 2 here, or more where the network's layers need larger maps).

    Returns:
        A module that gives what the network gives.

    Raises:
        PoolsearchError: the network cannot be cut, its maps cannot be resized, or an argument is not one of the
            method's.
    """
    if method not in RESIZERS:
        raise unknown("resizer", str(method), RESIZERS)
    _check_options(method, options, limit)
    given = images
    net = _movable(net, images, blocks, search_stem)
    images = torch.empty(2, net.channels, 224, 224, device="meta") if images is None else images
    height, width = images.shape[2:]
    if isinstance(net, Restrided) and net.only_size is not None:
        raise PoolsearchError(
            f"the head of {type(net.original).__name__} takes maps of one size only, which resized ones do not keep: "
            "let it average its maps, as torch.nn.AdaptiveAvgPool2d(1) does, before they are flattened."
        )
    first = _steps(net, height, width, lambda _, size: size, "of full size")[0].before
    if start is None:
        start = "uniform" if method == "shape-adaptor" else "own"
    if start == "uniform" and given is None:
        raise PoolsearchError(
            "how many resizers there are with start='uniform' depends on the size of the maps: give images of the size "
            "to work with, such as images=torch.zeros(2, 3, 32, 32)."
        )
    strides = _strides(net, method, start, first, seed)
    options = {**_IN_NETWORKS.get(method, {}), **options}
    options.setdefault("smallest", _smallest(net, height, width, [*strides]))
    resizers = {
        index: _layer(method, f"before '{block_name(net, index)}'", pair, options) for index, pair in strides.items()
    }
    resized = Resized(net, resizers, limit)
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    resized.resizers.to(device)
    resized.gmacs = _gmacs(resized, height, width)
    return resized.train(net.training)


def replace_strides(
    model: nn.Module,
    method: ResizerName,
    images: Tensor | None = None,
    start: Literal["own", "random"] | Mapping[str, float | Strides] = "own",
    *,
    seed: int = 0,
    **options: Any,
) -> ResizedLayers:
    """Make a network learn how much to shrink its maps, as the papers do: layers lose their stride, a resizer follows.

    ::

        net = replace_strides(torchvision.models.resnet18(), "diffstride", torch.zeros(2, 3, 64, 64))

    Every convolution with a stride runs at stride 1, and every pooling layer with one is left out; a resizer resizes
    what they give. Layers that read maps of one size, as on the two paths through a residual block, share one. The
    network may give anything, such as maps or a dictionary, since it runs as it is written. It then costs more than
    before: a convolution that had a stride of 2 computes four times as many pixels.

    Source: Riad et al. 2022 (DiffStride), Liu et al. 2020 (Shape Adaptor), Jang et al. 2022 (DynOPool).

    Args:
        model: any module with strided ``Conv2d``, ``MaxPool2d`` or ``AvgPool2d`` layers; not changed. What it shrinks
            by functions such as ``F.max_pool2d`` stays.
        method: ``diffstride``, ``shape-adaptor`` or ``dynopool``.
        images: of the size to work with; their values do not matter. Not given: 224x224 pixels.
        start: ``own``: the layers' strides. ``random``: strides from 1 to 3 (of Shape Adaptors to 2), drawn from
            ``seed``. A mapping: strides by the name of a layer; the others then keep theirs.
        seed: of random strides.
        **options: of the method's layer, as of :func:`replace_downsampling`.

    Returns:
        A module that is called as the model is, and shares its parameters.

    Raises:
        PoolsearchError: the model has no such layer, runs one twice, its maps do not fit together at other sizes, or an
            argument is not one of the method's.
    """
    if method not in RESIZERS:
        raise unknown("resizer", str(method), RESIZERS)
    _check_options(method, options, None)
    if isinstance(model, Poolable):
        raise PoolsearchError(
            f"{type(model).__name__} strides as a placement says, not by its layers: use replace_downsampling, or give "
            "the network that was restrided."
        )
    images = blank_images(model, 224, 224) if images is None else images
    groups = strided_layers(model, images)
    options = {**_IN_NETWORKS.get(method, {}), "smallest": _SMALLEST, **options}
    if isinstance(start, Mapping):
        strides = _given(
            {name: i for i, group in enumerate(groups) for name in group.names}, start, "behind the layers"
        )
    elif start == "random":
        strides = dict(enumerate(_random(method, len(groups), seed)))
    elif start == "own":
        strides = {i: (float(group.stride[0]), float(group.stride[1])) for i, group in enumerate(groups)}
    else:
        raise unknown("start of resizers", str(start), ("own", "random", "a mapping of layers to strides"))
    chosen = sorted(strides)
    layers = [_layer(method, f"behind '{groups[i].names[0]}'", strides[i], options) for i in chosen]
    return resized_layers(model, images, [groups[i] for i in chosen], layers)


def _check_options(method: str, options: Mapping[str, Any], limit: int | None) -> None:
    """See that options are those of the method's layer."""
    own = {name: _options_of(kind) for name, kind in RESIZERS.items()}
    for name in options:
        if name not in own[method]:
            others = [other for other, names in own.items() if name in names]
            of = f"an option of {others[0]}, not of {method}" if others else f"no option of {method}"
            raise PoolsearchError(f"'{name}' is {of}. Allowed: {', '.join(own[method])}.")
    if limit is not None and method != "shape-adaptor":
        raise PoolsearchError(f"'limit' is an option of shape-adaptor, not of {method}. Leave it out.")
    if limit is not None and (not isinstance(limit, int) or limit < 1):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PoolsearchError(f"limit is {limit!r}; give whole pixels, at least 1.")


def _options_of(kind: type[Resizer]) -> list[str]:
    return [name for name in inspect.signature(kind).parameters if name not in _FIRST]


def _movable(net: nn.Module, images: Tensor | None, blocks: Sequence[BlockName] | None, search_stem: bool) -> Poolable:
    if isinstance(net, Poolable):
        if blocks or search_stem:
            raise PoolsearchError(
                f"this {type(net).__name__} has been cut into blocks already: leave out blocks and search_stem, or "
                "give the network itself."
            )
        return net
    if images is None and isinstance(net, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
        images = blank_images(net, 224, 224)
    return restride(net, images, blocks, search_stem=search_stem)  # pyright: ignore[reportArgumentType]


def _strides(net: Poolable, method: str, start: Any, first: Size, seed: int) -> dict[int, Strides]:
    """The strides to begin with, by the number of the block."""
    sites = {index: net.default.at(index) for index in range(1, len(net.blocks))}
    own = {index: (2.0 ** max(e[0], 0), 2.0 ** max(e[1], 0)) for index, e in sites.items() if max(e) > 0}
    halvings = [sum(max(e[axis], 0) for e in sites.values()) for axis in (0, 1)]
    if isinstance(start, Mapping):
        names = {block_name(net, index): index for index in range(1, len(net.blocks))}
        return _given(names, start, f"before the blocks 1 to {len(net.blocks) - 1}:")
    match start:
        case "own":
            return own
        case "random":
            return dict(zip(own, _random(method, len(own), seed), strict=True))
        case "equal":
            high, wide = (2.0 ** (n / len(sites)) for n in halvings)
            return dict.fromkeys(sites, (high, wide))
        case "uniform":
            count = min(adaptor_count(min(first)), len(sites))
            stride = 1 / common_scale(min(first), max(round(min(first) / 2 ** max(halvings)), 1), count)
            places = [round((k + 1) * len(net.blocks) / (count + 1)) for k in range(count)]
            return dict.fromkeys(sorted({min(max(at, 1), len(sites)) for at in places}), (stride, stride))
        case _:
            raise unknown("start of resizers", str(start), (*STARTS, "a mapping of blocks to strides"))


def _random(method: str, count: int, seed: int) -> list[Strides]:
    """So many strides; those of a Shape Adaptor are alike along both axes."""
    alike = method == "shape-adaptor"
    draws = generator(seed, "resizers").uniform(_RANDOM[0], 2.0 if alike else _RANDOM[1], (count, 2)).tolist()
    return [(high, high if alike else wide) for high, wide in draws]


def _given(numbers: Mapping[str, int], start: Mapping[Any, Any], where: str) -> dict[int, Strides]:
    """Strides by number, from those by number or name."""
    found: dict[int, Strides] = {}
    for name, stride in start.items():
        number = numbers.get(name, name)
        if number not in numbers.values():
            raise PoolsearchError(
                f"start has a stride for {name!r}; resizers stand {where} {', '.join(map(repr, numbers))}."
            )
        pair = (stride, stride) if isinstance(stride, (int, float)) else tuple(stride)
        if len(pair) != 2 or not all(isinstance(s, (int, float)) and 1 <= s < math.inf for s in pair):
            raise PoolsearchError(f"the stride for {name!r} is {stride!r}; give a number of at least 1, or two.")
        found[number] = float(pair[0]), float(pair[1])
    if not found:
        raise PoolsearchError(f"start has no strides: give at least one, {where} {', '.join(map(repr, numbers))}.")
    return found


def _layer(method: str, where: str, strides: Strides, options: Mapping[str, Any]) -> Resizer:
    """A resizer that begins with these strides."""
    scales = 1 / strides[0], 1 / strides[1]
    try:
        match method:
            case "diffstride":
                return DiffStride(strides, **options)
            case "dynopool":
                return DynOPool(scales, **options)
            case _:
                if strides[0] != strides[1]:
                    raise ValueError("a Shape Adaptor resizes both axes alike; diffstride and dynopool do each alone.")
                return ShapeAdaptor(min(max(scales[0], ShapeAdaptor.LEAST + 0.01), ShapeAdaptor.MOST - 0.01), **options)
    except (TypeError, ValueError) as error:
        raise PoolsearchError(f"the resizer {where} cannot be made: {error}") from error


def _steps(net: Poolable, height: int, width: int, size_of: Any, what: str) -> list[Step]:
    try:
        return [*walk(net, height, width, size_of)]
    except (RuntimeError, ValueError, IndexError) as error:
        said = str(error).split("\n")[0].rstrip(".")
        raise PoolsearchError(
            f"{type(net.original).__name__} does not run on images of {height}x{width} with maps {what}: {said}. "
            "Resizers need blocks and a head that take maps of any size; a head should average its maps, as "
            "torch.nn.AdaptiveAvgPool2d(1) does."
        ) from error


def _smallest(net: Poolable, height: int, width: int, places: Sequence[int]) -> int:
    """The least length of an axis, from two pixels on, with which all blocks and the head run."""
    refused: PoolsearchError | None = None
    for least in range(_SMALLEST, 9):

        def tiny(index: int, size: Size, least: int = least) -> Size:
            return (min(size[0], least), min(size[1], least)) if index in places else size

        try:
            _steps(net, height, width, tiny, f"made as small as {least} pixels")
            return least
        except PoolsearchError as error:
            refused = error
    assert refused is not None
    raise refused


def _gmacs(net: Resized, height: int, width: int) -> tuple[float, ...]:
    """What runs behind each resizer, as if no map had been resized."""
    inner: Poolable = net.__dict__["net"]
    found: list[float] = []
    share = 1.0

    try:
        steps = [*walk(inner, height, width, net.size_before)]
    except ValueError as error:  # a resizer's own
        raise PoolsearchError(str(error)) from error
    for index, step in enumerate(steps):
        if net.resizer_before(index) is not None:
            share *= math.prod(step.resized) / math.prod(step.before)
            found.append(0.0)
        if found:
            found[-1] += step.macs / 1e9 / share
    return tuple(found)
