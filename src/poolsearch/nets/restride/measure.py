"""Which values of a graph are maps, whose size follows the image's, and which are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from poolsearch.nets.restride.trace import expect

Lengths = tuple[int, ...]

_CHECKS = (expect, torch._assert)  # pyright: ignore[reportPrivateUsage] - it is documented for torch.fx
_LARGER = 16  # so that four halvings too many still show which values are maps


@dataclass(frozen=True)
class FeatureMap:
    """A value whose size follows the image's.

    Attributes:
        dims: the axes that do, (2, 3) in the usual layout.
        axes: how many axes the value has (0: it is a tuple of maps).
        size: the lengths of ``dims`` for images of the example's size, and ``large`` for much larger ones.
    """

    dims: tuple[int, ...]
    axes: int
    size: Lengths
    large: Lengths

    @property
    def usual(self) -> bool:
        """Whether this is one (B, C, H, W) tensor."""
        return self.axes == 4 and self.dims == (2, 3)


@dataclass(frozen=True)
class MeasuredGraph:
    """What is a map in a graph, and what else was seen.

    Attributes:
        maps: by node.
        values: every value for images of the example's size, on the meta device.
        large: the same for much larger ones.
        end, why: where (and why) these could not go on.
    """

    maps: dict[fx.Node, FeatureMap]
    values: dict[fx.Node, Any]
    large: dict[fx.Node, Any]
    end: fx.Node | None
    why: str

    def inputs(self, node: fx.Node) -> list[fx.Node]:
        """The maps that a node reads.

        Args:
            node: of the graph.

        Returns:
            The nodes that give them, in the order of its arguments.
        """
        return [n for n in node.all_input_nodes if n in self.maps]


def measure(graph: fx.Graph, blank: nn.Module, example_BCHW: Tensor) -> MeasuredGraph:
    """Run a graph without data on images of the example's size and on much larger ones, and compare.

    Args:
        graph: of ``blank``.
        blank: the model on the meta device; set to evaluation.
        example_BCHW: images, of which only channels, height, width and number format count.

    Returns:
        Which values are maps, and all values at both sizes.

    Raises:
        Exception: whatever the model raises on images of the example's size.
    """
    blank.eval()
    _, channels, height, width = example_BCHW.shape
    runs: list[dict[fx.Node, Any]] = []
    end, why = None, ""
    for factor in (1, _LARGER):
        x_BCHW = torch.empty(2, channels, factor * height, factor * width, dtype=example_BCHW.dtype, device="meta")
        runs.append(found := {})
        try:
            for node, value in _run(graph, blank, x_BCHW, checks=factor == 1):
                found[node] = value
        except Exception as error:  # a layer made for one size of image: where it stands decides whether that matters
            if factor == 1:
                raise
            end = next(n for n in graph.nodes if n not in found)
            why = str(error).split("\n")[0]
    one, two = runs
    maps = {node: found for node in two if (found := _compared(_shape(one[node]), _shape(two[node]))) is not None}
    return MeasuredGraph(maps, one, two, end, why)


@torch.no_grad()
def _run(graph: fx.Graph, blank: nn.Module, x_BCHW: Tensor, checks: bool) -> Iterable[tuple[fx.Node, Any]]:
    """Every node and its value; assertions may be left out, which larger images would not pass."""
    run = fx.Interpreter(blank, garbage_collect_values=False, graph=graph)
    run.args_iter = iter((x_BCHW,))
    for node in graph.nodes:
        run.env[node] = run.run_node(node) if checks or node.target not in _CHECKS else None
        yield node, run.env[node]


def _shape(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape
    if isinstance(value, (tuple, list)) and value and all(isinstance(v, Tensor) for v in value):
        return [v.shape for v in value]
    return None


def _compared(one: Any, two: Any) -> FeatureMap | None:
    if isinstance(one, list) and isinstance(two, list):
        parts = [_compared(a, b) for a, b in zip(one, two, strict=False)]
        first = next((p for p in parts if p is not None), None)
        return None if first is None else FeatureMap(first.dims, 0, first.size, first.large)
    if one is None or two is None or len(one) != len(two):
        return None
    dims = tuple(i for i, (a, b) in enumerate(zip(one, two, strict=True)) if a != b)
    if not dims:
        return None
    return FeatureMap(dims, len(one), tuple(one[i] for i in dims), tuple(two[i] for i in dims))


def alive_before(
    order: list[fx.Node], start: fx.Node, maps: Callable[[fx.Node], bool], last: fx.Node | None
) -> list[list[fx.Node]]:
    """The maps that are still needed before each node of ``order``.

    Args:
        order: the nodes in the order in which they run.
        start: the image.
        maps: whether a value counts.
        last: the one value of these nodes that counts as needed after them; None: all that are read there.

    Returns:
        One more list than nodes: entry k has those alive before node k, the last those alive at the end.
    """
    position = {node: i for i, node in enumerate(order)}
    found: list[list[fx.Node]] = [[] for _ in range(len(order) + 1)]
    for born, node in [(0, start), *((i + 1, n) for i, n in enumerate(order))]:
        readers = [position.get(user, len(order)) for user in node.users]
        if last is not None:
            readers = [reader for reader in readers if reader < len(order) or node is last]
        if maps(node) and readers:
            for k in range(born, max(readers) + 1):
                found[k].append(node)
    return found
