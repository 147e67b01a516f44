"""torchvision's classification data sets by name: how to construct their parts, and how to list them undecoded."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torchvision import datasets as tv

from poolsearch.data.checks import as_labels
from poolsearch.data.folder import class_pieces
from poolsearch.data.items import PARTS, ArrayItems, FileItems, LabelledItems, Source, make_source, stamp
from poolsearch.errors import PoolsearchError

Construct = Callable[[Path, bool], Any]
"""``construct(root, download)`` makes one part of a data set."""

Read = Callable[[Any, str], tuple[list[LabelledItems], list[str] | None]]
"""``read(dataset, part)`` lists it without decoding; class names None: take the data set's own."""


@dataclass(frozen=True)
class TorchvisionSet:
    """How one data set is had: its parts, how to list it, and what to put where when it cannot be downloaded."""

    parts: Mapping[str, Construct]
    read: Read
    files: str
    flippable: bool = True
    can_download: bool = True


def torchvision_source(name: str, root: Path) -> Source:
    """A data set of torchvision; downloaded when it is missing and can be had.

    Args:
        name: a key of :data:`SETS`.
        root: the folder that it lies in, or is put into.

    Returns:
        The data set with the parts that torchvision has of it, not yet decoded.

    Raises:
        PoolsearchError: it is not there and cannot be downloaded; the message says which files to put where.
    """
    entry = SETS[name]
    pieces: list[LabelledItems] = []
    class_names: list[str] | None = None
    for part in PARTS:
        if part in entry.parts:
            read, class_names = _construct_and_read(name, entry, part, root)
            pieces.extend(read)
    names = class_names or [str(c) for c in range(max(int(piece.label_N.max(initial=-1)) for piece in pieces) + 1)]
    return make_source(name, pieces, names, entry.flippable)


def _construct_and_read(
    name: str, entry: TorchvisionSet, part: str, root: Path
) -> tuple[list[LabelledItems], list[str]]:
    try:
        dataset = _construct(entry, part, root)
        pieces, class_names = entry.read(dataset, part)
    except PoolsearchError:
        raise
    except Exception as error:  # torchvision, its downloads and its parsers raise anything
        how = "It could not be downloaded" if entry.can_download else "torchvision cannot download it"
        raise PoolsearchError(
            f"the {part} part of {name} is not in {root}, or not whole. {how} ({type(error).__name__}: "
            f"{_first_line(error)}). Put {entry.files} there, or give the path of an image folder, a folder of parquet "
            "files or an .npz instead."
        ) from error
    return pieces, class_names if class_names is not None else _own_names(dataset)


def _construct(entry: TorchvisionSet, part: str, root: Path) -> Any:
    root.mkdir(parents=True, exist_ok=True)
    construct = entry.parts[part]
    try:
        return construct(root, False)
    except Exception:  # not there, or not whole: each data set says so in its own way; then it is downloaded
        if not entry.can_download:
            raise
    with contextlib.redirect_stdout(sys.stderr):  # torchvision prints; our standard output is for results
        return construct(root, True)


def _own_names(dataset: Any) -> list[str]:
    """Class names; where a class has several (ImageNet), the first."""
    names = getattr(dataset, "classes", None) or []
    return [name if isinstance(name, str) else name[0] for name in names]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


def _arrays(dataset: Any, part: str) -> tuple[list[LabelledItems], None]:
    """Sets that lie in memory as ``data``: NHW, NHWC, or NCHW."""
    pixels = np.asarray(dataset.data)
    if pixels.ndim == 4 and pixels.shape[1] == 3 and pixels.shape[3] != 3:
        pixels = pixels.transpose(0, 2, 3, 1)
    labels = np.asarray(dataset.targets if hasattr(dataset, "targets") else dataset.labels)
    if labels.ndim == 2:  # QMNIST: the first of its columns is the digit
        labels = labels[:, 0]
    return [LabelledItems(part, ArrayItems(pixels, part), as_labels(part, labels))], None


def _paths(dataset: Any, part: str) -> tuple[list[LabelledItems], None]:
    """Sets made with ``loader=_undecoded``: their items are (path, label)."""
    # sorted, because some list in the order of the file system
    pairs = sorted((dataset[index] for index in range(len(dataset))), key=lambda pair: str(pair[0]))
    return _files(dataset, pairs, part)


def _samples(dataset: Any, part: str) -> tuple[list[LabelledItems], None]:
    """GTSRB takes no loader and has no public list of its files."""
    return _files(dataset, dataset._samples, part)


def _pets(dataset: Any, part: str) -> tuple[list[LabelledItems], None]:
    """Oxford-IIIT Pet takes no loader and has no public list of its files."""
    return _files(dataset, list(zip(dataset._images, dataset._labels, strict=True)), part)


def _files(dataset: Any, pairs: list[tuple[Any, int]], part: str) -> tuple[list[LabelledItems], None]:
    label_N = np.array([label for _, label in pairs], dtype=np.int64)
    return [LabelledItems(part, FileItems([path for path, _ in pairs], Path(dataset.root)), label_N)], None


def _caltech(folder: str, clutter: str) -> Read:
    """Caltech's sets are folders of classes; one of them is clutter, no class."""

    def read(dataset: Any, part: str) -> tuple[list[LabelledItems], list[str]]:
        return class_pieces(Path(dataset.root) / folder, part, leave_out=(clutter,))

    return read


def _pcam(dataset: Any, part: str) -> tuple[list[LabelledItems], list[str]]:
    """PCAM opens its HDF5 files anew for every image; opened once they are read many times faster."""
    split: dict[str, tuple[str, ...]] = dataset._FILES[part]
    base: Path = dataset._base_folder
    images, targets = base / split["images"][0], base / split["targets"][0]
    pixels = dataset.h5py.File(images)["x"]
    labels = np.asarray(dataset.h5py.File(targets)["y"]).reshape(-1)
    items = ArrayItems(pixels, images.name, f"{stamp(images)} {stamp(targets)}")
    return [LabelledItems(part, items, as_labels(targets.name, labels))], ["normal", "tumour"]


def _undecoded(path: Any) -> Any:
    """In place of torchvision's image loader: the path itself, so that listing decodes nothing."""
    return path


def _train_flag(make: Callable[..., Any], **options: Any) -> dict[str, Construct]:
    """Parts chosen with ``train=True`` or ``False``."""
    return {
        "train": lambda root, download: make(root, train=True, download=download, **options),
        "test": lambda root, download: make(root, train=False, download=download, **options),
    }


def _split(make: Callable[..., Any], options: Mapping[str, Any] | None = None, **names: str) -> dict[str, Construct]:
    """Parts chosen with ``split=NAME``; ``names`` says what each part is called there."""

    def part(split: str) -> Construct:
        return lambda root, download: make(root, split=split, download=download, **(options or {}))

    return {ours: part(theirs) for ours, theirs in names.items()}


def _whole(make: Callable[..., Any], **options: Any) -> dict[str, Construct]:
    """Sets that are not divided."""
    return {"train": lambda root, download: make(root, download=download, **options)}


def _by_hand(make: Callable[..., Any], folder: str = "", **names: str) -> dict[str, Construct]:
    """Sets that torchvision does not download; ``folder`` below the root keeps a set with common file names apart."""

    def part(split: str) -> Construct:
        return lambda root, _: make(root / folder, split=split, loader=_undecoded)

    return {ours: part(theirs) for ours, theirs in names.items()}


_LAZY = {"loader": _undecoded}
_LISTS = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte"

SETS: dict[str, TorchvisionSet] = {
    "caltech101": TorchvisionSet(
        _whole(tv.Caltech101),
        _caltech("101_ObjectCategories", "BACKGROUND_Google"),
        "caltech101/101_ObjectCategories/ and caltech101/Annotations/",
    ),
    "caltech256": TorchvisionSet(
        _whole(tv.Caltech256), _caltech("256_ObjectCategories", "257.clutter"), "caltech256/256_ObjectCategories/"
    ),
    "cifar10": TorchvisionSet(_train_flag(tv.CIFAR10), _arrays, "cifar-10-python.tar.gz"),
    "cifar100": TorchvisionSet(_train_flag(tv.CIFAR100), _arrays, "cifar-100-python.tar.gz"),
    "country211": TorchvisionSet(
        _split(tv.Country211, _LAZY, train="train", val="valid", test="test"),
        _paths,
        "country211/train, valid and test",
    ),
    "dtd": TorchvisionSet(
        _split(tv.DTD, _LAZY, train="train", val="val", test="test"), _paths, "dtd/dtd/images/ and dtd/dtd/labels/"
    ),
    "emnist": TorchvisionSet(
        _train_flag(tv.EMNIST, split="balanced"),
        _arrays,
        "emnist-balanced-{train,test}-{images-idx3,labels-idx1}-ubyte into EMNIST/raw/",
        flippable=False,
    ),
    "eurosat": TorchvisionSet(_whole(tv.EuroSAT, loader=_undecoded), _paths, "eurosat/2750/CLASS/*.jpg"),
    "fashionmnist": TorchvisionSet(
        _train_flag(tv.FashionMNIST), _arrays, f"{_LISTS} into FashionMNIST/raw/", flippable=True
    ),
    "fgvcaircraft": TorchvisionSet(
        _split(tv.FGVCAircraft, _LAZY, train="train", val="val", test="test"), _paths, "fgvc-aircraft-2013b/data/"
    ),
    "flowers102": TorchvisionSet(
        _split(tv.Flowers102, _LAZY, train="train", val="val", test="test"),
        _paths,
        "flowers-102/jpg/, flowers-102/imagelabels.mat and flowers-102/setid.mat",
    ),
    "food101": TorchvisionSet(
        _split(tv.Food101, _LAZY, train="train", test="test"), _paths, "food-101/images/ and food-101/meta/"
    ),
    "gtsrb": TorchvisionSet(
        _split(tv.GTSRB, train="train", test="test"),
        _samples,
        "gtsrb/GTSRB/Training/, gtsrb/GTSRB/Final_Test/Images/ and gtsrb/GT-final_test.csv",
        flippable=False,
    ),
    "imagenet": TorchvisionSet(
        _by_hand(tv.ImageNet, "imagenet", train="train", val="val"),
        _paths,
        "ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz (from image-net.org, after "
        "registering) into imagenet/",
        can_download=False,
    ),
    "imagenette": TorchvisionSet(
        _split(tv.Imagenette, _LAZY, train="train", val="val"), _paths, "imagenette2/train/ and imagenette2/val/"
    ),
    "kmnist": TorchvisionSet(_train_flag(tv.KMNIST), _arrays, f"{_LISTS} into KMNIST/raw/", flippable=False),
    "mnist": TorchvisionSet(_train_flag(tv.MNIST), _arrays, f"{_LISTS} into MNIST/raw/", flippable=False),
    "oxfordiiitpet": TorchvisionSet(
        _split(tv.OxfordIIITPet, train="trainval", test="test"),
        _pets,
        "oxford-iiit-pet/images/ and oxford-iiit-pet/annotations/",
    ),
    "pcam": TorchvisionSet(
        _split(tv.PCAM, train="train", val="val", test="test"),
        _pcam,
        "pcam/camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5 (and install h5py)",
    ),
    "places365": TorchvisionSet(
        _split(tv.Places365, {"small": True, **_LAZY}, train="train-standard", val="val"),
        _paths,
        "train_256_places365standard.tar, val_256.tar and filelist_places365-standard.tar, unpacked",
    ),
    "qmnist": TorchvisionSet(
        _train_flag(tv.QMNIST),
        _arrays,
        "qmnist-{train,test}-images-idx3-ubyte and qmnist-{train,test}-labels-idx2-int into QMNIST/raw/",
        flippable=False,
    ),
    "renderedsst2": TorchvisionSet(
        _split(tv.RenderedSST2, _LAZY, train="train", val="val", test="test"),
        _paths,
        "rendered-sst2/train, valid and test",
        flippable=False,
    ),
    "semeion": TorchvisionSet(_whole(tv.SEMEION), _arrays, "semeion.data", flippable=False),
    "stanfordcars": TorchvisionSet(
        _by_hand(tv.StanfordCars, train="train", test="test"),
        _paths,
        "stanford_cars/cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat",
        can_download=False,
    ),
    "stl10": TorchvisionSet(_split(tv.STL10, train="train", test="test"), _arrays, "stl10_binary.tar.gz"),
    "sun397": TorchvisionSet(_whole(tv.SUN397, loader=_undecoded), _paths, "SUN397/"),
    "svhn": TorchvisionSet(
        _split(tv.SVHN, train="train", test="test"), _arrays, "train_32x32.mat and test_32x32.mat", flippable=False
    ),
    "usps": TorchvisionSet(_train_flag(tv.USPS), _arrays, "usps.bz2 and usps.t.bz2", flippable=False),
}
