"""The parts of an exported file that are the same for every network: constants, images in, classes out."""

from __future__ import annotations

import inspect
import pprint
from collections.abc import Callable, Sequence
from typing import Any

from poolsearch.exporting.model_card import Feature, ModelCard, reductions
from poolsearch.exporting.task_code import task_code
from poolsearch.image_size import Fit

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
        "import numpy as np", "import torch", f"from PIL import {_pillow(len(facts.mean))}",
        "from safetensors.torch import load_file", "from torch import Tensor, nn",
    } | {*imports} - standard  # fmt: skip
    groups = ("\n".join(sorted(lines, key=_import_order)) for lines in (plain, standard, others))
    return f'''"""A trained network: {network}

    python model.py photo.jpg ...                           {task_code(facts.task).line}
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

# Images: {_how(facts)} (height, width), of that the central SIZE, normalised channel by channel
{_sizes(facts)}
MEAN = {literal(tuple(facts.mean))}
STD = {literal(tuple(facts.std))}
{_range(facts)}CLASSES = {literal(list(facts.classes))}
{_scale(facts)}'''


def _pillow(channels: int) -> str:
    return "Image, ImageOps" if channels == 1 else "Image, ImageOps, ImageSequence"


_STANDARD = ("import copy", "import operator", "import types")


def _range(facts: ModelCard) -> str:
    if facts.values is None:
        return ""
    return f"RANGE = {tuple(facts.values)}  # values of images of more than 8 bits that are black and white\n"


def _scale(facts: ModelCard) -> str:
    if facts.scale is None:
        return ""
    return f"SCALE = {literal(facts.scale)}  # mean and deviation of each value, of the training images\n"


def _import_order(line: str) -> tuple[bool, str]:
    return line.startswith("from"), line.lower()


def _libraries(imports: Sequence[str]) -> str:
    names = {line.split()[1].partition(".")[0] for line in imports}
    return "".join(f", {name}" for name in ("timm", "torchvision") if name in names)


def _sizes(facts: ModelCard) -> str:
    crop = f"\nCROP = {tuple(facts.crop)}  # the central part, which is resized to SIZE" if _resized(facts) else ""
    return f"SIZE = {tuple(facts.spec.size)}\nSTORED = {tuple(facts.stored)}{crop}"


def _resized(facts: ModelCard) -> bool:
    return facts.crop != facts.spec.size


def _how(facts: ModelCard) -> str:
    match facts.fit:
        case "squeeze":
            return "squeezed to STORED"
        case "pad":
            return "resized to fit into STORED, with black around it"
        case "crop":
            return "the largest central part of the shape of STORED, at STORED"


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
        facts: says how images are converted, cropped and resized.

    Returns:
        Code that defines ``preprocess`` and ``predict``, and runs on the files named on the command line.
    """
    return f'''{_GREY[facts.values is not None]}

def parts_of(image: Image.Image | np.ndarray) -> list[Image.Image]:
    """An image, or an array (height, width, channels), as images whose bands are the channels, in order."""
    if isinstance(image, np.ndarray):
        pixels = eight_bits(image)[:, :, None] if image.ndim == 2 else eight_bits(image)
        if pixels.ndim == 3 and pixels.shape[2] == len(MEAN):
            return [Image.fromarray(np.ascontiguousarray(band)) for band in np.moveaxis(pixels, 2, 0)]
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or len(MEAN) > 4:
            raise ValueError(f"give an array of shape (H, W, {{len(MEAN)}}), not {{image.shape}}")
        image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
    if image.format in ("JPEG", "MPO") and min(image.size) >= 4 * max(STORED):
        image.draft(None, (2 * max(STORED), 2 * max(STORED)))  # decode large photographs at a part of their size
{_converted(len(facts.mean))}

def fit_image(image: Image.Image) -> Image.Image:
    """An image of any size as the part of it that the network sees."""
    height, width = STORED
{_FITTING[facts.fit]}{_cropping(facts)}    return image


def preprocess(image: Image.Image | np.ndarray) -> Tensor:
    """An image as the network saw those it was trained on: ({len(facts.mean)}, *SIZE), as a batch of one."""
    pixels = [np.atleast_3d(np.array(fit_image(part))) for part in parts_of(image)]
    x = torch.from_numpy(np.concatenate(pixels, 2)).permute(2, 0, 1)[None].float()
{_resizing(facts)}    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
    return (x / 255 - mean) / std


def read_image(path: str | Path) -> Tensor:
    """An image file, or an array in a .npy file, as :func:`preprocess` makes it."""
    if str(path).endswith(".npy"):
        return preprocess(np.load(path))
    with Image.open(path) as image:
        return preprocess(image)


{task_code(facts.task).code}

if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may not have all characters
    net = load()
    for path in sys.argv[1:]:
        print(f"{{path}}: {{told(predict(net, path))}}")
    if len(sys.argv) == 1:
        print(net)
'''


_UPRIGHT = "    image = ImageOps.exif_transpose(image)\n"
_WIDE = "    image = of_eight_bits(image)\n"
_ON_WHITE = """\
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
"""


def _converted(channels: int) -> str:
    """From an image of any mode to its channels."""
    match channels:
        case 1 | 3:
            mode = "L" if channels == 1 else "RGB"
            pages = "" if channels == 1 else _PAGES
            return f'{pages}{_UPRIGHT}{_WIDE}{_ON_WHITE}    return [image.convert("{mode}")]\n'
        case 2 | 4:
            mode = "LA" if channels == 2 else "RGBA"
            return f'''{_PAGES}{_UPRIGHT}{_WIDE}    if "transparency" in image.info:
        image = image.convert("RGBA")
    if len(image.getbands()) != len(MEAN):
        image = image.convert("{mode}")
    return [*image.split()]
'''
        case _:
            told = "give an array, or a file with a page for each of the channels"
            return f'{_PAGES}    raise ValueError("{told}")\n'


_OF_EIGHT_BITS = '''\


def of_eight_bits(image: Image.Image) -> Image.Image:
    """An image of more than 8 bits as one of 8 bits; any other as it is."""
    wide = image.mode in ("I", "F") or image.mode.startswith("I;16")
    return Image.fromarray(eight_bits(np.asarray(image))) if wide else image
'''

_GREY = {
    True: f'''def eight_bits(values: np.ndarray) -> np.ndarray:
    """Values of more than 8 bits as bytes, RANGE as black and white; bytes as they are; True as white."""
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    if values.dtype == np.uint8:
        return values
    low, high = RANGE
    return np.rint(np.clip((values.astype(np.float64) - low) * (255 / (high - low)), 0, 255)).astype(np.uint8)
{_OF_EIGHT_BITS}''',
    False: f'''def eight_bits(values: np.ndarray) -> np.ndarray:
    """Values of 8 bits, as all had that the network was trained on; True as white."""
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    if values.dtype != np.uint8:
        raise ValueError("give an image of 8 bits per channel")
    return values
{_OF_EIGHT_BITS}''',
}
"""By whether there were images of more than 8 bits."""

_PAGES = """\
    if image.format == "TIFF" and image.n_frames == len(MEAN):  # grey pages of one size are the channels
        pages = [of_eight_bits(page.copy()) for page in ImageSequence.Iterator(image)]
        if all(page.mode in ("1", "L") and page.size == pages[0].size for page in pages):
            return [page.convert("L") for page in pages]
        image.seek(0)
"""

_FITTING: dict[Fit, str] = {
    "crop": """\
    wide = min(image.width, image.height * width / height)
    high = min(image.height, image.width * height / width)
    left, upper = (image.width - wide) // 2, (image.height - high) // 2
    box = (left, upper, left + wide, upper + high)
    image = image.resize((width, height), Image.Resampling.BICUBIC, box=box)
""",
    "squeeze": """\
    image = image.resize((width, height), Image.Resampling.BICUBIC)
""",
    "pad": """\
    factor = min(height / image.height, width / image.width)
    wide = min(width, max(1, round(image.width * factor)))
    high = min(height, max(1, round(image.height * factor)))
    black = Image.new(image.mode, (width, height))
    black.paste(image.resize((wide, high), Image.Resampling.BICUBIC), ((width - wide) // 2, (height - high) // 2))
    image = black
""",
}


def _cropping(facts: ModelCard) -> str:
    if facts.crop == facts.stored:
        return ""
    part = "CROP" if _resized(facts) else "SIZE"
    return (
        f"    left, upper = (width - {part}[1]) // 2, (height - {part}[0]) // 2\n"
        f"    image = image.crop((left, upper, left + {part}[1], upper + {part}[0]))\n"
    )


def _resizing(facts: ModelCard) -> str:
    if not _resized(facts):
        return ""
    resize = 'nn.functional.interpolate(x, SIZE, mode="bilinear", antialias=True)'
    return f"    x = {resize}.round().clamp(0, 255)\n"
