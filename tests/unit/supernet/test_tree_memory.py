"""The bound on the memory of a tree: by hand, and against what torch's own profiler sees allocated."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from poolsearch.nets.build import NetSpec, build
from poolsearch.space import KEEP, Placement
from poolsearch.supernet.norms import batch_norm
from poolsearch.supernet.prefix_tree import run_tree
from poolsearch.supernet.single_path import SinglePath
from poolsearch.supernet.tree_memory import MemoryTable, SegmentBytes, memory_table, tree_bytes

pytestmark = pytest.mark.usefixtures("one_thread")
HALVED = (1, 1)


def test_a_tree_of_three_by_hand():
    # One halving at most, before block 1 or 2; work counts a block's own map and what it needs beside it
    full, half = (8, 8), (4, 4)
    table = MemoryTable(
        image=3,
        stem=SegmentBytes(50, 20, full),
        block={
            (0, full, KEEP): SegmentBytes(60, 40, full),
            (1, full, KEEP): SegmentBytes(70, 40, full), (1, full, HALVED): SegmentBytes(30, 10, half),
            (2, full, KEEP): SegmentBytes(90, 40, full), (2, full, HALVED): SegmentBytes(25, 10, half),
            (2, half, KEEP): SegmentBytes(15, 10, half),
        },
    )  # fmt: skip
    keep, late, early = (Placement(sites) for sites in ((KEEP, KEEP), (KEEP, HALVED), (HALVED, KEEP)))
    # alone: the image, the map before a block, and the block's work, at the worst block
    assert tree_bytes(table, [early]) == 3 + max(50, 20 + 60, 40 + 30, 10 + 15)
    assert tree_bytes(table, [keep]) == 3 + max(50, 20 + 60, 40 + 70, 40 + 90)
    # early and late: block 0's map waits while early is run to its end, then block 1 runs on it
    assert tree_bytes(table, [late, early]) == 3 + max(80, 40 + 30, 40 + 10 + 15, 40 + 70, 40 + 25)
    # all three: block 1's map of 40 waits only while the halved block 2 is worked on
    assert tree_bytes(table, [keep, early, late]) == 3 + max(80, 40 + 30, 40 + 10 + 15, 40 + 70, 40 + 25, 40 + 90)
    assert tree_bytes(table, []) == 0


def bound(spec, side, dtype=torch.float32, numbers=None):
    with torch.device("meta"):
        net = build(spec, batch_norm)
    space = net.space
    placements = [space[n] for n in (range(space.size) if numbers is None else numbers)]
    table = memory_table(net.to(dtype), side, side)
    return tree_bytes(table, placements) - table.image, placements


def allocated(spec, side, placements, batch, precision=None):
    """The most that torch's allocator had given out, above where it began, by its profiler."""
    supernet = SinglePath(lambda norm: build(spec, norm), "batch").to(memory_format=torch.channels_last).eval()
    x = torch.randn(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    cast = torch.autocast("cpu", dtype=precision, enabled=precision is not None)
    with torch.inference_mode(), cast, torch.profiler.profile(profile_memory=True) as found:
        for _ in run_tree(supernet, x, placements):
            pass
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


@pytest.mark.parametrize(
    ("spec", "side", "numbers"),
    [
        (NetSpec("cifar-resnet20", 5, 4, "max"), 32, None),
        (NetSpec("cifar-resnet20", 5, 4, "stride"), 32, None),
        (NetSpec("cifar-resnet20", 5, 4, "avg"), 32, [35]),
        (NetSpec("cifar-resnet20", 5, 4, "blur"), 32, [0, 7, 8]),
        (NetSpec("resnet18", 5, 4, "stride"), 64, None),
        (NetSpec("cifar-resnet50", 5, 2, "stride"), 32, range(0, 560, 20)),
    ],
    ids=lambda value: f"{value.name}-{value.op}" if isinstance(value, NetSpec) else "",
)
def test_the_bound_is_what_the_allocator_gives_out(spec, side, numbers):
    per_image, placements = bound(spec, side, numbers=numbers)
    most = allocated(spec, side, placements, batch=16)
    # over it only by what does not grow with the batch, as the statistics of a BatchNorm; below it hardly
    assert 0.97 * 16 * per_image <= most <= 16 * per_image + 4096


def test_half_the_precision_takes_half():
    spec = NetSpec("cifar-resnet20", 5, 4, "max")
    whole, placements = bound(spec, 32)
    half, _ = bound(spec, 32, torch.bfloat16)
    assert half == pytest.approx(whole / 2, rel=0.01)
    weights = sum(p.numel() for p in build(spec, batch_norm).parameters())  # autocast keeps a copy of them
    assert 0.97 * 16 * half <= allocated(spec, 32, placements, 16, torch.bfloat16) <= 16 * half + 2 * weights + 4096


@pytest.fixture(scope="module")
def resnet20():
    with torch.device("meta"):
        net = build(NetSpec("cifar-resnet20", 5, 4, "max"), batch_norm)
    return memory_table(net, 32, 32), [*net.space]


@given(numbers=st.sets(st.integers(0, 35), min_size=1, max_size=12), data=st.data())
def test_fewer_placements_never_take_more(resnet20, numbers, data):
    table, space = resnet20
    few = data.draw(st.sets(st.sampled_from(sorted(numbers)), min_size=1))
    assert tree_bytes(table, [space[n] for n in few]) <= tree_bytes(table, [space[n] for n in numbers])


def test_a_deep_network_takes_a_few_maps_and_not_one_for_each_block():
    # 33 blocks and three halvings: at most three maps wait, and a block makes no more than three as large as its own
    largest_map = 4 * (4 * 8 * 4) * 16 * 16  # float32, width 4 in the last stage of bottlenecks, full resolution
    per_image, placements = bound(NetSpec("resnet101", 10, 4), 64)
    assert len(placements) == 4960
    assert largest_map < per_image < (3 + 1 + 3) * largest_map
    # where a whole map is worked on last, nothing waits: all together take what the dearest takes alone
    assert per_image == max(bound(NetSpec("resnet101", 10, 4), 64, numbers=[n])[0] for n in (0, 2480, 4959))


@pytest.mark.parametrize("op", ["max", "stride"])
def test_the_bound_holds_for_unequal_placements(op):
    spec = NetSpec("cifar-resnet20", 5, 4, op)
    with torch.device("meta"):
        net = build(spec, batch_norm)
    space = dataclasses.replace(net.space, axes="h,w")
    placements = [space[n] for n in range(0, space.size, 29)]
    table = memory_table(net, 32, 32, space)
    per_image = tree_bytes(table, placements) - table.image
    assert 0.97 * 16 * per_image <= allocated(spec, 32, placements, batch=16) <= 16 * per_image + 4096


def test_a_tree_of_both_axes_by_hand():
    # two blocks, either axis halved or not before the second: all four branches run on the map of the first
    full = (8, 8)
    sizes = {(h, w): (8 >> h, 8 >> w) for h in (0, 1) for w in (0, 1)}
    work = {(0, 0): 90, (0, 1): 45, (1, 0): 50, (1, 1): 25}
    last = {(1, site): SegmentBytes(work[site], work[site] // 2, sizes[site]) for site in sizes}
    block = {(0, full, KEEP): SegmentBytes(60, 40, full)} | {
        (1, full, site): found for (_, site), found in last.items()
    }
    table = MemoryTable(image=3, stem=SegmentBytes(50, 20, full), block=block)
    every = [Placement((site,)) for site in sizes]
    assert tree_bytes(table, every) == 3 + max(50, 20 + 60, 40 + 90)
    assert tree_bytes(table, [every[1], every[2]]) == 3 + max(50, 20 + 60, 40 + 50, 40 + 45)
