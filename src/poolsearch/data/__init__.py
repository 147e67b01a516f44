"""Data: from a name or a path to normalised batches on a device.

``find_source`` finds a data set, ``open_images`` decodes it once into the cache, ``make_split`` divides it, and a
``Loader`` gives batches of a part by step number.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolsearch.data.build import array_channels
    from poolsearch.data.cache import Images, open_images
    from poolsearch.data.duplicates import write_duplicates
    from poolsearch.data.folder import unread_kinds
    from poolsearch.data.groups import Groups, groups_of, read_groups
    from poolsearch.data.items import Source
    from poolsearch.data.loader import Augment, Loader, mean_std
    from poolsearch.data.source import default_cache_dir, find_source
    from poolsearch.data.split import PARTS, Split, make_split, subset_search_train, subset_training, write_split

_HOMES = {
    "Augment": "loader",
    "Groups": "groups",
    "Images": "cache",
    "Loader": "loader",
    "PARTS": "split",
    "Source": "items",
    "Split": "split",
    "array_channels": "build",
    "default_cache_dir": "source",
    "find_source": "source",
    "groups_of": "groups",
    "make_split": "split",
    "mean_std": "loader",
    "open_images": "cache",
    "read_groups": "groups",
    "subset_search_train": "split",
    "subset_training": "split",
    "unread_kinds": "folder",
    "write_duplicates": "duplicates",
    "write_split": "split",
}

__all__ = [
    "PARTS",
    "Augment",
    "Groups",
    "Images",
    "Loader",
    "Source",
    "Split",
    "array_channels",
    "default_cache_dir",
    "find_source",
    "groups_of",
    "make_split",
    "mean_std",
    "open_images",
    "read_groups",
    "subset_search_train",
    "subset_training",
    "unread_kinds",
    "write_duplicates",
    "write_split",
]


def __getattr__(name: str) -> Any:
    """Import on first use: the processes that decode need neither torch nor pyarrow, and should not wait for them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'poolsearch.data' has no attribute '{name}'")
    return getattr(import_module(f"poolsearch.data.{_HOMES[name]}"), name)
