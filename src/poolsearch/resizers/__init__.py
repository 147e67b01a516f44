"""Layers that learn how much to shrink their maps: DiffStride, Shape Adaptor, DynOPool; alone, and in any network.

The layers are plain ``torch.nn.Module``\\ s that need nothing else of this package (docs/resizers.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolsearch.resizers.diffstride import DiffStride, stride_cost
from poolsearch.resizers.dynopool import DynOPool, gmacs_cost
from poolsearch.resizers.of_network import freeze, map_sizes, parameter_groups, resizer_parameters
from poolsearch.resizers.resizer import Resizer
from poolsearch.resizers.shape_adaptor import ShapeAdaptor, adaptor_count, common_scale

if TYPE_CHECKING:
    from poolsearch.resizers.behind_layers import ResizedLayers
    from poolsearch.resizers.network import Resized
    from poolsearch.resizers.replace import replace_downsampling, replace_strides

__all__ = [
    "DiffStride",
    "DynOPool",
    "Resized",
    "ResizedLayers",
    "Resizer",
    "ShapeAdaptor",
    "adaptor_count",
    "common_scale",
    "freeze",
    "gmacs_cost",
    "map_sizes",
    "parameter_groups",
    "replace_downsampling",
    "replace_strides",
    "resizer_parameters",
    "stride_cost",
]

_HOMES = {
    "Resized": "network",
    "ResizedLayers": "behind_layers",
    "replace_downsampling": "replace",
    "replace_strides": "replace",
}


def __getattr__(name: str) -> Any:
    """Import on first use: these know networks, and the layers should not wait for that."""
    if name not in _HOMES:
        raise AttributeError(f"module 'poolsearch.resizers' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"poolsearch.resizers.{_HOMES[name]}"), name)
