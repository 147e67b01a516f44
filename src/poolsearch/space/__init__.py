"""Placements, and the spaces of them. May import only ``poolsearch.errors`` and ``poolsearch.rng``; no torch."""

from __future__ import annotations

from poolsearch.space.any_path import FreeSpace
from poolsearch.space.by_halvings import HalvingsSpace
from poolsearch.space.placement import HALVE, KEEP, Exponents, Placement, shown
from poolsearch.space.restricted import Axes, Space

__all__ = [
    "HALVE",
    "KEEP",
    "Axes",
    "Exponents",
    "FreeSpace",
    "HalvingsSpace",
    "Placement",
    "Space",
    "shown",
]
