"""All resizers of a network: what an optimizer gets of them, their sizes, and fixing these."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from poolsearch.resizers.resizer import Resizer, Size


def _named(net: nn.Module) -> dict[str, Resizer]:
    return {name: part for name, part in net.named_modules() if isinstance(part, Resizer)}


def resizer_parameters(net: nn.Module) -> list[nn.Parameter]:
    """What the resizers of a network learn.

    Args:
        net: any module; may itself be a resizer.

    Returns:
        Their parameters, each once.
    """
    return [*dict.fromkeys(p for layer in _named(net).values() for p in layer.parameters())]


def parameter_groups(
    net: nn.Module, lr: float, weight_decay: float = 0.0, resizer_lr: float | None = None
) -> list[dict[str, Any]]:
    """The groups for an optimizer: resizers learn at a rate of their own and without weight decay.

    Weight decay draws weights to zero, which for a stride or a scale means nothing.

    Args:
        net: any module with resizers.
        lr, weight_decay: of all other parameters.
        resizer_lr: of the resizers; as ``lr`` where not given.

    Returns:
        Two groups, as ``torch.optim`` takes them; parameters that need no gradient are left out.
    """
    resizing = resizer_parameters(net)
    own = {id(p) for p in resizing}
    others = [p for p in net.parameters() if id(p) not in own and p.requires_grad]
    return [
        {"params": others, "lr": lr, "weight_decay": weight_decay},
        {
            "params": [p for p in resizing if p.requires_grad],
            "lr": lr if resizer_lr is None else resizer_lr,
            "weight_decay": 0.0,
        },
    ]


@torch.no_grad()
def _seen_sizes(net: nn.Module, images: Tensor) -> dict[str, tuple[Size, Size]]:
    """The sizes that each resizer takes and gives for images, found by running the network once in evaluation."""
    seen: dict[str, tuple[Size, Size]] = {}

    def note(name: str, layer: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        (height, width), (tall, wide) = given[0].shape[2:], made.shape[2:]
        sizes = (height, width), (tall, wide)
        if seen.setdefault(name, sizes) != sizes:
            (a, b), (c, d) = seen[name][0], sizes[0]
            raise ValueError(f"resizer '{name}' is given maps of two sizes in one pass, {a}x{b} and {c}x{d}.")

    hooks = [layer.register_forward_hook(partial(note, name)) for name, layer in _named(net).items()]
    modes = {part: part.training for part in net.modules()}
    try:
        net.eval()(images)
    finally:
        for part, training in modes.items():
            part.training = training
        for hook in hooks:
            hook.remove()
    return seen


def map_sizes(net: nn.Module, images: Tensor) -> dict[str, Size]:
    """The size of the maps that each resizer gives now; to be logged as they learn.

    Args:
        net: any module with resizers. It is run once in evaluation, so that no statistics change.
        images: (B, C, H, W) of the size to know of; one image is enough.

    Returns:
        (height, width) by the resizers' names in ``net.named_modules()``, in the order in which they run.

    Raises:
        ValueError: a resizer is given maps of two sizes, or of a kind that it cannot resize.
    """
    return {name: made for name, (_, made) in _seen_sizes(net, images).items()}


def freeze(net: nn.Module, images: Tensor) -> dict[str, Size]:
    """Fix the sizes of all maps, for images of one size: resizers learn no more, and the network can be exported.

    ``layer.thaw()`` of each undoes it.

    Args:
        net: any module with resizers; changed in place.
        images: (B, C, H, W) of the size that it will be given; one image is enough.

    Returns:
        As :func:`map_sizes`.

    Raises:
        ValueError: as :func:`map_sizes`.
    """
    layers = _named(net)
    return {name: layers[name].freeze(*given) for name, (given, _) in _seen_sizes(net, images).items()}
