"""Folders of Hugging Face parquet files: images as encoded bytes, labels as numbers or names."""

from __future__ import annotations

import bisect
import itertools
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from poolsearch.data.checks import as_labels, class_numbers
from poolsearch.data.gate import ARRAY_BYTES, PASSING, TABLE_BYTES, TooLarge, Unreadable, open_regular, size_text
from poolsearch.data.items import (
    PARTS,
    TARGET_WORDS,
    JoinedItems,
    LabelledItems,
    Raw,
    Source,
    Targets,
    make_source,
    stamp,
)
from poolsearch.data.labels import label_targets
from poolsearch.data.names import entries, part_of
from poolsearch.errors import PoolsearchError
from poolsearch.storage import files

if TYPE_CHECKING:
    from poolsearch.tasks import TargetKind

TARGETS_FILE = "poolsearch_targets.json"
"""What a folder of objects says of targets that are no classes, see :mod:`poolsearch.data.objects`."""

LABEL_NAMES = ("label", "labels", "fine_label", "class", "target")
GROUPS_HELD = 2
"""Row groups kept in memory: images are read in order, so only the ends of two are ever needed together."""

_FILE_BYTES = 1 << 40  # what is read of it at once has a limit of its own
_PLAIN = frozenset(["PLAIN", "RLE", "BIT_PACKED"])
_STEPS = 100  # in so many a row group is read, so that it can be stopped where it grows beyond what it said


@dataclass(frozen=True)
class _Columns:
    """Which columns hold the images and the labels, and the names of the classes if the schema tells."""

    image: str
    label: str
    class_names: tuple[str, ...] | None


@dataclass(frozen=True)
class _Group:
    """One row group: the unit in which parquet can be read. ``size``: of the column that is read, in bytes;
    ``plain``: each cell of it is in the file by itself, and not a number in a list of values."""

    path: Path
    number: int
    first: int
    rows: int
    size: int
    plain: bool


def parquet_source(root: Path, kind: TargetKind = "classes") -> Source:
    """A data set in parquet files.

    Args:
        root: a folder of files named ``train-*``, ``validation-*``, ``test-*`` (or in folders of these names), or one
            parquet file.
        kind: what there is to learn of each image; others than classes only have folders that poolsearch wrote of
            Python objects.

    Returns:
        The data set, not yet decoded; row groups are read as their images are.

    Raises:
        PoolsearchError: a file is damaged or has row groups that are too large, the columns are not found, or the
            checks of :func:`make_source` fail.
    """
    _check_kind(root, kind)
    try:
        if kind != "classes":
            return _object_source(root, kind)
        pieces, names = _pieces(root)
    except MemoryError:
        raise PoolsearchError(f"there is too little memory to read {root}.") from None
    except Unreadable as error:
        raise PoolsearchError(f"{error}.") from None
    return make_source(str(root), pieces, names)


def parquet_files(root: Path) -> Iterator[Path]:
    """The parquet files under a folder, at any depth.

    Args:
        root: the folder; links to folders are not followed.

    Yields:
        Their paths, in no order.

    Raises:
        OSError: a folder may not be read.
    """
    stack = [str(root)]
    while stack:
        folders, others = entries(stack.pop())
        yield from (Path(entry.path) for entry in (*folders, *others) if entry.name.endswith(".parquet"))
        stack.extend(entry.path for entry in folders if not entry.is_symlink())


def _parts(root: Path) -> tuple[Path, dict[str, list[Path]]]:
    """The folder that paths are told from, and the files of each part."""
    paths = sorted(parquet_files(root)) if root.is_dir() else [root]
    base = root if root.is_dir() else root.parent
    of_part: dict[str, list[Path]] = {}
    for path in paths:
        of_part.setdefault(_part(path.relative_to(base)), []).append(path)
    if "train" not in of_part:
        raise PoolsearchError(f"{root} has parquet files for {', '.join(of_part)} but none named train-*.parquet.")
    return base, of_part


def _pieces(root: Path) -> tuple[list[LabelledItems], Sequence[str]]:
    base, of_part = _parts(root)
    columns = _columns(of_part["train"][0])
    held = {part: ParquetItems(of_part[part], base, columns.image) for part in PARTS if part in of_part}
    values = {part: _labels(of_part[part], columns.label) for part, items in held.items() if len(items)}
    if "train" not in values:
        raise PoolsearchError(f"no images found in {root}: its training files have no rows.")
    numbers, names = _numbered(str(root), values, columns.class_names)
    for part, label_N in numbers.items():
        if len(held[part]) != len(label_N):
            raise Unreadable(
                f"{root} is damaged: a file for {part} has {len(label_N)} labels, and says that it has "
                f"{len(held[part])} rows. Download it again"
            )
    return [LabelledItems(part, held[part], label_N) for part, label_N in numbers.items()], names


def _check_kind(root: Path, kind: TargetKind) -> None:
    """See that there are targets of a kind."""
    there = _about(root)["kind"] if (root / TARGETS_FILE).exists() else "classes"
    if there == kind:
        return
    if there == "classes":
        raise PoolsearchError(
            f"{root} holds {TARGET_WORDS[there]}, and {TARGET_WORDS[kind]} should be learned (--task). Of parquet "
            "files only classes are read: give a table, or Python objects: poolsearch.run(train=dataset, task=...)."
        )
    raise PoolsearchError(
        f"{root} was written of Python objects with {TARGET_WORDS[there]}, and "
        f"{TARGET_WORDS[kind]} should be learned (--task). Give the objects again, or the task that they were for."
    )


def _about(root: Path) -> dict[str, Any]:
    """What a folder of objects says of its targets."""
    path = root / TARGETS_FILE
    try:
        with open_regular(path, TABLE_BYTES) as handle:
            found = json.load(handle)
        if found["kind"] in TARGET_WORDS:
            return found
    except (ValueError, TypeError, LookupError, Unreadable):
        pass
    raise PoolsearchError(f"{path} is damaged. Delete {root}, and give the objects again.")


def _object_source(root: Path, kind: TargetKind) -> Source:
    """The images of a folder of objects whose targets are no classes."""
    base, of_part = _parts(root)
    about = _about(root)
    parts = [part for part in PARTS if part in of_part]
    images = {part: ParquetItems(of_part[part], base, "image") for part in parts}
    if kind == "labels":
        targets = _object_labels(str(root), {part: _labels(of_part[part], "label") for part in parts}, about)
    else:
        items = JoinedItems([ParquetItems(of_part[part], base, "label") for part in parts])
        shape: list[int] = about["shape"] or []
        names = [] if kind == "masks" else [str(number) for number in range(shape[-1])] if shape else ["value"]
        targets = Targets(kind, items, tuple(names))
    pieces = [LabelledItems.without_classes(part, images[part]) for part in parts]
    if sum(len(piece.items) for piece in pieces) != len(targets.items):
        raise Unreadable(f"{root} is damaged. Delete it, and give the objects again")
    return make_source(str(root), pieces, (), targets=targets)


def _object_labels(name: str, values: dict[str, list[Any]], about: dict[str, Any]) -> Targets:
    """0 or 1 for each label, of the names or numbers of those that images have."""
    listed: list[list[str]] = [labels for arrays in values.values() for one in arrays for labels in one.to_pylist()]
    there, names = set(itertools.chain.from_iterable(listed)), about["names"]
    if not about["numbers"]:
        names = names or sorted(there)
        return label_targets(name, listed, names, names)
    number = about["how_many"] or (len(names) if names else 1 + max(map(int, there), default=-1))
    keys = [str(key) for key in range(number)]
    return label_targets(name, listed, keys, names or keys)


class ParquetItems:
    """The image column of parquet files, held one or two row groups at a time."""

    def __init__(self, paths: Sequence[Path], root: Path, column: str) -> None:
        self._root = root
        self._column = column
        self._groups = [group for path in paths for group in _groups(path, column)]
        self._ends = list(itertools.accumulate(group.rows for group in self._groups))
        self._held: OrderedDict[int, Any] = OrderedDict()
        self._unfit: dict[int, Unreadable] = {}
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
        path = os.path.normpath(self._groups[at].path.parent / str(cell["path"].as_py()))
        if not Path(path).is_relative_to(os.path.normpath(self._root)):
            raise Unreadable("the cell holds a path that leads out of the data folder")
        return path

    def _find(self, index: int) -> tuple[int, int]:
        at = bisect.bisect_right(self._ends, index)
        return at, index - (self._ends[at - 1] if at else 0)

    def _group(self, at: int) -> Any:
        with self._lock:
            if at in self._unfit:  # each of its images will be asked for
                raise self._unfit[at]
            if at not in self._held:
                try:
                    self._held[at] = _read(self._groups[at], self._column)
                except Unreadable as error:
                    self._unfit[at] = error
                    raise
                if len(self._held) > GROUPS_HELD:
                    self._held.popitem(last=False)
            return self._held[at]


@contextmanager
def _opened(path: Path) -> Generator[Any]:
    """The parquet file.

    Raises:
        Unreadable: it is none, or damaged.
        OSError: it may be readable another time.
    """
    try:
        with open_regular(path, _FILE_BYTES) as handle:
            yield pq.ParquetFile(handle)
    except (MemoryError, TooLarge):
        raise
    except OSError as error:
        if error.errno in PASSING:
            raise
        raise _unreadable(path, error) from None
    except (ValueError, TypeError, LookupError, pa.ArrowException, Unreadable) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> Unreadable:
    return Unreadable(f"{path} cannot be read as a parquet file: {error}. Download it again")


def _groups(path: Path, column: str) -> list[_Group]:
    """The row groups, each with as much of ``column`` as can be read."""
    groups: list[_Group] = []
    with _opened(path) as file:
        for number in range(file.metadata.num_row_groups):
            about = file.metadata.row_group(number)
            chunks = [about.column(c) for c in range(about.num_columns)]
            chunks = [c for c in chunks if f"{c.path_in_schema}.".startswith(f"{column}.")]
            size = sum(c.total_uncompressed_size for c in chunks)
            plain = all(_PLAIN.issuperset(c.encodings) and not c.has_dictionary_page for c in chunks)
            groups.append(_Group(path, number, sum(g.rows for g in groups), about.num_rows, size, plain))
            if size > ARRAY_BYTES:
                raise _too_large(groups[-1], column, size)
    return groups


def _read(group: _Group, column: str) -> Any:
    """A column of one row group, which is kept in memory.

    Raises:
        Unreadable: it cannot be read, or takes more than :data:`ARRAY_BYTES`: a cell that occurs many times is in the
            file only once, and what a file says of itself need not be true.
    """
    batches, taken = list[Any](), 0
    rows = -(-group.rows // _STEPS)
    if not group.plain:  # each cell may be as large as all that is in the file
        rows = min(rows, ARRAY_BYTES // (4 * group.size + 1))
    with _opened(group.path) as file:
        for batch in file.iter_batches(max(1, rows), row_groups=[group.number], columns=[column], use_threads=False):
            batches.append(batch.column(0))
            taken += batches[-1].nbytes
            if taken > ARRAY_BYTES:
                raise _too_large(group, column, taken)
        return pa.chunked_array(batches, file.schema_arrow.field(column).type)


def _too_large(group: _Group, column: str, size: int) -> TooLarge:
    return TooLarge(
        f"column '{column}' takes {size_text(size)} or more in row group {group.number} of {group.path}; at most "
        f"{size_text(ARRAY_BYTES)} of a row group are read. Write the file anew in smaller ones, for example by "
        "pyarrow.parquet.write_table(table, path, row_group_size=100)"
    )


def _part(path: Path) -> str:
    """From the file's name up to the first "-" or ".", or from a folder above it; "train" if nothing tells."""
    for name in (path.name.replace(".", "-").split("-")[0], *(parent.name for parent in path.parents)):
        if (part := part_of(name)) is not None:
            return part
    return "train"


def _columns(path: Path) -> _Columns:
    with _opened(path) as file:
        schema = file.schema_arrow
    features = _features(path, schema)
    images = [field.name for field in schema if _is_image(field, features)]
    if len(images) != 1:
        raise PoolsearchError(
            f"{path} must have one column of images (a struct with 'bytes'); found {images or 'none'} "
            f"among {schema.names}."
        )
    label = _label_column(path, schema.names, features)
    names = features.get(label, {}).get("names")
    if names is not None and not (
        isinstance(names, list) and all(isinstance(n, str) for n in cast("list[Any]", names))
    ):
        raise PoolsearchError(
            f"{path}: its metadata names the classes of '{label}' in a form that is not known; expected is a list of "
            "texts. Write the file anew with such a list, or without the metadata 'huggingface'."
        )
    return _Columns(images[0], label, tuple(names) if names else None)


def _features(path: Path, schema: Any) -> dict[str, dict[str, Any]]:
    """What Hugging Face's ``datasets`` says of each column; of other columns nothing."""
    try:
        found: Any = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    except (ValueError, RecursionError) as error:
        raise PoolsearchError(
            f"{path}: its metadata 'huggingface' is damaged ({error}). Write the file anew, with it or without."
        ) from None
    for key in ("info", "features"):
        found = found.get(key) if isinstance(found, dict) else None
    return {n: f for n, f in found.items() if isinstance(f, dict)} if isinstance(found, dict) else {}


def _is_image(field: Any, features: dict[str, dict[str, Any]]) -> bool:
    kind = features.get(field.name, {})
    if "_type" in kind:
        return kind["_type"] == "Image"
    if pa.types.is_struct(field.type):
        return "bytes" in field.type.names
    return pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)


def _label_column(path: Path, names: Sequence[str], features: dict[str, dict[str, Any]]) -> str:
    classes = [name for name in names if features.get(name, {}).get("_type") == "ClassLabel"]
    candidates = classes or [name for name in LABEL_NAMES if name in names]
    if len(candidates) > 1:
        candidates = [name for name in LABEL_NAMES if name in candidates][:1]
    if not candidates:
        raise PoolsearchError(f"{path} has the columns {list(names)}; none is named one of {', '.join(LABEL_NAMES)}.")
    return candidates[0]


def _labels(paths: Sequence[Path], column: str) -> list[Any]:
    values: list[Any] = []
    for path in paths:
        with _opened(path) as file:
            names = file.schema_arrow.names
        if column not in names:
            raise PoolsearchError(
                f"{path} has no column '{column}', which the training files have. Make the files alike."
            )
        for group in _groups(path, column):
            read = _read(group, column)
            if read.null_count:
                row = group.first + read.is_null().to_pylist().index(True)
                raise PoolsearchError(f"{path}: row {row} has no label. Give every row a label, or leave the file out.")
            values.append(read)
    return values


def _numbered(
    root: str, values: dict[str, list[Any]], names: tuple[str, ...] | None
) -> tuple[dict[str, Any], Sequence[str]]:
    """Labels of each part as int64 numbers into the names; text labels are numbered in sorted order."""
    first = values["train"][0]
    if others := {str(a.type) for arrays in values.values() for a in arrays if a.type != first.type}:
        raise PoolsearchError(f"{root}: labels are {first.type} in one file and {', '.join(others)} in another one.")
    if pa.types.is_string(first.type) or pa.types.is_large_string(first.type):
        texts = {part: [text for array in arrays for text in array.to_pylist()] for part, arrays in values.items()}
        names = tuple(sorted(set(itertools.chain.from_iterable(texts.values()))))
        number = {name: i for i, name in enumerate(names)}
        return {part: np.array([number[text] for text in listed]) for part, listed in texts.items()}, names
    numbers = {p: as_labels(root, np.concatenate([a.to_numpy() for a in arrays])) for p, arrays in values.items()}
    return numbers, names or class_numbers(root, list(numbers.values()))
