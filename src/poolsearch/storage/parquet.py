"""Reading the parquet files of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from poolsearch.storage.files import damaged, verify

MOST_BYTES = 4 << 30
"""Of a table in memory, as its file tells: a file that was made to can be a thousand times larger unpacked."""


def read_table(
    path: Path, columns: Sequence[str] | None = None, filters: list[tuple[str, str, Any]] | None = None
) -> pa.Table:
    """Read a parquet file that is as it was written.

    Args:
        path: of the file.
        columns: names of those to read; all if None.
        filters: (column, operator, value) that a row must all meet, as of ``pyarrow.parquet.read_table``; None reads
            all.

    Returns:
        The rows in the file's order, the columns in the order asked for.

    Raises:
        PoolsearchError: it is missing, damaged, too large, or lacks a column.
    """
    verify(path)
    try:
        found = pq.read_metadata(path)
        if sum(found.row_group(group).total_byte_size for group in range(found.num_row_groups)) > MOST_BYTES:
            raise damaged(path, f"it has more than {MOST_BYTES >> 30} GB")
        table = pq.read_table(path, columns=columns and list(columns), filters=filters)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise damaged(path, error) from None
    if missing := [name for name in columns or () if name not in table.column_names]:
        raise damaged(path, f"it has no column {', '.join(missing)}")
    return table
