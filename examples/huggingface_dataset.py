"""Where should a network downsample on a data set of Hugging Face?

python examples/huggingface_dataset.py                        the digits of scikit-learn, as such a data set
python examples/huggingface_dataset.py ylecun/mnist           one of the Hub
python examples/huggingface_dataset.py my_photos              a folder, as its ImageFolder
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import datasets
from PIL import Image
from sklearn.datasets import load_digits

import poolsearch


def digits() -> datasets.DatasetDict:
    """A data set of images with class names, divided in two."""
    found = load_digits()
    images = [Image.fromarray((image * 15.9).astype("uint8")) for image in found.images]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list("0123456789"))})
    whole = datasets.Dataset.from_dict({"image": images, "label": found.target.tolist()}, features=features)
    return whole.train_test_split(0.2, stratify_by_column="label", seed=0)


def search(data: datasets.DatasetDict, out: Path | None = None, **settings: Any) -> poolsearch.Result:
    """Search on its divisions: what is called train, validation and test.

    Columns are found by their names: image, img and the like; label, labels and the like. Others are renamed before:
    ``data.rename_columns({"photo": "image", "species": "label"})``. Images are varied by poolsearch
    (``augment="crop-flip"``), so the data set itself should not be.
    """
    parts = {"train": data["train"], "val": data.get("validation"), "test": data.get("test")}
    return poolsearch.run(out, **parts, **settings)


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else None
    if name is None:
        data = digits()
    elif Path(name).is_dir():
        data = datasets.load_dataset("imagefolder", data_dir=name)
    else:
        data = datasets.load_dataset(name)
    result = search(data, net="cifar-resnet20", retrain_epochs=12)
    print(result.ranking)
    print(result.verdict)


if __name__ == "__main__":
    main()
