"""What there is to learn of images that are Python objects: seen to be of one kind, and written into parquet files."""

from __future__ import annotations

import io
import json
import operator
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from poolsearch.data.gate import Unreadable
from poolsearch.data.image_file import upright_size
from poolsearch.data.masks import as_mask, mask_of_image
from poolsearch.data.parquet import LABEL_NAMES
from poolsearch.errors import PoolsearchError

if TYPE_CHECKING:
    from poolsearch.tasks import TargetKind

Encoded: TypeAlias = "int | str | tuple[str, ...] | bytes"
"""A class; names or numbers of the labels that an image has; values as a .npy; a mask as a PNG."""

Collate: TypeAlias = Callable[[Sequence[Any]], Any]

_MOST_LABELS = 100_000
"""So many labels there may be where nothing says how many: a larger number is a mistake, and takes all memory."""

_KEYS: dict[TargetKind, tuple[str, ...]] = {
    "classes": (),
    "labels": ("labels", "tags"),
    "values": ("values", "value"),
    "masks": ("mask", "masks", "annotation", "segmentation"),
}

_ALLOWED: dict[TargetKind, str] = {
    "classes": "the number or the name of its class",
    "labels": "an array of 0 and 1, one for each label; or a list of the names or numbers of the labels that it has",
    "values": "a number, or an array of numbers, of the same shape for all images",
    "masks": "a mask: a PIL image, or an array or tensor of shape (H, W), with the number of the class of each pixel",
}


def target_keys(kind: TargetKind) -> tuple[str, ...]:
    """Where an item that is a dictionary may have its target; the first that is there is taken.

    Args:
        kind: of the target.

    Returns:
        The keys, the likeliest first.
    """
    return tuple(dict.fromkeys((*_KEYS[kind], *LABEL_NAMES, "targets", "y")))


class ObjectTargets:
    """The targets of a data set of objects, on their way into files.

    Args:
        kind: what they are.
        names: of the classes or labels, where the data set says.
        collate: from a list of one target, as the data set gives it, to an array of a batch of one; None: as it is.
    """

    def __init__(self, kind: TargetKind, names: list[str] | None, collate: Collate | None) -> None:
        self.kind: TargetKind = kind
        self._names = None if kind in ("values", "masks") else names
        self._collate = collate
        self._numbers: bool | None = None
        self._how_many: int | None = None
        self._shape: tuple[int, ...] | None = None

    def encoded(self, where: str, target: Any, image: bytes) -> Encoded:
        """A target as it is written.

        Args:
            where: it stands, for the error.
            target: as the data set gives it.
            image: that it belongs to, as the content of a file.

        Returns:
            Of a class its number or name; of labels their names, or numbers as texts; else the content of a file.

        Raises:
            PoolsearchError: it is no target of this kind, or of another form than those before.
        """
        if self._collate is not None:
            target = self._collated(where, target, self._collate)
        match self.kind:
            case "classes":
                return _class_of(where, target)
            case "labels":
                return self._labels_of(where, target)
            case "values":
                return self._values_of(where, target)
            case "masks":
                return _mask_of(where, target, image)

    def array(self, part: str, targets: Sequence[Encoded]) -> pa.Array:
        """Some targets as a column of a table.

        Args:
            part: that they are of, for the error.
            targets: as of :meth:`encoded`.

        Returns:
            The column.

        Raises:
            PoolsearchError: some are numbers and others names.
        """
        if self.kind in ("values", "masks"):
            return pa.array(targets, pa.binary())
        if self.kind == "labels":
            return pa.array(targets, pa.list_(pa.string()))
        numbers = all(isinstance(target, int) for target in targets)
        if not numbers and not all(isinstance(target, str) for target in targets):
            raise PoolsearchError(f"targets of {part} are numbers in some items and names in others.")
        return pa.array(targets, pa.int64() if numbers else pa.string())

    def metadata(self, column: pa.Array) -> str:
        """What a file says of its columns, as the libraries of Hugging Face write it.

        Args:
            column: of the targets.

        Returns:
            JSON.
        """
        label: dict[str, Any] = {"_type": "Value"}
        if self.kind == "classes" and column.type == pa.int64() and self._names is not None:
            label = {"_type": "ClassLabel", "names": self._names}
        return json.dumps({"info": {"features": {"image": {"_type": "Image"}, "label": label}}})

    @property
    def about(self) -> dict[str, Any]:
        """What is known of targets that are no classes beside themselves; complete when all have been seen.

        ``kind``; of labels their ``names`` where the data set says, whether images have their ``numbers``, not names,
        and of ``how_many`` there are where an image had all of them; of values their ``shape``.
        """
        return {
            "kind": self.kind, "names": self._names, "numbers": self._numbers, "how_many": self._how_many,
            "shape": self._shape,
        }  # fmt: skip

    def _labels_of(self, where: str, target: Any) -> tuple[str, ...]:
        vector = _array_or_none(target)
        if vector is not None:
            return self._numbers_of(where, self._ones(where, vector))
        if isinstance(target, str) or not isinstance(target, (Sequence, AbstractSet)):
            raise _refused("labels", where, target)
        given: list[Any] = [one.item() if hasattr(one, "item") else one for one in cast("Sequence[Any]", target)]
        if not all(isinstance(one, str) for one in given):
            try:
                given = [operator.index(one) for one in given]
            except TypeError:
                raise _refused("labels", where, given) from None
        if len(set(given)) < len(given):
            raise PoolsearchError(
                f"{where} has the labels {str(given)[:60]}, and one of them twice. A list has the labels of an image; "
                "where it is meant as one 0 or 1 for each label, give an array: numpy.array(labels)."
            )
        if given and isinstance(given[0], int):
            return self._numbers_of(where, given)
        if given and self._numbers:
            raise PoolsearchError(f"{where} has names of labels, and items before have their numbers.")
        if bad := [one for one in given if self._names is not None and one not in self._names]:
            raise PoolsearchError(
                f"{where} has the label {str(bad[0])[:60]!r}, which is none of those that its dataset names (its "
                f"classes): {', '.join((self._names or [])[:5])}. Make the two alike."
            )
        self._numbers = False if given else self._numbers
        return tuple(sorted(map(str, given)))

    def _ones(self, where: str, vector: npt.NDArray[Any]) -> list[int]:
        """The numbers of the labels for which there is a 1."""
        if vector.ndim != 1 or vector.dtype.kind not in "buif" or not np.isin(vector, (0, 1)).all():
            raise _refused("labels", where, vector)
        if self._how_many not in (None, len(vector)):
            raise PoolsearchError(
                f"{where} has {len(vector)} labels, and items before have {self._how_many}. Give all images as many."
            )
        self._how_many = len(vector)
        if self._names is not None and len(self._names) != len(vector):
            raise PoolsearchError(
                f"{where} has {len(vector)} labels, and its dataset names {len(self._names)} (its classes). Make the "
                "two alike."
            )
        return np.flatnonzero(vector).tolist()

    def _numbers_of(self, where: str, numbers: Sequence[int]) -> tuple[str, ...]:
        if self._numbers is False:
            raise PoolsearchError(f"{where} has numbers of labels, and items before have their names.")
        most = self._how_many or (len(self._names) if self._names else _MOST_LABELS)
        if bad := [number for number in numbers if not 0 <= number < most]:
            raise PoolsearchError(
                f"{where} has a label {bad[0]}; labels are numbered from 0 to {most - 1:,}. Number them anew."
            )
        self._numbers = True
        return tuple(map(str, sorted(numbers)))

    def _values_of(self, where: str, target: Any) -> bytes:
        array = _array_or_none(target)
        try:
            array = np.asarray(target) if array is None else array
        except (TypeError, ValueError):  # a ragged list
            array = np.empty(0, object)
        if array.dtype.kind not in "buif" or array.size == 0:
            raise _refused("values", where, target)
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise PoolsearchError(f"{where} has a target that is NaN or infinite: {str(target)[:60]}. Give numbers.")
        if self._shape not in (None, array.shape):
            raise PoolsearchError(
                f"{where} has a target of shape {array.shape}, and items before of {self._shape}. Give all images "
                "targets of one shape."
            )
        self._shape = array.shape
        return _npy(array)

    def _collated(self, where: str, target: Any, collate: Collate) -> Any:
        try:
            batch = collate([target])
        except Exception as error:  # the function is the user's
            raise PoolsearchError(
                f"{where}: the task's collate failed: {type(error).__name__}: {error}. It is called with a list of one "
                "target."
            ) from error
        array = _array_or_none(batch)
        if array is None or array.ndim == 0 or len(array) != 1:
            shape = f" of shape {array.shape}" if array is not None else ""
            raise PoolsearchError(
                f"{where}: the task's collate makes a {type(batch).__name__}{shape} of a list of one target. It must "
                "give an array or tensor of a batch, here of shape (1, ...)."
            )
        return array[0]


# --- one target ------------------------------------------------------------------------------------------------------


def _class_of(where: str, target: Any) -> int | str:
    if isinstance(target, str):
        return target
    if getattr(target, "shape", None) == (1,):
        target = target[0]
    try:
        return operator.index(target)  # whole numbers of Python, NumPy and torch
    except TypeError:
        shown = " ".join(str(target)[:60].split())
        raise PoolsearchError(
            f"{where} has the target {shown} ({type(target).__name__}). Give the number or the name of its class."
            f"{_other_task(target)}"
        ) from None


def _other_task(target: Any) -> str:
    """What a target may be that is no class."""
    axes = len(getattr(target, "shape", ()))
    if axes > 1 or isinstance(target, Image.Image):
        return " To learn the class of each pixel, give task='dense'."
    if axes == 1 or isinstance(target, (list, tuple, set, frozenset)):
        return " Of one-hot targets give target.argmax(); to learn several labels, give task='multi-label'."
    return " To learn a number, give task='regression'." if hasattr(target, "__float__") else ""


def _mask_of(where: str, target: Any, image: bytes) -> bytes:
    try:
        if isinstance(target, Image.Image):
            mask_HW = mask_of_image(target)
        elif (array := _array_or_none(target)) is not None:
            mask_HW = as_mask(array)
        else:
            raise _refused("masks", where, target)
    except PoolsearchError:
        raise
    except Unreadable as error:
        raise PoolsearchError(f"{where} has a mask {error}.") from None
    except Exception as error:  # damaged files make decoders raise anything
        raise PoolsearchError(f"{where} has a mask that cannot be read: {error or type(error).__name__}.") from error
    size = upright_size(image)
    if mask_HW.shape != size:
        high, wide = mask_HW.shape
        raise PoolsearchError(
            f"{where} has a mask of {high} x {wide} pixels (height x width), and an image of {size.height} x "
            f"{size.width}. A mask must have the size of its image."
        )
    held = io.BytesIO()
    Image.fromarray(mask_HW).save(held, "PNG", compress_level=1)
    return held.getvalue()


def _npy(array: npt.NDArray[Any]) -> bytes:
    held = io.BytesIO()
    np.save(held, array, allow_pickle=False)
    return held.getvalue()


def _array_or_none(target: Any) -> npt.NDArray[Any] | None:
    """An array or a tensor as an array; None of anything else."""
    if hasattr(target, "detach"):
        target = target.detach().cpu()
        try:
            return target.numpy()
        except TypeError:  # of a kind that NumPy does not have, such as bfloat16
            return target.float().numpy()
    return np.asarray(target) if isinstance(target, (np.ndarray, np.generic)) else None


def _refused(kind: TargetKind, where: str, target: Any) -> PoolsearchError:
    shape = getattr(target, "shape", None)
    of = f" of shape {tuple(shape)}" if shape is not None else ""
    shown = " ".join(str(target)[:60].split())
    return PoolsearchError(f"{where} has the target {shown} ({type(target).__name__}{of}). Give {_ALLOWED[kind]}.")
