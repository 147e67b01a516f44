"""The sizes of maps under all placements at once, without computing anything."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from poolsearch.errors import PoolsearchError
from poolsearch.nets.poolable import Carrying, Poolable, every_block, state_size
from poolsearch.nets.restride.trace import line_of
from poolsearch.space import HALVE, Exponents, Space


class HeadError(PoolsearchError):
    """The head does not run on the maps that some placement gives it."""


@torch.no_grad()
def check_sizes(blank: Poolable, x_BCHW: Tensor, space: Space | None = None, training: bool = False) -> None:
    """See that every placement of the network shrinks its maps at exactly its sites.

    What a block does depends on its index, the size of its maps and the exponents of its site, so that trying every
    such triple once tries every placement.

    Args:
        blank: the network on the meta device.
        x_BCHW: images there.
        space: the placements; the network's own where not given. Every block then halves each axis by itself once,
            too.
        training: look at what it computes in training.

    Raises:
        PoolsearchError: a block does not, or cannot run on maps of a size that some placement gives it.
    """
    blank.train(training)
    halved: set[int] = set()

    def run(index: int, state: Any, site: Exponents) -> tuple[None, Any]:
        if site == HALVE and index not in halved:
            halved.add(index)
            _run(blank, index, state, (1, 0))
            _run(blank, index, state, (0, 1))
        return None, _run(blank, index, state, site)

    _, last = every_block(blank, blank.stem(x_BCHW), space or blank.space, run)
    for state in last.values():
        _check_head(blank, state, len(last))


def _run(blank: Poolable, index: int, state: Any, site: Exponents) -> Any:
    name, size = getattr(blank.blocks[index], "path", f"block {index}"), state_size(state)
    small = [n for n, e in zip(size, site, strict=True) if e > 0 and n <= 2 ** (e - 1)]
    if small:
        raise PoolsearchError(
            f"maps of {size[0]}x{size[1]} before '{name}' cannot be halved{_often(site)}: use larger images "
            "(--image-size), or fewer halvings (--halvings)."
        )
    try:
        out = blank.run_block(index, state, site)
        got = state_size(out)
    except (RuntimeError, ValueError, IndexError) as error:
        raise PoolsearchError(
            f"block '{name}' does not run on maps of {size[0]}x{size[1]} with a site of {site[0]}x{site[1]}: {error}"
        ) from error
    allowance = zip(*(getattr(blank.blocks[index], name, (0, 0)) for name in ("trim", "slack")), strict=True)
    for n, before, e, (trim, slack) in zip(got, size, site, allowance, strict=True):
        if (index or e) and not has_resized(before, n, e, trim, slack):
            raise PoolsearchError(
                f"block '{name}' makes maps of {size[0]}x{size[1]} into {got[0]}x{got[1]} with a site of "
                f"{site[0]}x{site[1]}: this network cannot be restrided for images of this size."
            )
    return out


def _often(site: Exponents) -> str:
    return f" {max(site)} times" if max(site) > 1 else ""


def has_resized(before: int, after: int, exponent: int, trim: int = 0, slack: int = 0) -> bool:
    """Whether a size became what an exponent asks for; halved sizes may round either way.

    Args:
        before, after: length of one axis, in pixels of the map.
        exponent: of the site along that axis.
        trim: pixels that the block takes off beside, before or after it halves; below zero: adds.
        slack: how many more it may take off where it halves.

    Returns:
        True where it did.
    """
    if exponent <= 0:
        return after == before * 2**-exponent - trim
    factor = 2**exponent
    least = min((before - trim) // factor, before // factor - trim) - slack
    most = max(-(-(before - trim) // factor), -(-before // factor) - trim)
    return least <= after <= most


def _images(state: Any) -> int:
    return next(len(v) for v in tree_leaves(state) if isinstance(v, Tensor) and v.dim() == 4)


def _check_head(blank: Poolable, state: Any, sizes: int) -> None:
    entered = list[str]()
    hooks = [
        part.register_forward_pre_hook(partial(_enter, entered, name.removeprefix("layers.")))
        for name, part in blank.head.named_modules()
    ]
    size = state_size(state)
    try:
        logits = blank.head(state)
    except (RuntimeError, ValueError, IndexError) as error:
        if isinstance(state, Carrying):
            raise HeadError(_unfit(blank, state, error)) from error
        said = f"the head does not run on maps of {size[0]}x{size[1]}: {error}"
        if sizes > 1:
            layer = f"'{entered[-1]}' in the head" if any(entered) else "the head"
            said = (
                f"{layer} does not run on maps of {size[0]}x{size[1]}, at which some placements end: "
                f"{str(error).rstrip('.')}. Placements with other numbers of halvings than the network's own "
                "(--halvings, --paths any) need a head that averages its maps, such as "
                "torch.nn.AdaptiveAvgPool2d(1), before they are flattened."
            )
        raise HeadError(said) from error
    finally:
        for hook in hooks:
            hook.remove()
    images = _images(state)
    if isinstance(logits, Tensor) and logits.dim() == 2 and len(logits) != images:
        raise HeadError(
            f"the network gives {len(logits)} rows of logits for {images} images, as one that was made for images of "
            "another size may: give its size with --image-size."
        )


def _unfit(blank: Poolable, state: Carrying, error: Exception) -> str:
    """What to say where the head joins carried maps of sizes that do not go together, as a decoder of fixed factors."""
    maps = [v.shape[2:] for v in tree_leaves(state) if isinstance(v, Tensor) and v.dim() == 4]
    sizes = ", ".join(f"{h}x{w}" for h, w in dict.fromkeys(maps))
    failure = getattr(blank.head, "first_failure", lambda _: None)(state)
    where = "" if failure is None else f" It fails in {line_of(failure[0])}"
    if failure is not None and len(read := dict.fromkeys(failure[1])) > 1:
        where += f", on maps of {' and '.join(f'{h}x{w}' for h, w in read)}"
    return (
        f"the decoder does not run where a placement gives it maps of {sizes}: {str(error).rstrip('.')}.{where}. At "
        "other placements maps of two blocks differ by another factor: resize one map to the size of the other before "
        "that line, as in x = torch.nn.functional.interpolate(x, size=skip.shape[-2:])."
    )


def _enter(entered: list[str], name: str, *_: object) -> None:
    entered.append(name)
