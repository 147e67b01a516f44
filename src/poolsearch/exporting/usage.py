"""The parts of an exported file that are the same for every network: constants, images in, classes out."""

from __future__ import annotations

import inspect
import pprint
from collections.abc import Callable, Sequence
from typing import Any

from poolsearch.exporting.model_card import Feature, ModelCard, reductions

_WIDTH = 118


def source(*parts: Callable[..., Any]) -> str:
    """The code of classes and functions, with two lines between them.

    Args:
        parts: defined in files that lie on the disk.

    Returns:
        Their source as it stands there, comments and docstrings included.
    """
    return "\n\n".join(inspect.getsource(part) for part in parts)


def literal(value: Any) -> str:
    """A value as Python.

    Args:
        value: numbers, texts, and lists, tuples and dicts of them.

    Returns:
        An expression, over several lines where it is long.
    """
    return pprint.pformat(value, width=_WIDTH, compact=True, sort_dicts=False)


def quoted(text: str) -> str:
    """A text as a Python string literal, which holds it whatever is in it.

    Args:
        text: any, such as a name that the user gave.

    Returns:
        In double quotes where it is plain, else as ``repr`` writes it.
    """
    plain = text.isprintable() and not {'"', "\\"} & {*text}
    return f'"{text}"' if plain else repr(text)


def header_code(facts: ModelCard, network: str, imports: Sequence[str]) -> str:
    """The beginning of an exported file: docstring, imports and constants.

    Names are in constants only: whatever is in them, they are never code.

    Args:
        facts: what the constants say.
        network: how the file has the network, in words of ours.
        imports: import lines beside those that every file has.

    Returns:
        Lines of code, ending with those of ``CLASSES``.
    """
    plain = {"from __future__ import annotations"}
    standard = {"import sys", "from pathlib import Path"} | {i for i in imports if i in _STANDARD}
    others = {
        "import numpy as np", "import torch", "from PIL import Image, ImageOps",
        "from safetensors.torch import load_file", "from torch import Tensor, nn",
    } | {*imports} - standard  # fmt: skip
    groups = ("\n".join(sorted(lines, key=_import_order)) for lines in (plain, standard, others))
    return f'''"""A trained network: {network}

    python model.py photo.jpg ...                           the class of each image
    from model import load, predict; predict(load(), "photo.jpg")
    from model import Backbone, load; Backbone(load())(x)   the last map of each resolution, for detection and the like

Needs torch, safetensors, pillow{_libraries(imports)}; poolsearch, which wrote this file, is not needed.
"""

{chr(10).join(f"{group}{chr(10)}" for group in groups)}
WEIGHTS = Path(__file__).with_name("model.safetensors")

# The network, where it downsamples (blocks per resolution), the run and which of its trainings this is, what wrote it
NETWORK = {quoted(facts.name)}
PLACEMENT = {quoted(facts.placement.shown)}
RUN = {quoted(facts.run)}
SEED = {facts.seed}
MADE_BY = {quoted(facts.maker)}

# Images: the centre square at STORED pixels a side, of that the central SIZE, normalised channel by channel
{_sizes(facts)}
MEAN = {literal(tuple(facts.mean))}
STD = {literal(tuple(facts.std))}
CLASSES = {literal(list(facts.classes))}
'''


_STANDARD = ("import copy", "import operator", "import types")


def _import_order(line: str) -> tuple[bool, str]:
    return line.startswith("from"), line.lower()


def _libraries(imports: Sequence[str]) -> str:
    names = {line.split()[1].partition(".")[0] for line in imports}
    return "".join(f", {name}" for name in ("timm", "torchvision") if name in names)


def _sizes(facts: ModelCard) -> str:
    crop = f"\nCROP = {facts.crop}  # side of the central part, which is resized to SIZE" if _resized(facts) else ""
    return f"SIZE = {facts.spec.image_size}\nSTORED = {facts.stored}{crop}"


def _resized(facts: ModelCard) -> bool:
    return facts.crop != facts.spec.image_size


def feature_table(features: Sequence[Feature], modules: Sequence[str]) -> str:
    """What a backbone gives, in the form of timm's ``feature_info``.

    Args:
        features: the maps, from the first block to the last.
        modules: for each the dotted name of the submodule that makes it.

    Returns:
        Code that defines ``FEATURES``, a list of dicts.
    """
    rows = "\n".join(
        f'    {{"num_chs": {feature.channels}, "reduction": {reduction}, "module": {quoted(module)}}},'
        for feature, reduction, module in zip(features, reductions(features), modules, strict=True)
    )
    return f"""# The last map of each resolution: its channels, how many times smaller than the image, and what makes it
FEATURES = [
{rows}
]
"""


_BACKBONE = '''class Backbone(nn.Module):
    """The last map of each resolution, from the largest to the smallest: a list, as timm's features_only gives."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.feature_info = FEATURES
        self.channels = [info["num_chs"] for info in FEATURES]
        self.strides = [info["reduction"] for info in FEATURES]
'''
BACKBONE = f"""{_BACKBONE}
    def forward(self, x: Tensor) -> list[Tensor]:
        return self.net.features(x)
"""

HOOKED_BACKBONE = f"""{_BACKBONE}        self._maps: list[Tensor] = []
        for info in FEATURES:
            net.get_submodule(info["module"]).register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._maps.append(output.clone())  # the next layer may write into it

    def forward(self, x: Tensor) -> list[Tensor]:
        self._maps = []
        self.net(x)
        return self._maps
"""


def inference_code(facts: ModelCard) -> str:
    """The end of an exported file: from an image to the network's input, from logits to class names, and the program.

    Args:
        facts: says how images are cropped and resized.

    Returns:
        Code that defines ``preprocess`` and ``predict``, and runs on the files named on the command line.
    """
    return f'''def preprocess(image: Image.Image) -> Tensor:
    """An image as the network saw those it was trained on: (1, 3, SIZE, SIZE)."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        raise ValueError("give an image of 8 bits per channel")
    if image.format in ("JPEG", "MPO") and min(image.size) >= 4 * STORED:
        image.draft(None, (2 * STORED, 2 * STORED))  # decode large photographs at a part of their size
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    side = min(image.size)
    left, upper = (image.width - side) // 2, (image.height - side) // 2
    square = (left, upper, left + side, upper + side)
    image = image.resize((STORED, STORED), Image.Resampling.BICUBIC, box=square)
{_cropping(facts)}    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (x / 255 - mean) / std


@torch.no_grad()
def predict(net: nn.Module, path: str | Path) -> list[tuple[str, float]]:
    """The classes of an image file with their probabilities, the most probable first."""
    with Image.open(path) as image:
        x = preprocess(image)
    probability = net(x.to(next(net.parameters()).device))[0].softmax(0)
    return [(CLASSES[i], float(probability[i])) for i in probability.argsort(descending=True).tolist()]


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may not have all characters
    net = load()
    for path in sys.argv[1:]:
        name, probability = predict(net, path)[0]
        print(f"{{path}}: {{name if name.isprintable() else ascii(name)}} ({{probability:.1%}})")
    if len(sys.argv) == 1:
        print(net)
'''


_TENSOR = "    x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()\n"


def _cropping(facts: ModelCard) -> str:
    part = "CROP" if _resized(facts) else "SIZE"
    crop = f"    edge = (STORED - {part}) // 2\n    image = image.crop((edge, edge, edge + {part}, edge + {part}))\n"
    lines = (crop if facts.crop != facts.stored else "") + _TENSOR
    if not _resized(facts):
        return lines
    resize = 'nn.functional.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True)'
    return f"{lines}    x = {resize}.round().clamp(0, 255)\n"
