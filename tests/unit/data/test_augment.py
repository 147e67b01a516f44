"""Augmentation against slicing by hand, torchvision's distribution, and statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import RandomResizedCrop

from poolsearch.data import augment
from poolsearch.data.augment import centre, normalise, pad_crop_flip, random_resized_crop_flip
from poolsearch.image_size import ImageSize


def pixels(batch: int = 6, side: int = 8) -> torch.Tensor:
    draw = np.random.default_rng(3)
    return torch.from_numpy(draw.integers(1, 256, (batch, side, side, 3), dtype=np.uint8))


class Fixed:
    """A generator that gives what it is told."""

    def __init__(self, integers: object = None, random: object = None) -> None:
        self._integers, self._random = integers, random

    def integers(self, low: int, high: int, size: object) -> np.ndarray:
        values = np.asarray(self._integers)
        assert values.min() >= low and values.max() < high
        return values

    def random(self, size: object) -> np.ndarray:
        return np.asarray(self._random)


# --- pad, crop, flip -------------------------------------------------------------------------------------------------


def test_no_pad_no_flip_is_the_identity() -> None:
    x = pixels()
    assert torch.equal(pad_crop_flip(x, np.random.default_rng(0), 0, False), x)


def test_crops_equal_slices_by_hand() -> None:
    x = pixels(batch=5)
    top, left = [0, 4, 2, 1, 3], [4, 0, 2, 3, 3]
    out = pad_crop_flip(x, Fixed(integers=[top, left]), 2, False)
    padded = np.pad(x.numpy(), ((0, 0), (2, 2), (2, 2), (0, 0)))
    for i in range(5):
        np.testing.assert_array_equal(out[i].numpy(), padded[i, top[i] : top[i] + 8, left[i] : left[i] + 8])
    assert out.dtype == torch.uint8 and out.is_contiguous()


def test_flip_mirrors_the_chosen_images_only() -> None:
    x = pixels(batch=3)
    out = pad_crop_flip(x, Fixed(integers=np.zeros((2, 3), int), random=[0.1, 0.9, 0.49]), 0, True)
    np.testing.assert_array_equal(out[0].numpy(), x[0].numpy()[:, ::-1])
    assert torch.equal(out[1], x[1])
    np.testing.assert_array_equal(out[2].numpy(), x[2].numpy()[:, ::-1])


def test_offsets_and_flips_are_uniform_and_independent() -> None:
    mark = torch.zeros(20_000, 6, 6, 1, dtype=torch.uint8)
    mark[:, 2, 3] = 1
    out = pad_crop_flip(mark, np.random.default_rng(0), 1, True)
    where = out[..., 0].flatten(1).argmax(1).numpy()
    row, column = where // 6, where % 6
    # rows 1..3 for the offsets 2..0; columns 2..4, mirrored 3..1: 2 and 3 can come both ways
    np.testing.assert_allclose(np.bincount(row, minlength=6)[1:4] / 20_000, [1 / 3] * 3, atol=0.015)
    np.testing.assert_allclose(np.bincount(column, minlength=6)[1:5] / 20_000, [1 / 6, 1 / 3, 1 / 3, 1 / 6], atol=0.015)
    assert abs(np.corrcoef(row, column)[0, 1]) < 0.03


def test_same_generator_same_batch() -> None:
    x = pixels()
    one, again, other = (pad_crop_flip(x, np.random.default_rng(seed), 2, True) for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)


# --- random resized crop ---------------------------------------------------------------------------------------------


def test_whole_image_at_its_size_is_the_identity() -> None:
    x = pixels()
    out = random_resized_crop_flip(x, 8, np.random.default_rng(0), scale=(1, 1), ratio=(1, 1), flip=False)
    torch.testing.assert_close(out, x.float(), atol=1e-3, rtol=0)


def test_mirrored_whole_image() -> None:
    x = pixels(batch=40)
    out = random_resized_crop_flip(x, 8, np.random.default_rng(0), scale=(1, 1), ratio=(1, 1), flip=True)
    same = (out - x).abs().amax((1, 2, 3)) < 1e-3
    mirrored = (out - x.flip(2)).abs().amax((1, 2, 3)) < 1e-3
    assert torch.all(same ^ mirrored) and 5 < int(mirrored.sum()) < 35


def test_a_box_is_cut_and_resized_as_interpolate_does(monkeypatch: pytest.MonkeyPatch) -> None:
    x = pixels(batch=2, side=12)
    boxes = np.array([[1, 2, 4, 8], [5, 0, 6, 6]])
    monkeypatch.setattr(augment, "_boxes", lambda *_: boxes)
    out = random_resized_crop_flip(x, 12, np.random.default_rng(0), flip=False)
    for i, (top, left, high, wide) in enumerate(boxes):
        part = x[i : i + 1, top : top + high, left : left + wide].permute(0, 3, 1, 2).float()
        expected = torch.nn.functional.interpolate(part, (12, 12), mode="bilinear", align_corners=False)
        # at the rim of a box grid_sample sees the pixels beside it, where interpolate repeats the last one
        torch.testing.assert_close(out[i, 3:-3, 3:-3], expected[0].permute(1, 2, 0)[3:-3, 3:-3], atol=0.01, rtol=0)


def test_boxes_are_distributed_as_torchvisions() -> None:
    n, side = 4000, 64
    ours = augment._boxes(n, side, side, np.random.default_rng(0), (0.08, 1.0), (3 / 4, 4 / 3))
    torch.manual_seed(0)
    transform = RandomResizedCrop(side)
    drawn = [transform.make_params([torch.zeros(3, side, side)]) for _ in range(n)]
    theirs = np.array([[p["top"], p["left"], p["height"], p["width"]] for p in drawn])
    assert ours.min() >= 0 and (ours[:, 0] + ours[:, 2]).max() <= side and (ours[:, 1] + ours[:, 3]).max() <= side
    for measure in (
        lambda b: b[:, 2] * b[:, 3] / side**2,
        lambda b: np.log(b[:, 3] / b[:, 2]),
        lambda b: b[:, 0] / side,
        lambda b: b[:, 1] / side,
    ):
        quantiles = [0.05, 0.25, 0.5, 0.75, 0.95]
        np.testing.assert_allclose(
            np.quantile(measure(ours), quantiles), np.quantile(measure(theirs), quantiles), atol=0.04
        )


def test_a_box_that_never_fits_is_central() -> None:
    box = augment._boxes(3, 10, 40, np.random.default_rng(0), (1.0, 1.0), (3 / 4, 4 / 3))
    # the whole area of a 10 x 40 image at no more than 4:3 would be higher than the image
    assert box.tolist() == [[0, 13, 10, 13]] * 3


def test_strong_reduction_does_not_alias() -> None:
    stripes = torch.zeros(4, 64, 64, 3, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    out = random_resized_crop_flip(stripes, 16, np.random.default_rng(0), scale=(1, 1), ratio=(1, 1), flip=False)
    assert (out - 127.5).abs().max() < 1


# --- centre and normalise --------------------------------------------------------------------------------------------


def test_centre_is_a_plain_crop_from_seven_eighths_on() -> None:
    x = pixels(side=16)
    assert torch.equal(centre(x, 14), x[:, 1:15, 1:15])
    assert torch.equal(centre(x, 16), x)


def test_centre_of_a_small_view_is_the_same_part_enlarged() -> None:
    x = torch.zeros(1, 16, 16, 1, dtype=torch.uint8)
    x[:, 4:12, 4:12] = 200  # a square of half the side
    assert torch.equal(centre(x, 32, 16)[0, 8:24, 8:24], torch.full((16, 16, 1), 200)) is False  # its rim is blurred
    assert centre(x, 32, 16)[0, 10:22, 10:22].unique().tolist() == [200]
    assert centre(x, 32, 16)[0, :6].unique().tolist() == [0]
    # of 14 of 16 pixels, as without enlarging: the square is 8 / 14 of the side
    assert int((centre(x, 28, 14)[0, 14, :, 0] >= 100).sum()) == 16


def test_centre_of_much_larger_images_is_reduced() -> None:
    x = torch.full((2, 64, 64, 3), 90, dtype=torch.uint8)
    x[:, :4] = x[:, -4:] = x[:, :, :4] = x[:, :, -4:] = 255  # the sixteenth on each side that is cut off
    out = centre(x, 14)
    assert out.shape == (2, 14, 14, 3) and out.dtype == torch.uint8 and torch.all(out == 90)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_normalise(dtype: torch.dtype) -> None:
    x = pixels().to(dtype)
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 0.5, 1.0])
    out = normalise(x, mean, std)
    assert out.dtype == torch.float32 and out.shape == (6, 3, 8, 8)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, ((x.double() / 255 - mean) / std).permute(0, 3, 1, 2).float(), atol=1e-5, rtol=1e-5)


def test_normalise_gives_channels_last_for_scattered_input() -> None:
    x = pixels().permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert normalise(x, torch.zeros(3), torch.ones(3)).is_contiguous(memory_format=torch.channels_last)


# --- rectangles ------------------------------------------------------------------------------------------------------


def test_a_rectangle_is_shifted_by_an_eighth_of_each_side() -> None:
    mark = torch.zeros(4000, 8, 24, 1, dtype=torch.uint8)
    mark[:, 4, 12] = 1
    where = pad_crop_flip(mark, np.random.default_rng(0), (1, 3), flip=False)[..., 0].flatten(1).argmax(1).numpy()
    assert sorted(set(where // 24)) == [3, 4, 5] and sorted(set(where % 24)) == [9, 10, 11, 12, 13, 14, 15]


def test_equal_margins_draw_what_one_number_draws() -> None:
    x = pixels()
    one, two = (pad_crop_flip(x, np.random.default_rng(3), pad, flip=True) for pad in (2, (2, 2)))
    assert torch.equal(one, two)


def test_parts_of_a_rectangle_have_its_shape() -> None:
    x = torch.zeros(500, 40, 120, 3, dtype=torch.uint8)
    assert random_resized_crop_flip(x, ImageSize(32, 96), np.random.default_rng(0)).shape == (500, 32, 96, 3)
    box_B4 = augment._boxes(2000, 40, 120, np.random.default_rng(0), (0.08, 1.0), (3 * 3 / 4, 3 * 4 / 3))
    shape_B = box_B4[:, 3] / box_B4[:, 2]
    assert shape_B.min() > 2.1 and shape_B.max() < 4.3 and abs(np.median(shape_B) - 3) < 0.1


def test_the_centre_of_a_rectangle() -> None:
    x = pixels(side=16)[:, :8]
    assert torch.equal(centre(x, ImageSize(7, 14)), x[:, :7, 1:15])
    assert torch.equal(centre(x, ImageSize(8, 16)), x)
    assert centre(x, ImageSize(4, 8)).shape == (6, 4, 8, 3)
    assert centre(x, ImageSize(12, 24), view=ImageSize(8, 16)).shape == (6, 12, 24, 3)
