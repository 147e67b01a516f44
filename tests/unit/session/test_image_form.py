"""The form of images that a run begins with, and goes on with."""

import numpy as np
import pytest
from PIL import Image

from poolsearch.progress import SilentProgress
from poolsearch.session.images import image_size_of, images_as_before, images_of, split_of
from poolsearch.session.notes import shape_note, split_notes
from poolsearch.session.trusted import NAMED, FolderPermissions
from poolsearch.settings import Settings


def test_runs_of_older_versions_go_on_with_what_these_did():
    given = Settings.of(data="digits")
    assert images_as_before(given, {}) == given  # a new run
    before = images_as_before(given, {"settings": {"data": {"image_size": None}}}).data
    assert (before.fit, before.channels, before.value_range) == ("crop", 3, "each-file")
    kept = images_as_before(given, {"settings": {"data": {"fit": None, "channels": 1, "value_range": None}}}).data
    assert (kept.fit, kept.channels, kept.value_range) == (None, 1, None)


@pytest.fixture
def settings(tmp_path):
    """Of a data set of arrays with so many channels."""

    def make(stored, **changes):
        np.savez(tmp_path / "set.npz", x=np.zeros((16, 8, 12, stored), np.uint8), y=np.arange(16) % 2)
        return Settings.of(data=str(tmp_path / "set.npz"), cache_dir=str(tmp_path / "cache"), **changes)

    return make


@pytest.mark.parametrize(
    ("channels", "asked", "net", "taken"),
    [(1, "auto", None, 3), (4, "auto", None, 3), (13, "auto", None, 13), (2, "auto", "timm:resnet18", 2),
     (1, 1, None, 1), (3, 1, "resnet18", 1), (4, 4, None, 4)],
)  # fmt: skip
def test_the_channels_of_a_network_that_is_built_for_any_number(settings, channels, asked, net, taken):
    images = images_of(settings(channels, channels=asked, net=net), SilentProgress())
    assert images.channels == taken and images.size == (8, 12)


def test_the_channels_of_a_network_of_a_file(settings, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from torch import nn\ndef make(classes):\n    return nn.Sequential(nn.Conv2d(1, classes, 3))\n")
    given = settings(3, net=f"{file}:make")
    code = FolderPermissions(tmp_path / "run", NAMED, NAMED.named(given)).code(given, SilentProgress())
    assert images_of(given, SilentProgress(), code).channels == 1


def test_what_is_cut_away_is_said(tmp_path):
    for number in range(16):
        folder = tmp_path / "lines" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 8), (number, 0, 0)).save(folder / f"{number}.png")
    given = Settings.of(data=str(tmp_path / "lines"), cache_dir=str(tmp_path / "cache"))
    nothing = {part: {"exact": 0, "near": 0} for part in ("test", "search_val")}
    for changes, size, note, warned in (
        ({}, "8x64", "", False),
        ({"image_size": 8}, "8x8", "cropped (--fit): 88% of their area is cut away", True),
        ({"image_size": 8, "fit": "squeeze"}, "8x8", "squeezed", False),
        ({"image_size": 8, "fit": "pad"}, "8x8", "padded", False),
    ):
        asked = given.changed(**changes)
        images = images_of(asked, SilentProgress())
        seen = image_size_of(asked, images)
        told = shape_note(images, asked.data, seen)
        assert str(seen) == size and told.startswith(f"images are seen at {size} (height x width)") and note in told
        warnings = split_notes(images, split_of(asked, images), asked.data, nothing)[1]
        assert any("88% of their area is cut away" in warning for warning in warnings) == warned
