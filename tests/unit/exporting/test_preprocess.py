"""What an exported file makes of an image file is what the network saw of it."""

import numpy as np
import pytest
import torch
from PIL import Image

from poolsearch.data.augment import CENTRAL, centre, normalise
from poolsearch.data.decode import decode
from poolsearch.exporting.builtin_code import builtin_code
from poolsearch.exporting.model_card import features_of
from poolsearch.nets.build import NetSpec, build


def _image(kind, draw):
    pixels = draw.integers(0, 256, (90, 70, 4), dtype=np.uint8)
    match kind:
        case "alpha":
            return Image.fromarray(pixels, "RGBA"), "png"
        case "grey":
            return Image.fromarray(pixels[..., 0]), "png"
        case "palette":
            return Image.fromarray(pixels[..., :3]).quantize(32), "png"
        case "large":
            return Image.fromarray(pixels[..., :3]).resize((640, 500)), "jpg"
        case _:
            return Image.fromarray(pixels[..., :3]), "png"


@pytest.mark.parametrize("kind", ["rgb", "alpha", "grey", "palette", "large", "turned"])
@pytest.mark.parametrize(("stored", "size"), [(32, 32), (64, 56), (64, 32)])
def test_an_image_is_prepared_as_in_training(kind, stored, size, tmp_path, facts, run_code):
    image, ending = _image(kind, np.random.default_rng(0))
    path, exif = tmp_path / f"image.{ending}", Image.Exif()
    exif[274] = 6 if kind == "turned" else 1  # the orientation
    image.save(path, exif=exif)
    spec = NetSpec("cifar-resnet20", 3, 2, image_size=size)
    net = build(spec)
    placement = net.default
    told = facts(spec, placement, stored, max(size, round(stored * CENTRAL)))
    exported = run_code(builtin_code(told, features_of(spec, placement)), net.state_dict())
    with Image.open(path) as opened:
        x = exported.preprocess(opened)
    pixels = torch.frombuffer(bytearray(decode(str(path), stored)), dtype=torch.uint8).view(1, stored, stored, 3)
    wanted = normalise(centre(pixels, size), torch.tensor(told.mean), torch.tensor(told.std))
    torch.testing.assert_close(x, wanted, rtol=0, atol=2e-6)  # the same but for the order of two operations
    assert [name for name, _ in sorted(exported.predict(exported.load(), path))] == list(told.classes)


def test_images_of_sixteen_bits_are_refused(facts, run_code):
    spec = NetSpec("cifar-resnet20", 3, 2)
    net = build(spec)
    exported = run_code(builtin_code(facts(spec, net.default), features_of(spec, net.default)), net.state_dict())
    with pytest.raises(ValueError, match="8 bits"):
        exported.preprocess(Image.fromarray(np.zeros((40, 40), dtype=np.uint16)))
