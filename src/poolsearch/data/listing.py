"""Which images are for what, to be read without this package."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from poolsearch.data.cache import Images
from poolsearch.data.split import PARTS, Split
from poolsearch.storage.files import RunDir, atomic, is_whole, write_json


def write_split(files: RunDir, images: Images, split: Split) -> None:
    """``split.json``, and ``images.parquet``: index, file, class, part and group of every image.

    ``part`` is empty for images that --subset leaves out, ``group`` where no groups were told.
    """
    write_json(files.split, split.to_json())
    if files.images.exists() and is_whole(files.images):  # of the same images and split, as was seen by their hashes
        return
    part_N = np.full(len(images.label_N), "", dtype=object)
    for part in PARTS:
        part_N[getattr(split, part)] = part
    names_N = np.array(split.groups.names, object)[split.groups.number_N] if split.groups else np.full(len(part_N), "")
    table = pa.table({
        "index": np.arange(len(part_N)),
        "file": images.files,
        "class": np.array(images.class_names, object)[images.label_N],
        "part": part_N,
        "group": names_N,
    })  # fmt: skip
    with atomic(files.images) as temporary:
        pq.write_table(table, temporary)
