"""What an exported file makes of an image file is what the network saw of it."""

import numpy as np
import pytest
import torch
from PIL import Image

from poolsearch.data.augment import central_part, centre, normalise
from poolsearch.data.decode import decode
from poolsearch.data.form import Form
from poolsearch.exporting.builtin_code import builtin_code
from poolsearch.exporting.model_card import features_of
from poolsearch.image_size import ImageSize
from poolsearch.nets.build import NetSpec, build
from poolsearch.value_range import ValueRange


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
@pytest.mark.parametrize(
    ("stored", "size", "fit"),
    [(32, 32, "crop"), (64, 56, "crop"), (64, 32, "crop"), ("24x48", "24x48", "crop"), ("40x72", "24x48", "crop"),
     ("24x48", "24x48", "squeeze"), ("48x24", "48x24", "pad")],
)  # fmt: skip
def test_an_image_is_prepared_as_in_training(kind, stored, size, fit, tmp_path, facts, run_code):
    image, ending = _image(kind, np.random.default_rng(0))
    path, exif = tmp_path / f"image.{ending}", Image.Exif()
    exif[274] = 6 if kind == "turned" else 1  # the orientation
    image.save(path, exif=exif)
    stored, size = ImageSize.of(stored), ImageSize.of(size)
    spec = NetSpec("cifar-resnet20", 3, 2, image_size=size)
    net = build(spec)
    placement = net.default
    told = facts(spec, placement, stored, central_part(stored, size), fit)
    exported = run_code(builtin_code(told, features_of(spec, placement)), net.state_dict())
    with Image.open(path) as opened:
        x = exported.preprocess(opened)
    decoded = decode(str(path), Form(stored, fit))
    pixels = torch.frombuffer(bytearray(decoded), dtype=torch.uint8).view(1, *stored, 3)
    wanted = normalise(centre(pixels, size), torch.tensor(told.mean), torch.tensor(told.std))
    torch.testing.assert_close(x, wanted, rtol=0, atol=2e-6)  # the same but for the order of two operations
    assert [name for name, _ in sorted(exported.predict(exported.load(), path))] == list(told.classes)


def test_images_of_sixteen_bits_are_refused(facts, run_code):
    spec = NetSpec("cifar-resnet20", 3, 2)
    net = build(spec)
    exported = run_code(builtin_code(facts(spec, net.default), features_of(spec, net.default)), net.state_dict())
    with pytest.raises(ValueError, match="8 bits"):
        exported.preprocess(Image.fromarray(np.zeros((40, 40), dtype=np.uint16)))


@pytest.mark.parametrize(
    ("channels", "kind"), [(1, "rgb"), (1, "alpha"), (1, "grey"), (2, "grey"), (4, "alpha"), (4, "rgb"), (3, "array"),
                           (13, "array"), (4, "pages"), (6, "pages"), (3, "pages"), (3, "frames"),
                           (3, "coloured pages")],
)  # fmt: skip
def test_an_image_is_converted_to_the_channels_of_the_network(channels, kind, tmp_path, facts, run_code):
    draw, path = np.random.default_rng(0), tmp_path / "image"
    if kind == "array":
        path = tmp_path / "image.npy"
        np.save(path, draw.integers(0, 256, (40, 50, channels), dtype=np.uint8))
    elif kind in ("pages", "coloured pages", "frames"):
        shape = (40, 50, 3) if kind == "coloured pages" else (40, 50)
        pages = [Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)) for _ in range(channels)]
        pages[0].save(path, "GIF" if kind == "frames" else "TIFF", save_all=True, append_images=pages[1:])
    else:
        _image(kind, draw)[0].save(path, "PNG")
    spec, stored = NetSpec("cifar-resnet20", 3, 2, channels=channels), ImageSize.of(32)
    net = build(spec)
    told = facts(spec, net.default, stored, stored)
    exported = run_code(builtin_code(told, features_of(spec, net.default)), net.state_dict())
    decoded = decode(str(path), Form(stored, channels=channels))
    pixels = torch.frombuffer(bytearray(decoded), dtype=torch.uint8).view(1, *stored, channels)
    wanted = normalise(pixels, torch.tensor(told.mean), torch.tensor(told.std))
    opened = np.load(path) if kind == "array" else Image.open(path)
    torch.testing.assert_close(exported.preprocess(opened), wanted, rtol=0, atol=2e-6)
    assert len(exported.predict(exported.load(), path)) == 3


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_arrays_are_converted_to_the_channels_of_the_network(channels, facts, run_code):
    spec, stored, draw = NetSpec("cifar-resnet20", 3, 2, channels=channels), ImageSize.of(32), np.random.default_rng(0)
    net = build(spec)
    told = facts(spec, net.default, stored, stored)
    exported = run_code(builtin_code(told, features_of(spec, net.default)), net.state_dict())
    bytes_ = [draw.integers(0, 256, (40, 50, has), dtype=np.uint8) for has in (1, 2, 3, 4)]
    for array in (*bytes_, bytes_[0][..., 0], bytes_[0] > 99, bytes_[0][..., 0] > 99, bytes_[2] > 99):
        decoded = decode(array, Form(stored, channels=channels))
        pixels = torch.frombuffer(bytearray(decoded), dtype=torch.uint8).view(1, *stored, channels)
        wanted = normalise(pixels, torch.tensor(told.mean), torch.tensor(told.std))
        torch.testing.assert_close(exported.preprocess(array), wanted, rtol=0, atol=2e-6)
    for shape in ((40, 50, 7), (40,)):
        with pytest.raises(ValueError, match=rf"give an array of shape \(H, W, {channels}\)"):
            exported.preprocess(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(("channels", "kind"), [(1, "PNG"), (3, "TIFF"), (2, "pages"), (1, "array")])
def test_images_of_more_than_8_bits_are_seen_in_the_range_of_the_run(channels, kind, tmp_path, facts, run_code):
    draw, path = np.random.default_rng(0), tmp_path / ("image.npy" if kind == "array" else "image")
    pages = [Image.fromarray(draw.integers(0, 5000, (40, 50), dtype=np.uint16)) for _ in range(2)]
    if kind == "array":
        np.save(path, np.asarray(pages[0]))
    elif kind == "pages":
        pages[0].save(path, "TIFF", save_all=True, append_images=pages[1:])
    else:
        pages[0].save(path, kind)
    spec, stored, values = NetSpec("cifar-resnet20", 3, 2, channels=channels), ImageSize.of(32), ValueRange(0, 4095)
    net = build(spec)
    told = facts(spec, net.default, stored, stored, values=values)
    exported = run_code(builtin_code(told, features_of(spec, net.default)), net.state_dict())
    decoded = decode(str(path), Form(stored, channels=channels, values=values, clip=True))
    pixels = torch.frombuffer(bytearray(decoded), dtype=torch.uint8).view(1, *stored, channels)
    wanted = normalise(pixels, torch.tensor(told.mean), torch.tensor(told.std))
    opened = np.load(path) if kind == "array" else Image.open(path)
    torch.testing.assert_close(exported.preprocess(opened), wanted, rtol=0, atol=2e-6)
