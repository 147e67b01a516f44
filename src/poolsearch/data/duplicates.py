"""Images that occur twice, on both sides of a boundary: exact copies, and near ones as people see them. Pure NumPy.

Copies have equal digests. Two images are near duplicates if at most :data:`MOST_BITS` bits of their looks differ, and
if their colours, averaged to 16 x 16 pixels and less the mean of each channel, correlate by :data:`LEAST_CORRELATION`
at least. The thresholds are chosen for few false alarms (docs/experiments.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from poolsearch.data.cache import Images
from poolsearch.data.image_hash import LEAST_SIDE, Bits, averages
from poolsearch.data.split import Split
from poolsearch.storage.files import write_json
from poolsearch.storage.run_dir import RunDir

Ints = npt.NDArray[np.int64]

MOST_BITS = 6
"""So few that at least two of the eight bytes are equal, which is how pairs are found."""

LEAST_CORRELATION = 0.9

KINDS = EXACT, NEAR = "exact", "near"

_THUMB = 16
_BYTES = 4 << 20  # of pixels that are looked at at once
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1)


@dataclass(frozen=True)
class Duplicate:
    """An image and the one on the other side that it is a copy of, by their indices; the nearest, where there are more.

    ``bits`` of the look differ (0 to 64); ``correlation`` is that of the colours.
    """

    index: int
    of: int
    kind: str
    bits: int
    correlation: float


def write_duplicates(files: RunDir, images: Images, split: Split) -> dict[str, dict[str, int]]:
    """Write ``duplicates.json``: copies on two sides of a boundary. Nothing is removed.

    Looked for are test images that are copies of training images, and search-val images that are copies of search-train
    images.

    Args:
        files: paths of the run.
        images: all images.
        split: which of them are for what.

    Returns:
        How many there are of each kind: {"test": {"exact": n, "near": n}, "search_val": {"exact": n, "near": n}}.
    """
    found = {
        "test": duplicates(images, split.test, split.train_all),
        "search_val": duplicates(images, split.search_val, split.search_train),
    }
    class_N = images.class_N
    write_json(files.duplicates, {
        part: [
            {
                "kind": copy.kind, "index": copy.index, "file": images.files[copy.index],
                "class": class_N[copy.index], "of": copy.of, "of_file": images.files[copy.of],
                "of_class": class_N[copy.of], "bits": copy.bits, "correlation": copy.correlation,
            }
            for copy in copies
        ]
        for part, copies in found.items()
    })  # fmt: skip
    return {part: {kind: sum(c.kind == kind for c in copies) for kind in KINDS} for part, copies in found.items()}


def duplicates(images: Images, others: Ints, of: Ints) -> list[Duplicate]:
    """Which of the images ``others`` are copies of one of the images ``of``.

    The work grows with the number of images and of pairs found, not with the number of all pairs.

    Args:
        images: all images.
        others, of: indices of images, (N,) and (M,).

    Returns:
        Each copy once, with the nearest image that it is a copy of; in the order of the copies' indices.
    """
    exact = _exact(images.print_N2[:, 0], others, of)
    found = [Duplicate(int(i), int(j), EXACT, 0, 1.0) for i, j in exact]
    if min(images.pixels_NHWC.shape[1:3]) >= LEAST_SIDE:
        found += _near(images, np.setdiff1d(others, exact[:, 0]), of)
    return sorted(found, key=lambda duplicate: duplicate.index)


def _exact(print_N: Bits, others: Ints, of: Ints) -> Ints:
    """(other, of) of images with equal prints, the first that there is."""
    value, first = np.unique(print_N[of], return_index=True)
    place = np.minimum(np.searchsorted(value, print_N[others]), len(value) - 1)
    equal = value[place] == print_N[others]
    return np.stack([others[equal], of[first[place[equal]]]], 1)


def _near(images: Images, others: Ints, of: Ints) -> list[Duplicate]:
    look_N = images.print_N2[:, 1]
    # one image of each look stands for all of them, so that a thousand blank ones are not a million pairs
    look, first = np.unique(look_N[of], return_index=True)
    other_look, which = np.unique(look_N[others], return_inverse=True)
    close = _close(other_look, look)
    place, pair = _joined(which, close[:, 0]).T
    i, j = others[place], of[first[close[pair, 1]]]
    correlation = _correlations(images, i, j)
    order = np.lexsort((-correlation, i))
    order = order[correlation[order] >= LEAST_CORRELATION]
    order = order[np.unique(i[order], return_index=True)[1]]  # the highest of each image
    bits = _differing(look_N[i], look_N[j])
    return [Duplicate(int(i[k]), int(j[k]), NEAR, int(bits[k]), float(correlation[k])) for k in order]


def _close(a_N: Bits, b_M: Bits) -> Ints:
    """(place in a, place in b) of all pairs of which at most :data:`MOST_BITS` bits differ."""
    found = [np.empty((0, 2), np.int64)]
    bytes_a, bytes_b = (
        np.ascontiguousarray(bits).view(np.uint8).reshape(-1, 8).astype(np.uint32) for bits in (a_N, b_M)
    )
    for one, two in combinations(range(8), 2):
        pairs = _joined(bytes_a[:, one] << 8 | bytes_a[:, two], bytes_b[:, one] << 8 | bytes_b[:, two])
        found.append(pairs[_differing(a_N[pairs[:, 0]], b_M[pairs[:, 1]]) <= MOST_BITS])
    return np.unique(np.concatenate(found), axis=0)


def _joined(a_N: npt.NDArray[Any], b_M: npt.NDArray[Any]) -> Ints:
    """(place in a, place in b) of all pairs with equal values."""
    order = np.argsort(b_M, kind="stable")
    low, high = (np.searchsorted(b_M[order], a_N, side) for side in ("left", "right"))
    count = high - low
    i = np.repeat(np.arange(len(a_N)), count)
    offset = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
    return np.stack([i, order[np.repeat(low, count) + offset]], 1)


def _differing(a_N: Bits, b_N: Bits) -> Ints:
    """How many bits differ."""
    return _ONES[np.ascontiguousarray(a_N ^ b_N).view(np.uint8).reshape(-1, 8)].sum(1, dtype=np.int64)


def _correlations(images: Images, i: Ints, j: Ints) -> npt.NDArray[np.float64]:
    """Of the colours of the images i and j, pair by pair; 0 where one of the two has a single colour."""
    some = max(1, _BYTES // int(np.prod(images.pixels_NHWC.shape[1:])))
    found = [np.empty(0)]
    for at in range(0, len(i), some):
        one, other = (_thumbs(images.pixels_NHWC[side[at : at + some]]) for side in (i, j))
        size = np.sqrt((one**2).sum(1) * (other**2).sum(1))
        found.append((one * other).sum(1) / np.maximum(size, 1))
    return np.concatenate(found)


def _thumbs(pixels_NHWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """The colours of each image, averaged to 16 x 16 pixels and less the mean of each channel, as a vector."""
    height, width = pixels_NHWC.shape[1:3]
    thumb_NCHW = averages(height, _THUMB) @ pixels_NHWC.transpose(0, 3, 1, 2) @ averages(width, _THUMB).T
    thumb_NCHW -= thumb_NCHW.mean((2, 3), keepdims=True)
    return thumb_NCHW.reshape(len(thumb_NCHW), -1).astype(np.float64)
