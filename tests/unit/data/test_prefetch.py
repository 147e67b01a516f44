"""Ways to the device: the same images by each, asked for in any order; the thread that works ahead."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsearch.data import Images, Loader
from poolsearch.data import prefetch as feed_module
from poolsearch.data.prefetch import AHEAD, ImageSubset, Prefetcher, ResidentSubset, choose_transfer, free_bytes
from poolsearch.errors import PoolsearchError

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def images(count: int = 60, side: int = 16) -> Images:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    pixels.flags.writeable = False  # as from the cache
    label_N = draw.integers(0, 7, count)
    return Images(
        "random",
        pixels,
        label_N,
        np.full(count, "train"),
        tuple("abcdefg"),
        [],
        "",
        True,
        np.arange(len(pixels)),
        Path(),
    )


def loader(feed: Any, augment: Any = "none", device: str = "cpu", batch: int = 8) -> Loader:
    indices = np.random.default_rng(1).permutation(60)[:45]
    mean_C, std_C = [0.25, 0.5, 0.75], [0.5, 0.25, 0.125]
    return Loader(images(), indices, batch, 3, "search", device, 14, augment, mean_C, std_C, feed)


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.005)


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("poolsearch-ahead")}


# --- which way -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "needed", "free", "feed"),
    [
        ("cuda", 150_000_000, 80_000_000_000, "resident"),  # CIFAR-10 on a large GPU
        ("cuda", 251_000_000_000, 80_000_000_000, "ahead"),  # ImageNet at 256
        ("cuda", 100, 400, "resident"),
        ("cuda", 101, 400, "ahead"),
        ("cuda", 1, 0, "ahead"),
        ("cpu", 1, 0, "direct"),
        ("cpu", 1, 1 << 40, "direct"),
        ("mps", 1, 1 << 40, "direct"),
    ],
)
def test_images_stay_on_a_gpu_when_a_quarter_of_its_free_memory_holds_them(
    kind: str, needed: int, free: int, feed: str
) -> None:
    assert choose_transfer(kind, needed, free) == feed


def test_the_loader_asks_with_the_bytes_of_its_own_images(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def choose(*arguments: Any) -> str:
        asked.append(arguments)
        return "resident"

    monkeypatch.setattr("poolsearch.data.loader.choose_transfer", choose)
    monkeypatch.setattr("poolsearch.data.loader.free_bytes", lambda _: 12345)
    one = loader(None)
    assert not asked, "nothing takes memory before it is needed"
    assert torch.equal(one.batch(0)[0], loader("direct").batch(0)[0])
    assert asked == [("cpu", 45 * 16 * 16 * 3, 12345)]


def test_a_cpu_has_no_memory_of_its_own() -> None:
    assert free_bytes(torch.device("cpu")) == 0


# --- the same batches ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feed", ["direct", "resident", "ahead"])
def test_a_batch_is_the_next_piece_of_the_epochs_order(feed: str) -> None:
    """The order as it is written down in the loader's contract, from the generator itself."""
    from poolsearch.rng import generator

    data, indices, one = images(), np.random.default_rng(1).permutation(60)[:45], loader(feed)
    for step in (0, 1, 4, 5, 13, 2):  # 45 images make 5 batches of 8
        order = generator(3, "search", step // 5).permutation(indices)
        rows = order[8 * (step % 5) :][:8]
        x_BCHW, y_B = one.batch(step)
        assert y_B.tolist() == data.label_N[rows].tolist()
        middle = data.pixels_NHWC[rows][:, 1:15, 1:15] / 255  # 14 of 16
        expected = (middle - [0.25, 0.5, 0.75]) / [0.5, 0.25, 0.125]
        np.testing.assert_allclose(x_BCHW.permute(0, 2, 3, 1), expected, atol=2e-6)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.integers(0, 40), max_size=12),
    feed=st.sampled_from(["resident", "ahead"]),
    augment=st.sampled_from(["none", "crop", "crop-flip", "resized-crop-flip"]),
)
def test_every_way_gives_the_same_bits_in_any_order(steps: list[int], feed: str, augment: str) -> None:
    one, other = loader("direct", augment), loader(feed, augment)
    for step in steps:
        for ours, expected in zip(other.batch(step), one.batch(step), strict=True):
            assert torch.equal(ours, expected) and ours.stride() == expected.stride()


@pytest.mark.parametrize("feed", ["resident", "ahead"])
@pytest.mark.parametrize("size", [1, 7, 45, 100])
def test_chunks_are_the_same_too_and_leave_no_thread(feed: str, size: int) -> None:
    before = threads()
    for ours, expected in zip(loader(feed).chunks(size), loader("direct").chunks(size), strict=True):
        assert torch.equal(ours[0], expected[0]) and torch.equal(ours[1], expected[1])
    until(lambda: threads() <= before)


def test_a_part_is_uploaded_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    data, indices = images(), np.arange(59, 9, -1)
    monkeypatch.setattr(feed_module, "_UPLOAD_BYTES", 7 * 16 * 16 * 3)  # seven pieces and a rest
    x_BHWC, y_B = ResidentSubset(ImageSubset(data, indices), torch.device("cpu")).gather(np.array([0, 49, 7, 7]))
    assert y_B.tolist() == data.label_N[[59, 10, 52, 52]].tolist()
    np.testing.assert_array_equal(x_BHWC, data.pixels_NHWC[[59, 10, 52, 52]])


@pytest.mark.parametrize("feed", ["direct", "resident", "ahead"])
def test_a_mistake_surfaces_where_the_batch_is_asked_for(feed: str) -> None:
    with pytest.raises(PoolsearchError, match="batch of 64 is larger than the 45 images"):
        loader(feed, batch=64).batch(0)


# --- the thread ------------------------------------------------------------------------------------------------------


class Maker:
    """Remembers what it made, and in which thread."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, step: int) -> str:
        assert threading.current_thread() is not threading.main_thread()
        self.gate.wait(10)
        self.made.append(step)
        if step == 13:
            raise OSError("the disk is gone")
        return f"batch {step}"


def test_the_next_ones_are_made_before_they_are_asked_for_and_no_more() -> None:
    make = Maker()
    ahead = Prefetcher(make)
    assert ahead.take(0) == "batch 0"
    until(lambda: len(make.made) == 1 + AHEAD)
    time.sleep(0.05)
    assert make.made == list(range(1 + AHEAD)), "a bounded number"
    make.gate.clear()  # from here on nothing is made
    assert [ahead.take(step) for step in range(1, 1 + AHEAD)] == [f"batch {step}" for step in range(1, 1 + AHEAD)]
    make.gate.set()


def test_each_step_is_made_once_and_asking_twice_costs_nothing() -> None:
    make = Maker()
    ahead = Prefetcher(make, steps=10)
    for step in range(10):
        assert ahead.take(step) == ahead.take(step) == f"batch {step}"
    assert make.made == list(range(10)), "nor anything after the end"


def test_a_jump_throws_away_what_waits() -> None:
    make = Maker()
    ahead = Prefetcher(make)
    ahead.take(0)
    until(lambda: len(make.made) == 1 + AHEAD)
    make.gate.clear()
    ahead.take(1)  # what follows is under way, and held
    threading.Timer(0.1, make.gate.set).start()
    assert ahead.take(100) == "batch 100"
    assert ahead.take(50) == "batch 50" and ahead.take(51) == "batch 51"
    assert set(range(2 + AHEAD, 50)).isdisjoint(make.made)


def test_steps_at_a_distance_are_followed() -> None:
    make = Maker()
    ahead = Prefetcher(make)
    for step in range(0, 40, 4):
        assert ahead.take(step) == f"batch {step}"
    until(lambda: make.made[-1] == 36 + 4 * AHEAD)
    assert [step for step in make.made if step % 4] in ([], [1], [1, 2], [1, 2, 3]), "only after the first"


def test_an_error_surfaces_at_its_step_and_at_no_other() -> None:
    ahead = Prefetcher(Maker())
    assert ahead.take(12) == "batch 12"
    with pytest.raises(OSError, match="the disk is gone"):
        ahead.take(13)
    assert ahead.take(14) == "batch 14" and ahead.take(11) == "batch 11"


def test_the_thread_ends_with_its_owner() -> None:
    before = threads()
    gc.disable()  # nothing may have to wait for a collection
    try:
        one = loader("ahead")
        one.batch(0)
        assert len(threads() - before) == 1
        del one
        until(lambda: threads() <= before)
    finally:
        gc.enable()


# --- on a GPU --------------------------------------------------------------------------------------------------------


@CUDA
@pytest.mark.parametrize("feed", ["resident", "ahead"])
@pytest.mark.parametrize("augment", ["none", "crop-flip", "resized-crop-flip"])
def test_a_gpu_gets_the_same_and_nobody_waits_for_it(feed: str, augment: str) -> None:
    one, other = loader("direct", augment), loader(feed, augment, device="cuda")
    other.batch(0)  # the upload may wait
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        batches = [other.batch(step) for step in range(1, 9)]
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    for step, (x_BCHW, y_B) in enumerate(batches, 1):
        expected = one.batch(step)
        torch.testing.assert_close(x_BCHW.cpu(), expected[0], rtol=1e-4, atol=1e-4)
        assert torch.equal(y_B.cpu(), expected[1])
