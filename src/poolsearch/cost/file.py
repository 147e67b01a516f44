"""costs.parquet: what every placement that is searched costs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from poolsearch.cost.costs import Costs
from poolsearch.errors import PoolsearchError
from poolsearch.space import Space
from poolsearch.storage.files import atomic, parse_json
from poolsearch.storage.parquet import read_table

_COLUMNS = ("number", "placement", "macs", "memory", "field_height", "field_width", "latency_ms")
_KEY = b"poolsearch"


@dataclass(frozen=True)
class CostsFile:
    """What is in a file.

    Attributes:
        placements: their texts, in the order of the space.
        costs: of each.
        about: what the costs are of: batch, dtype, devices.
    """

    placements: list[str]
    costs: Costs
    about: dict[str, Any]


def write_costs(path: Path, space: Space, costs: Costs, about: dict[str, Any]) -> None:
    """Write the costs of a space, atomically.

    Args:
        path: of the file; one that is there is replaced.
        space: A placements.
        costs: theirs, in the order of the space.
        about: what they are of, as JSON values: kept in the file's metadata, under ``poolsearch``.

    Raises:
        PoolsearchError: no space is left, or the path is a folder or leads through a link.
    """
    unknown = [None] * space.size
    table = pa.table({
        "number": np.arange(space.size), "placement": [str(placement) for placement in space],
        "macs": costs.macs_A, "memory": pa.array(unknown if costs.memory_A is None else costs.memory_A, pa.int64()),
        "field_height": pa.array([*costs.field_height_AR], pa.list_(pa.int32())),
        "field_width": pa.array([*costs.field_width_AR], pa.list_(pa.int32())),
        "latency_ms": pa.array(unknown if costs.latency_A is None else costs.latency_A, pa.float64()),
    })  # fmt: skip
    with atomic(path) as temporary:
        pq.write_table(table.replace_schema_metadata({_KEY: json.dumps(about)}), temporary)


def read_costs(path: Path) -> CostsFile | None:
    """Read what :func:`write_costs` wrote.

    Args:
        path: of the file.

    Returns:
        None where there is no file, or it is damaged or of a version that kept less.
    """
    try:
        table = read_table(path)
        about = parse_json((table.schema.metadata or {})[_KEY])
        if not set(_COLUMNS) <= set(table.column_names):
            return None
        memory, latency = (None if table[n].null_count else table[n].to_numpy() for n in ("memory", "latency_ms"))
        heights, widths = (_rows(table[name]) for name in ("field_height", "field_width"))
    except (PoolsearchError, KeyError, ValueError, RecursionError):
        return None
    costs = Costs(table["macs"].to_numpy(), memory, heights, widths, latency)
    return CostsFile(table["placement"].to_pylist(), costs, about)


def _rows(column: Any) -> NDArray[np.int32]:
    return np.array(column.to_pylist(), np.int32)
