"""Folders of Hugging Face parquet files: images as encoded bytes, labels as numbers or names."""

from __future__ import annotations

import bisect
import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from poolsearch import files
from poolsearch.data.checks import as_labels, class_numbers
from poolsearch.data.folder import PART_NAMES
from poolsearch.data.items import PARTS, Piece, Raw, Source, make_source, stamp
from poolsearch.errors import PoolsearchError

LABEL_NAMES = ("label", "labels", "fine_label", "class", "target")
GROUPS_HELD = 2
"""Row groups kept in memory: images are read in order, so only the ends of two are ever needed together."""


@dataclass(frozen=True)
class _Columns:
    """Which columns hold the images and the labels, and the names of the classes if the schema tells."""

    image: str
    label: str
    class_names: tuple[str, ...] | None


@dataclass(frozen=True)
class _Group:
    """One row group: the unit in which parquet can be read."""

    path: Path
    number: int
    first: int
    rows: int


def parquet_source(root: Path) -> Source:
    """A folder of parquet files named ``train-*``, ``validation-*``, ``test-*`` (or in folders of these names).

    Raises:
        PoolsearchError: a file is damaged, the columns are not found, or the checks of :func:`make_source` fail.
    """
    paths = [root] if root.is_file() else sorted(root.rglob("*.parquet"))
    base = root.parent if root.is_file() else root
    of_part: dict[str, list[Path]] = {}
    for path in paths:
        of_part.setdefault(_part(path.relative_to(base)), []).append(path)
    if "train" not in of_part:
        raise PoolsearchError(f"{root} has parquet files for {', '.join(of_part)} but none named train-*.parquet.")
    columns = _columns(of_part["train"][0])
    values = {part: _labels(of_part[part], columns.label) for part in PARTS if part in of_part}
    numbers, names = _numbered(str(root), values, columns.class_names)
    pieces = [Piece(part, ParquetItems(of_part[part], base, columns.image), numbers[part]) for part in values]
    return make_source(str(root), pieces, names)


class ParquetItems:
    """The image column of parquet files, held one or two row groups at a time."""

    def __init__(self, paths: Sequence[Path], root: Path, column: str) -> None:
        self._root = root
        self._column = column
        self._groups = [group for path in paths for group in _groups(path)]
        self._ends = list(itertools.accumulate(group.rows for group in self._groups))
        self._held: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, index: int) -> Raw:
        at, row = self._find(index)
        cell = self._group(at)[row]
        if pa.types.is_struct(cell.type):
            return self._read_struct(at, cell)
        if not cell.is_valid:
            raise ValueError("the cell is empty")
        return cell.as_py()

    def label(self, index: int) -> str:
        at, row = self._find(index)
        return f"{self._groups[at].path.relative_to(self._root)} row {self._groups[at].first + row}"

    def fingerprint(self) -> str:
        paths = sorted({group.path for group in self._groups})
        return files.sha256(*(f"{path.relative_to(self._root)} {stamp(path)}\n".encode() for path in paths))

    def _read_struct(self, at: int, cell: Any) -> Raw:
        encoded = cell["bytes"]
        if encoded.is_valid:
            return encoded.as_py()
        if "path" not in cell.type.names or not cell["path"].is_valid:
            raise ValueError("the cell has neither bytes nor a path")
        return str(self._groups[at].path.parent / cell["path"].as_py())

    def _find(self, index: int) -> tuple[int, int]:
        at = bisect.bisect_right(self._ends, index)
        return at, index - (self._ends[at - 1] if at else 0)

    def _group(self, at: int) -> Any:
        with self._lock:
            if at not in self._held:
                group = self._groups[at]
                self._held[at] = _open(group.path).read_row_group(group.number, columns=[self._column]).column(0)
                if len(self._held) > GROUPS_HELD:
                    self._held.popitem(last=False)
            return self._held[at]


def _open(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise PoolsearchError(f"{path} cannot be read as a parquet file: {error}. Download it again.") from None


def _groups(path: Path) -> list[_Group]:
    metadata = _open(path).metadata
    rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    return [_Group(path, number, sum(rows[:number]), rows[number]) for number in range(len(rows))]


def _part(path: Path) -> str:
    """From the file's name up to the first "-" or ".", or from a folder above it; "train" if nothing tells."""
    for name in (path.name.replace(".", "-").split("-")[0], *(parent.name for parent in path.parents)):
        if name.lower() in PART_NAMES:
            return PART_NAMES[name.lower()]
    return "train"


def _columns(path: Path) -> _Columns:
    schema = _open(path).schema_arrow
    features: dict[str, Any] = {}
    if schema.metadata and b"huggingface" in schema.metadata:
        features = json.loads(schema.metadata[b"huggingface"]).get("info", {}).get("features", {})
    images = [field.name for field in schema if _is_image(field, features)]
    if len(images) != 1:
        raise PoolsearchError(
            f"{path} must have one column of images (a struct with 'bytes'); found {images or 'none'} "
            f"among {schema.names}."
        )
    label = _label_column(path, schema.names, features)
    names = features.get(label, {}).get("names")
    return _Columns(images[0], label, tuple(names) if names else None)


def _is_image(field: Any, features: dict[str, Any]) -> bool:
    kind = features.get(field.name, {})
    if isinstance(kind, dict) and "_type" in kind:
        return kind["_type"] == "Image"
    return (pa.types.is_struct(field.type) and "bytes" in field.type.names) or pa.types.is_binary(field.type)


def _label_column(path: Path, names: Sequence[str], features: dict[str, Any]) -> str:
    classes = [n for n in names if isinstance(features.get(n), dict) and features[n].get("_type") == "ClassLabel"]
    candidates = classes or [name for name in LABEL_NAMES if name in names]
    if len(candidates) > 1:
        candidates = [name for name in LABEL_NAMES if name in candidates][:1]
    if not candidates:
        raise PoolsearchError(f"{path} has the columns {list(names)}; none is named one of {', '.join(LABEL_NAMES)}.")
    return candidates[0]


def _labels(paths: Sequence[Path], column: str) -> list[Any]:
    values: list[Any] = []
    for path in paths:
        table = _open(path)
        if column not in table.schema_arrow.names:
            raise PoolsearchError(
                f"{path} has no column '{column}', which the training files have. Make the files alike."
            )
        read = table.read(columns=[column]).column(0)
        if read.null_count:
            row = read.to_pylist().index(None)
            raise PoolsearchError(f"{path}: row {row} has no label. Give every row a label, or leave the file out.")
        values.append(read)
    return values


def _numbered(
    root: str, values: dict[str, list[Any]], names: tuple[str, ...] | None
) -> tuple[dict[str, Any], Sequence[str]]:
    """Labels of each part as int64 numbers into the names; text labels are numbered in sorted order."""
    first = next(iter(values.values()))[0]
    if pa.types.is_string(first.type) or pa.types.is_large_string(first.type):
        texts = {part: [text for array in arrays for text in array.to_pylist()] for part, arrays in values.items()}
        names = tuple(sorted(set(itertools.chain.from_iterable(texts.values()))))
        number = {name: i for i, name in enumerate(names)}
        return {part: np.array([number[text] for text in listed]) for part, listed in texts.items()}, names
    numbers = {p: as_labels(root, np.concatenate([a.to_numpy() for a in arrays])) for p, arrays in values.items()}
    return numbers, names or class_numbers(root, list(numbers.values()))
