"""Divide a folder of class folders into ``train`` and ``test``; two fifths are for the test, so that it can judge.

python split_folders.py IMAGES OUT

Which image goes where is decided by the SHA-256 of its name alone, so that everybody has the same division.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

TEST_FIFTHS = 2


def split(images: Path, out: Path) -> None:
    """Copy every image to ``out/train/CLASS`` or ``out/test/CLASS``."""
    for folder in sorted(path for path in images.iterdir() if path.is_dir()):
        names = sorted(path.name for path in folder.iterdir())
        names.sort(key=lambda name: hashlib.sha256(f"{folder.name}/{name}".encode()).digest())
        tested = len(names) * TEST_FIFTHS // 5
        for place, name in enumerate(names):
            to = out / ("test" if place < tested else "train") / folder.name
            to.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, to / name)


if __name__ == "__main__":
    split(Path(sys.argv[1]), Path(sys.argv[2]))
