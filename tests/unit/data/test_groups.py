"""Images that belong together: reading who belongs to whom, and dividing without parting them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from poolsearch.data import Groups, Images, Split, find_source, make_split, open_images, read_groups, subset_training
from poolsearch.data.groups import hold_out_groups
from poolsearch.errors import PoolsearchError
from poolsearch.progress import SilentProgress

WriteFolder = Callable[..., Path]
PARTS = ("search_train", "search_val", "test")


def parts(number: int, part: str = "train") -> np.ndarray:
    return np.full(number, part, dtype="<U5")


def grouped(group_N: Sequence[int] | np.ndarray) -> Groups:
    names, number_N = np.unique(group_N, return_inverse=True)
    return Groups(tuple(str(name) for name in names), number_N.astype(np.int64))


def parted(split: Split, group_N: np.ndarray) -> set[int]:
    """Groups with images in more than one part."""
    sides = [set(group_N[getattr(split, part)].tolist()) for part in PARTS]
    return (sides[0] & sides[1]) | (sides[0] & sides[2]) | (sides[1] & sides[2])


@st.composite
def structures(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """(label, group) of images: 3 to 40 groups of 1 to 30 images, each class in three groups or more."""
    count = draw(st.integers(3, 40))
    classes = draw(st.integers(2, 6))
    sizes = draw(st.lists(st.integers(1, 30), min_size=count, max_size=count))
    seed = draw(st.integers(0, 2**32))
    random = np.random.default_rng(seed)
    pure = draw(st.booleans())
    labels = [np.full(n, random.integers(classes)) if pure else random.integers(0, classes, n) for n in sizes]
    # three groups have every class, so that it can be anywhere
    labels = [np.concatenate([own, np.arange(classes)]) if g < 3 else own for g, own in enumerate(labels)]
    group_N = np.repeat(np.arange(count), [len(own) for own in labels])
    order = random.permutation(len(group_N))
    return np.concatenate(labels)[order], group_N[order]


@settings(max_examples=150, deadline=None)
@given(structures(), st.integers(0, 2**40), st.floats(0.1, 0.5))
def test_no_group_is_on_two_sides(structure: tuple[np.ndarray, np.ndarray], seed: int, fraction: float) -> None:
    label_N, group_N = structure
    split = make_split(label_N, parts(len(label_N)), seed, fraction, grouped(group_N))
    everything = np.concatenate([split.search_train, split.search_val, split.test])
    assert sorted(everything.tolist()) == list(range(len(label_N))), "disjoint, and covers all"
    assert parted(split, group_N) == set()
    for part in ("search_train", "search_val"):
        assert np.bincount(label_N[getattr(split, part)], minlength=label_N.max() + 1).min() >= 1
    written = split.to_json()["groups"]
    assert written == {part: len(np.unique(group_N[getattr(split, part)])) for part in PARTS}
    assert sum(written.values()) == len(np.unique(group_N))
    if (size := 4 * len(np.unique(label_N))) <= len(split.train_all):
        assert parted(subset_training(split, label_N, size, seed), group_N) == set(), "a subset crosses no boundary"


@settings(max_examples=50, deadline=None)
@given(structures(), st.integers(0, 2**40))
def test_no_group_is_on_two_sides_of_what_we_divide(structure: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    """The data's own test is kept, whatever the groups say; the halves are ours."""
    label_N, group_N = structure
    part_N = parts(len(label_N))
    own_test = np.arange(0, len(label_N), 5)
    part_N[own_test] = "test"
    split = make_split(label_N, part_N, seed, groups=grouped(group_N))
    assert split.test.tolist() == own_test.tolist()
    assert not set(group_N[split.search_train]) & set(group_N[split.search_val])


def test_seeded_and_the_hash_covers_the_groups() -> None:
    label_N, group_N = np.tile([0, 1, 2], 40), np.repeat(np.arange(30), 4)
    one, again, other = (make_split(label_N, parts(120), seed, groups=grouped(group_N)) for seed in (1, 1, 2))
    assert one.hash == again.hash != other.hash
    assert one.test.tolist() == again.test.tolist() != other.test.tolist()
    val = parts(120)
    val[:20], val[20:40] = "val", "test"
    swapped = group_N.copy()
    swapped[[50, 60]] = swapped[[60, 50]]
    hashes = {make_split(label_N, val, 0, groups=g).hash for g in (None, grouped(group_N), grouped(swapped))}
    assert len(hashes) == 3, "the indices are the data's own, the groups are not the same"


def test_groups_of_one_image_are_as_good_as_none() -> None:
    """Ten of each class: two of each in the test, four in each half."""
    label_N = np.repeat([0, 1, 2], 10)
    split = make_split(label_N, parts(30), 0, groups=grouped(np.arange(30)))
    for part, count in zip(PARTS, (4, 4, 2), strict=True):
        assert np.bincount(label_N[getattr(split, part)]).tolist() == [count] * 3


def test_hold_out_by_hand() -> None:
    """Of four groups with 3 + 1, 1 + 3, 2 + 0 and 0 + 2 images of two classes, one of the first two and the one of the
    last two with the class that it has less of make 3 + 3 of 6 + 6: half of both classes."""
    count_GC = np.array([[3, 1], [1, 3], [2, 0], [0, 2]])
    for seed in range(20):
        held_G = hold_out_groups(count_GC, 0.5, 1, np.random.default_rng(seed))
        assert count_GC[held_G].sum(0).tolist() == [3, 3]


def test_a_giant_leaves_the_test_to_the_others() -> None:
    """One group has 900 of 1000 images of both classes, nine have the rest: the test gets small ones, and two groups
    stay for the halves."""
    group_N = np.concatenate([np.zeros(900, int), np.repeat(np.arange(1, 11), 10)])
    label_N = np.arange(1000) % 2
    split = make_split(label_N, parts(1000), 0, groups=grouped(group_N))
    assert 0 not in group_N[split.test]
    assert len(split.test) == 90 and min(len(split.search_train), len(split.search_val)) == 10


def test_nearer_to_the_fraction_than_scikit_learn() -> None:
    """Mean distance of the classes' parts from a fifth, over group structures with a heavy tail."""
    ours, theirs = [], []
    for seed in range(20):
        draw = np.random.default_rng(seed)
        sizes = (draw.pareto(1.2, 40) * 10 + 1).astype(int).clip(1, 500)
        group_N = np.repeat(np.arange(40), sizes)
        label_N = np.concatenate([draw.choice(4, n, p=draw.dirichlet(np.ones(4))) for n in sizes])
        total_C = np.bincount(label_N)
        count_GC = np.stack([np.bincount(label_N[group_N == g], minlength=4) for g in range(40)])
        held_C = count_GC[hold_out_groups(count_GC, 0.2, 2, draw)].sum(0)
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(label_N, label_N, group_N)
        fold_C = np.bincount(label_N[next(folds)[1]], minlength=4)
        ours.append(np.abs(held_C / total_C - 0.2).mean())
        theirs.append(np.abs(fold_C / total_C - 0.2).mean())
    assert np.mean(ours) < np.mean(theirs)


def test_too_few_groups_for_a_test() -> None:
    with pytest.raises(PoolsearchError, match="the 2 groups of --groups are too few"):
        make_split(np.arange(20) % 2, parts(20), 0, groups=grouped(np.arange(20) // 10))


@pytest.fixture
def photos(write_folder: WriteFolder, tmp_path: Path) -> Images:
    """cat/000.png to 005.png and dog/ the same; cat/003.png is damaged."""
    root = write_folder("photos", count=6)
    (root / "cat" / "003.png").write_bytes(b"no image")
    return open_images(find_source(str(root)), None, tmp_path / "cache", SilentProgress())


GOOD = [f"{name}/{i:03d}.png,{'abc'[i % 3]}" for name in ("cat", "dog") for i in range(6)]


@pytest.fixture
def groups_of(photos: Images, tmp_path: Path) -> Callable[..., Groups]:
    def read(*lines: str, encoding: str = "utf-8") -> Groups:
        path = tmp_path / "groups.csv"
        path.write_bytes("\r\n".join(lines).encode(encoding))
        return read_groups(path, photos)

    return read


GROUPS = ["a", "b", "c", "b", "c", "a", "b", "c", "a", "b", "c"]
"""Of the eleven images that can be read: a, b, c and so on, without the fourth cat."""


@pytest.mark.parametrize(
    "lines",
    [
        GOOD,
        ["file,group", *GOOD],
        ["Group,date,File", *(f"{line.split(',')[1]},2024,./{line.split(',')[0]}" for line in GOOD)],
        ["index,group", *(f"{i},{'abc'[i % 3]}" for i in range(12))],
        [line for line in GOOD if "cat/003" not in line] + [GOOD[0], ""],
        [f" {line.replace(',', ' , ')} " for line in reversed(GOOD)],
    ],
    ids=["bare", "heading", "other columns", "index", "twice the same", "spaces, any order"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_reads(groups_of: Callable[..., Groups], lines: list[str], encoding: str) -> None:
    groups = groups_of(*lines, encoding=encoding)
    assert [groups.names[number] for number in groups.number_N] == GROUPS
    assert groups.count(np.arange(11)) == 3 and groups.count(np.array([0, 5])) == 1


def test_arrays_have_places_for_names(tmp_path: Path) -> None:
    labels = np.arange(20) % 2
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8), y=labels)
    images = open_images(find_source(str(tmp_path / "a.npz")), None, tmp_path / "cache", SilentProgress())
    (tmp_path / "g.csv").write_text("\n".join(f"x[{i}],{i // 4}" for i in range(20)))
    assert read_groups(tmp_path / "g.csv", images).number_N.tolist() == (np.arange(20) // 4).tolist()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            [*GOOD, "cat/900.png,a", "bird/1.png,a"],
            r"match no image of the data set: cat/900.png, bird/1.png \(2 in all\)\. Expected",
        ),
        (["image,patient", *GOOD], r"match no image of the data set: image \(1 in all\)\. Expected"),
        (GOOD[:-5], r"no group for 5 of 11 images: dog/001.png, dog/002.png, dog/003.png, \.\.\.\. Add a row"),
        ([*GOOD, "cat/000.png,b"], r"line 13: cat/000.png is in group 'b', but in 'a' above"),
        ([line[:-1] + "a" for line in GOOD], "all images in one group, 'a'"),
        ([f"{line[:-1]}{line[0]}" for line in GOOD], "in one group, for 2 of 2 classes: cat, dog"),
        ([*GOOD, "cat/000.png"], r"line 13: 'cat/000.png' is not an image and its group"),
        ([*GOOD, "cat/000.png,"], "line 13: 'cat/000.png,' is not an image and its group"),
        ([line.replace(",", ";") for line in GOOD], "line 1: 'cat/000.png;a' is not an image"),
        ([], r"no group for 11 of 11 images"),
        (["file,group"], r"no group for 11 of 11 images"),
    ],
)
def test_says_what_is_wrong(groups_of: Callable[..., Groups], lines: list[str], said: str) -> None:
    with pytest.raises(PoolsearchError, match=said):
        groups_of(*lines)


def test_a_file_that_cannot_be_read(photos: Images, tmp_path: Path) -> None:
    with pytest.raises(PoolsearchError, match=r"none\.csv cannot be read \(No such file"):
        read_groups(tmp_path / "none.csv", photos)
    with pytest.raises(PoolsearchError, match=r"cannot be read \(not a file but a folder"):
        read_groups(tmp_path, photos)
    (tmp_path / "latin.csv").write_bytes("cat/000.png,Müller".encode("latin-1"))
    with pytest.raises(PoolsearchError, match=r"latin\.csv cannot be read .*utf-8"):
        read_groups(tmp_path / "latin.csv", photos)
