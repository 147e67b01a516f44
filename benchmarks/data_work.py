"""(f) Building the cache against decoding alone, and an augmented batch, as a share of a second."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from poolsearch.data import Loader, find_source, make_split, mean_std, open_images
from poolsearch.progress import Silent
from timing import alternate, each, ratio

BATCH = 128


def folder_of_jpegs(root: Path, number: int, side: int) -> Path:
    """Smooth random pictures: noise would decode more slowly than photographs do."""
    draw = np.random.default_rng(0)
    for i in range(number):
        small = Image.fromarray(draw.integers(0, 256, (max(2, side // 16),) * 2 + (3,), np.uint8))
        path = root / f"class{i % 4}" / f"{i:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small.resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)
    return root


def main(number: int = 4000, rounds: int = 5) -> list[str]:
    """Lines for the report."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder = folder_of_jpegs(root / "images", number, 32)
        raw = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
        caches = iter(range(10**6))

        def build() -> None:
            open_images(find_source(str(folder)), None, root / f"cache{next(caches)}", Silent())

        def decode() -> None:
            for each_ in raw:
                np.asarray(Image.open(io.BytesIO(each_)).convert("RGB"))

        seconds = alternate({"cache": build, "decoding alone": decode}, rounds)
        images = open_images(find_source(str(folder)), None, root / "cache", Silent())
        split = make_split(images.label_N, images.part_N, 0)
        mean_C, std_C = mean_std(images.pixels_NHWC, split.search_train)
        loader = Loader(images, split.search_train, BATCH, 0, "bench", "cpu", 32, "crop-flip", mean_C, std_C)
        steps = iter(range(10**9))
        batches = alternate(
            {f"augmented batch of {BATCH}": lambda: [loader.batch(next(steps)) for _ in range(50)]}, rounds
        )
        return [
            f"{number} JPEGs of 32x32: cache / decoding alone {ratio(seconds, 'cache', 'decoding alone')}; "
            + each(seconds, number, 1e6, "us an image"),
            each(batches, 50),
        ]


if __name__ == "__main__":
    print("\n".join(main()))
