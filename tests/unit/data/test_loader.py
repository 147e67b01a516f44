"""Batches by step number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from poolsearch.data import Images, Loader, mean_std
from poolsearch.errors import PoolsearchError

MEAN, STD = [0.25, 0.5, 0.75], [0.5, 0.25, 0.125]


def numbered(count: int = 50, side: int = 8) -> Images:
    """Images whose every pixel is their number, so that a batch tells which images it has."""
    pixels = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, side, side, 3)).copy()
    label_N = np.arange(count) % 7
    part_N = np.full(count, "train")
    return Images("numbered", pixels, label_N, part_N, tuple("abcdefg"), [], "", True, np.arange(len(pixels)), Path())


def loader(images: Images, **changes: Any) -> Loader:
    options = {
        "indices": np.arange(5, 45),
        "batch": 8,
        "seed": 0,
        "purpose": "search",
        "device": "cpu",
        "image_size": images.pixels_NHWC.shape[1],
        "augment": "none",
        "mean_C": [0.0, 0.0, 0.0],
        "std_C": [1 / 255] * 3,
    }
    return Loader(images, **(options | changes))


def which(x_BCHW: torch.Tensor) -> list[int]:
    return x_BCHW.amax((1, 2, 3)).round().int().tolist()


def test_batch_holds_the_images_of_its_labels() -> None:
    images = numbered()
    x, y = loader(images).batch(0)
    assert x.shape == (8, 3, 8, 8) and x.dtype == torch.float32 and y.dtype == torch.int64
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert y.tolist() == [n % 7 for n in which(x)]


def test_normalised_by_hand() -> None:
    images = numbered()
    x, y = loader(images, mean_C=MEAN, std_C=STD, indices=np.array([51 % 50]), batch=1).batch(0)
    assert y.tolist() == [1]
    torch.testing.assert_close(x[0, :, 0, 0], torch.tensor([(1 / 255 - m) / s for m, s in zip(MEAN, STD, strict=True)]))


@pytest.mark.parametrize("augment", ["crop-flip", "resized-crop-flip"])
def test_any_step_in_any_order_gives_the_same_batch(augment: str) -> None:
    draw = np.random.default_rng(0)
    images = numbered()
    images.pixels_NHWC[:] = draw.integers(0, 256, images.pixels_NHWC.shape)
    one = loader(images, augment=augment)
    forward = [one.batch(step) for step in range(12)]
    other = loader(images, augment=augment)
    for step in (11, 0, 7, 5, 4, 11):
        x, y = other.batch(step)
        assert torch.equal(x, forward[step][0]) and torch.equal(y, forward[step][1])
    assert not torch.equal(forward[0][0], forward[5][0])


def test_an_epoch_visits_each_image_at_most_once_and_epochs_differ() -> None:
    one = loader(numbered(), indices=np.arange(5, 47))  # 42 images: two are left out
    assert one.steps_per_epoch == 5
    epochs = [[n for step in range(5) for n in which(one.batch(5 * epoch + step)[0])] for epoch in range(6)]
    for seen in epochs:
        assert len(set(seen)) == 40 and set(seen) <= set(range(5, 47))
    assert epochs[0] != epochs[1]
    assert set().union(*epochs) == set(range(5, 47)), "another rest is left out each time"


@pytest.mark.parametrize("change", [{"seed": 1}, {"purpose": "retrain"}])
def test_seed_and_purpose_change_the_order(change: dict[str, Any]) -> None:
    assert which(loader(numbered()).batch(0)[0]) != which(loader(numbered(), **change).batch(0)[0])


def test_augmentation_does_not_change_the_order() -> None:
    assert which(loader(numbered()).batch(3)[0]) == which(loader(numbered(), augment="crop").batch(3)[0])


@pytest.mark.parametrize(("side", "pad"), [(8, 1), (32, 4), (4, 1)])
def test_crop_shifts_by_an_eighth_at_most(side: int, pad: int) -> None:
    images = numbered(side=side)
    images.pixels_NHWC[:] = 255
    x, _ = loader(images, augment="crop", batch=40).batch(0)
    dark = (x[:, 0] == 0).all(dim=2).sum(dim=1)  # rows of padding that came in
    assert dark.max() == pad and dark.min() == 0


def test_crop_does_not_flip() -> None:
    images = numbered()
    images.pixels_NHWC[:] = np.arange(1, 9, dtype=np.uint8)[:, None]
    x, _ = loader(images, augment="crop", batch=40).batch(0)
    assert torch.all(x[:, 0, 4, 2] < x[:, 0, 4, 5]), "brighter to the right"
    flipped, _ = loader(images, augment="crop-flip", batch=40).batch(0)
    assert 5 < int((flipped[:, 0, 4, 2] > flipped[:, 0, 4, 5]).sum()) < 35


@pytest.mark.parametrize(
    ("size", "lengths"), [(40, [40]), (39, [20, 20]), (15, [14, 13, 13]), (1, [1] * 40), (99, [40])]
)
def test_chunks_cover_everything_in_order(size: int, lengths: list[int]) -> None:
    indices = np.arange(5, 45)[::-1].copy()
    chunks = list(loader(numbered(), indices=indices, augment="crop-flip").chunks(size))
    assert [len(y) for _, y in chunks] == lengths
    assert [n for x, _ in chunks for n in which(x)] == indices.tolist()
    assert torch.cat([y for _, y in chunks]).tolist() == (indices % 7).tolist()


def test_chunks_need_no_full_batch_and_may_be_none() -> None:
    assert [len(y) for _, y in loader(numbered(), batch=1000).chunks(16)] == [14, 13, 13]
    assert list(loader(numbered(), indices=np.array([], dtype=int)).chunks(16)) == []


def test_smaller_than_stored() -> None:
    x, _ = next(loader(numbered(side=16), image_size=14).chunks(4))
    assert x.shape == (4, 3, 14, 14)
    x, _ = loader(numbered(side=16), image_size=14, augment="resized-crop-flip").batch(0)
    assert x.shape == (8, 3, 14, 14)


@pytest.mark.parametrize("augment", ["none", "crop", "resized-crop-flip"])
def test_a_view_is_enlarged(augment: str) -> None:
    images = numbered(side=16)
    x, y = loader(images, image_size=20, view=16, augment=augment).batch(0)
    assert x.shape == (8, 3, 20, 20)
    assert y.tolist() == [n % 7 for n in which(x)]
    x, _ = next(loader(images, image_size=20, view=14).chunks(4))
    assert x.shape == (4, 3, 20, 20)
    with pytest.raises(PoolsearchError, match="image_size is 17"):
        loader(images, image_size=20, view=17)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"augment": "crop-flop"}, "unknown augmentation 'crop-flop'. Did you mean 'crop-flip'"),
        ({"image_size": 9}, "image_size is 9, but the images are stored at 8x8.*--image-size 9"),
        ({"batch": 0}, "batch is 0"),
    ],
)
def test_settings_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PoolsearchError, match=message):
        loader(numbered(), **change)


def test_batch_larger_than_the_data_says_both_numbers_and_the_fix() -> None:
    with pytest.raises(PoolsearchError, match=r"batch of 64 is larger than the 40 images.*Set the batch to 40 or less"):
        loader(numbered(), batch=64).batch(0)


def test_mean_std_is_numpys_over_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (37, 6, 6, 3), dtype=np.uint8)
    pixels[..., 1] //= 3
    indices = np.array([*range(0, 30, 2), 36])
    monkeypatch.setattr("poolsearch.data.loader._MEAN_STD_CHUNK_BYTES", 5 * 6 * 6 * 3)  # several chunks, and a rest
    mean_C, std_C = mean_std(pixels, indices)
    np.testing.assert_allclose(mean_C, (pixels[indices] / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std_C, (pixels[indices] / 255).std((0, 1, 2)), rtol=1e-12)


def test_constant_channel_can_be_divided_by() -> None:
    mean_C, std_C = mean_std(np.full((4, 2, 2, 3), 51, np.uint8), np.arange(4))
    np.testing.assert_allclose(mean_C, 0.2)
    assert std_C.tolist() == [1, 1, 1]
