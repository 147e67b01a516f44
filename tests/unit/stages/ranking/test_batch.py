"""How large evaluation batches are, and what is said of it."""

import dataclasses
import json

import pytest

import poolsearch
from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.stages.ranking.batch import OVERHEAD, bytes_per_image, eval_batch, largest_batch
from poolsearch.train.machine import Machine


@pytest.mark.parametrize(
    ("batch", "image_bytes", "room", "fitting"),
    [
        (512, 1000, 512_000, 512),
        (512, 1000, 511_999, 256),
        (512, 1000, 100_000, 64),
        (512, 1000, 1, 16),
        (360, 1000, 100_000, 90),
        (20, 1000, 1, 20),
    ],
)
def test_the_batch_is_halved_until_it_fits(batch, image_bytes, room, fitting):
    assert largest_batch(batch, image_bytes, room) == fitting


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A finished search over three placements; ranking settings are still free."""
    out = tmp_path_factory.mktemp("batch") / "run"
    poolsearch.search(out, settings())
    return out


def settings(**changes):
    from poolsearch.settings import Settings

    tiny = {"width": 2, "members": 1, "epochs": 1, "batch": 128, "precision": "fp32", "device": "cpu"}
    return Settings.of(**{**tiny, "preset": "paper", "placements": ("4,3,3", "5,3,2", "1,1,8"), **changes})


def chosen(out, **changes):
    """The batch, and the run's warnings after it was chosen."""
    with open_run(out, settings(**changes), True, SilentProgress()) as run:
        pairs = [(number, 0) for number in range(3)]
        per_image = OVERHEAD * bytes_per_image(run, pairs)
        batch = eval_batch(run, pairs)
    return batch, per_image, json.loads((out / "run.json").read_text())["warnings"]


def test_the_default_is_lowered_to_the_room_and_an_asked_for_one_is_not(searched):
    batch, per_image, warned = chosen(searched)
    assert (batch, warned) == (512, [])
    room = 300 * per_image / 1e9
    assert chosen(searched, rank_memory=room)[0] == 256
    batch, _, warned = chosen(searched, rank_memory=room, eval_batch=400)
    assert batch == 400
    assert len(warned) == 1
    assert "batches of 400 images takes up to" in warned[0]
    assert "--eval-batch" in warned[0]


def test_rough_statistics_are_warned_of(searched, monkeypatch):
    _, per_image, _ = chosen(searched)
    monkeypatch.setattr(Machine, "free_memory", lambda _: 2 * 40 * per_image)
    batch, _, warned = chosen(searched)
    assert batch == 32
    assert any("only 32 images" in text for text in warned)


def test_by_itself_it_takes_half_of_what_is_free(searched, monkeypatch):
    _, per_image, _ = chosen(searched)
    monkeypatch.setattr(Machine, "free_memory", lambda _: 2 * 256 * per_image)
    assert chosen(searched)[0] == 256
    monkeypatch.setattr(Machine, "free_memory", lambda _: None)
    assert chosen(searched)[0] == 512


def test_the_format_of_activations_counts(searched):
    with open_run(searched, None, True, SilentProgress()) as run:
        pairs = [(0, 0)]
        half = dataclasses.replace(run, machine=Machine(run.machine.device, "bf16"))
        pixels = 3 * 8 * 8
        whole, small = (bytes_per_image(r, pairs) for r in (run, half))
        # maps take half; what BatchNorm keeps of each batch, some bytes an image, stays float32
        assert (whole - pixels * 4) / 2 <= small - pixels * (4 + 2) < 0.6 * (whole - pixels * 4)
