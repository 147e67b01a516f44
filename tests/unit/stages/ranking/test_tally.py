"""What is known of each pair: counts, chunks, and the way through its file."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from poolsearch.errors import PoolsearchError
from poolsearch.evaluation.measure import ClassMeasure
from poolsearch.stages.ranking.tally import Tally, chunk_sizes, load_tally


@given(st.integers(1, 500), st.integers(1, 200))
def test_chunks_are_those_of_numpy(images, batch):
    parts = np.array_split(np.arange(images), -(-images // batch))
    assert chunk_sizes(images, batch).tolist() == [len(part) for part in parts]


TRUE_N = np.array([2, 0, 1, 2, 1, 0, 0, 1, 2, 2])
MEASURE = ClassMeasure("accuracy", TRUE_N, "abc")


def right(tally):
    """How many of the images that it has seen each pair got right."""
    return [
        int(measure.right(responses).sum()) for measure, responses in map(tally.seen, range(len(tally.response_PN)))
    ]


def seen(chunk, *responses):
    """Of the chunk from this image on, the true class where there is a 1, and the next one where there is a 0."""
    return {
        place: torch.tensor([(TRUE_N[chunk + i] + (c == "0")) % 3 for i, c in enumerate(text)])
        for place, text in responses
    }


@pytest.fixture
def tally():
    """Three pairs and ten images in chunks of 4, 3 and 3; in the second chunk one pair is stopped and one waits."""
    made = Tally.empty(3, MEASURE, 4)
    made.take(seen(0, (2, "1111"), (0, "1000"), (1, "0000")))
    made.stop(np.array([False, True, False]))
    made.take(seen(4, (2, "101")))
    return made


def test_counts_by_hand(tally):
    assert right(tally) == [1, 0, 6]
    assert tally.images_P.tolist() == [4, 4, 7]
    assert tally.done == 4 + 10 + 7  # what a stopped pair need not see counts as done
    assert (tally.chunk, tally.chunks, tally.waiting) == (1, 3, [0])
    assert np.unpackbits(tally.before, axis=1).tolist() == [[1, 0, 0, 0, *[0] * 4], [0] * 8, [*[1] * 4, *[0] * 4]]
    for pair, true, answered in ((0, [2, 0, 1, 2], [2, 1, 2, 0]), (2, [2, 0, 1, 2, 1, 0, 0], [2, 0, 1, 2, 1, 1, 0])):
        measure, responses = tally.seen(pair)
        assert (measure.true_N.tolist(), responses.tolist()) == (true, answered)


def test_it_goes_on_to_the_end(tally):
    tally.take(seen(4, (0, "011")))
    assert (tally.chunk, tally.waiting) == (2, [0, 2])
    tally.take(seen(7, (0, "111"), (2, "111")))
    assert (tally.chunk, tally.done) == (3, 30)
    assert right(tally) == [6, 0, 9]
    assert tally.images_P.tolist() == [10, 4, 10]


def test_what_is_saved_is_read_again(tally, tmp_path):
    path = tmp_path / "checkpoint" / "rank.safetensors"
    tally.save(path, "this one")
    found = load_tally(path, "this one", MEASURE)
    assert (found.images, found.batch, found.chunk) == (10, 4, 1)
    for name in ("response_PN", "chunks_P", "stopped_P"):
        assert np.array_equal(getattr(found, name), getattr(tally, name))
        assert getattr(found, name).dtype == getattr(tally, name).dtype
    found.take(seen(4, (0, "011")))
    assert right(found) == [3, 0, 6]
    assert [p.name for p in path.parent.iterdir()] == ["rank.safetensors"]


def test_one_saved_before_anything_was_known_is_read_too(tmp_path):
    path = tmp_path / "rank.safetensors"
    Tally.empty(3, MEASURE, 4).save(path, "this one")
    assert load_tally(path, "this one", MEASURE).batch == 4


def test_that_of_another_ranking_is_passed_over_and_a_damaged_one_named(tally, tmp_path):
    (tmp_path / "run.json").touch()  # a run's folder: what to do about the file depends on what it is of a run
    path = tmp_path / "checkpoint" / "rank.safetensors"
    path.parent.mkdir()
    assert load_tally(path, "this one", MEASURE) is None
    tally.save(path, "another")
    assert load_tally(path, "this one", MEASURE) is None
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(PoolsearchError, match=r"rank.safetensors is damaged.*Delete it"):
        load_tally(path, "another", MEASURE)


@pytest.mark.parametrize(("classes", "kind"), [(2, np.uint8), (256, np.uint8), (257, np.uint16), (1000, np.uint16)])
def test_classes_are_kept_in_the_smallest_integers_that_hold_them(tmp_path, classes, kind):
    true_N = np.array([0, classes - 1, 1])
    measure = ClassMeasure("accuracy", true_N, [str(k) for k in range(classes)])
    tally = Tally.empty(1, measure, 2)
    assert tally.response_PN.dtype == kind
    tally.take({0: torch.tensor([0, classes - 1])})
    tally.save(tmp_path / "rank.safetensors", "this one")
    found = load_tally(tmp_path / "rank.safetensors", "this one", measure)
    assert found.seen(0)[1].tolist() == [0, classes - 1] and right(found) == [2]
