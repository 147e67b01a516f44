"""Data: from a name or a path to normalised batches on a device.

``find_source`` finds a data set, ``open_images`` decodes it once into the cache, ``make_split`` divides it, and a
``Loader`` gives batches of a part by step number.
"""

from poolsearch.data.cache import Images, open_images
from poolsearch.data.cachedir import default_cache_dir
from poolsearch.data.folder import unread_kinds
from poolsearch.data.items import Source
from poolsearch.data.loader import Augment, Loader, mean_std
from poolsearch.data.source import find_source
from poolsearch.data.split import Split, make_split, shrink

__all__ = [
    "Augment",
    "Images",
    "Loader",
    "Source",
    "Split",
    "default_cache_dir",
    "find_source",
    "make_split",
    "mean_std",
    "open_images",
    "shrink",
    "unread_kinds",
]
