"""(f) Building the cache against decoding alone on all cores, and the loader's share of a training step."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from poolsearch.data import Augment, Images, Loader, find_source, open_images
from poolsearch.nets.build import NetSpec, build
from poolsearch.progress import SilentProgress
from poolsearch.resources import available_cores
from poolsearch.settings.groups import MachineSettings
from poolsearch.tasks.classification import classification
from poolsearch.train.machine import pick_machine
from poolsearch.train.step import backward, train_step
from timing import Seconds, alternate, each, ratio

DECODER = """
import sys
import numpy as np
from PIL import Image

print(flush=True)
for line in sys.stdin:
    side, *paths = line.rstrip("\\n").split("\\t")
    for path in paths:
        image = Image.open(path).convert("RGB")
        if int(side):
            edge = min(image.size)
            left, top = (image.width - edge) // 2, (image.height - edge) // 2
            box = (left, top, left + edge, top + edge)
            image = image.resize((int(side), int(side)), Image.Resampling.BICUBIC, box=box)
        np.asarray(image)
    print(flush=True)
"""
"""PIL and nothing else: files to RGB arrays, and where a side is given also to the square that is stored."""


def folder_of_jpegs(root: Path, number: int, width: int, height: int) -> Path:
    """Smooth random pictures: noise would decode more slowly than photographs do."""
    draw = np.random.default_rng(0)
    for i in range(number):
        small = Image.fromarray(draw.integers(0, 256, (max(2, height // 16), max(2, width // 16), 3), np.uint8))
        path = root / f"class{i % 4}" / f"{i:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small.resize((width, height), Image.Resampling.BICUBIC).save(path, quality=90)
    return root


@contextmanager
def decoders(number: int) -> Iterator[Callable[[list[Path], int], None]]:
    """Processes that have started already; the function that they are used by deals the files out evenly."""
    with ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started = [
            stack.enter_context(subprocess.Popen([sys.executable, "-c", DECODER], **pipes)) for _ in range(number)
        ]

        def wait() -> None:
            for process in started:
                process.stdout.readline()

        def decode(paths: list[Path], side: int) -> None:
            for i, process in enumerate(started):
                print(side, *paths[i::number], sep="\t", file=process.stdin, flush=True)
            wait()

        wait()
        yield decode


def building(root: Path, number: int, width: int, height: int, rounds: int) -> str:
    """The cache against PIL alone, of one kind of images."""
    folder = folder_of_jpegs(root / f"{width}x{height}", number, width, height)
    paths, caches, cores = sorted(folder.rglob("*.jpg")), count(), available_cores()
    side = open_images(find_source(str(folder)), None, root / "first", SilentProgress()).pixels_NHWC.shape[1]

    def cache() -> None:
        open_images(find_source(str(folder)), None, root / f"{width}-{next(caches)}", SilentProgress())

    with decoders(cores) as decode:
        works = {"cache": cache, "decoding alone": lambda: decode(paths, 0)}
        if side not in (width, height):
            works["decoding and resizing alone"] = lambda: decode(paths, side)
        seconds = alternate(works, rounds)
    ratios = "; ".join(f"cache / {name} {ratio(seconds, 'cache', name)}" for name in list(works)[1:])
    rates = ", ".join(f"{name} {number / statistics.median(s):,.0f} images/s" for name, s in seconds.items())
    return f"{number} JPEGs of {width}x{height} stored at {side}, {cores} processes: {ratios}; {rates}"


def share(net: str, batch: int, stored: int, used: int, augment: Augment, rounds: int, batches: int) -> str:
    """The loader's batches against training steps on tensors that are ready."""
    machine = pick_machine(MachineSettings())
    pixels = np.random.default_rng(0).integers(0, 256, (4 * batch, stored, stored, 3), np.uint8)
    label_N = np.arange(len(pixels)) % 10
    parts = np.full(len(pixels), "train")
    images = Images("random", pixels, label_N, parts, tuple("0123456789"), [], "", True, np.arange(len(pixels)), Path())
    loader = Loader(
        images, np.arange(len(pixels)), batch, 0, "bench", machine.device, used, augment, [0.5] * 3, [0.25] * 3
    )
    network = machine.place(build(NetSpec(net, 10))).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    scaler = torch.amp.GradScaler(machine.device.type, enabled=machine.precision == "fp16")
    (x_BCHW, y_B), task = loader.batch(0), classification("accuracy")
    steps = count()

    def load() -> None:
        for _ in range(batches):
            loader.batch(next(steps))
        machine.wait()

    def train() -> None:
        train_step(
            lambda: backward(task, lambda x: network(x, network.default), x_BCHW, y_B, scaler, machine),
            optimizer,
            scaler,
        )
        machine.wait()

    seconds: Seconds = alternate({"batch": load, "step": train}, rounds)
    seconds["batch"] = [s / batches for s in seconds["batch"]]
    rate = 1 / statistics.median(seconds["batch"])
    return (
        f"{augment} at {used}, {net}, batch {batch}, {machine.device.type}, {machine.precision}: batch / training step "
        f"{ratio(seconds, 'batch', 'step')}; {each(seconds, 1)}; {rate:,.0f} batches/s"
    )


def main(number: int = 20_000, photographs: int = 400, rounds: int = 5, batches: int = 20) -> list[str]:
    """Lines for the report."""
    with tempfile.TemporaryDirectory() as name:
        return [
            building(Path(name), number, 32, 32, rounds),
            building(Path(name), photographs, 500, 375, rounds),
            share("cifar-resnet20", 128, 32, 32, "crop-flip", rounds, batches),
            share("resnet18", 32, 256, 224, "resized-crop-flip", rounds, batches),
        ]


if __name__ == "__main__":
    print("\n".join(main()))
