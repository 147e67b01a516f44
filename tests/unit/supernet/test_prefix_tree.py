"""Prefix sharing: the logits to the bit, and the work it saves by count."""

import dataclasses
import weakref

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolsearch.cost import cost_table
from poolsearch.nets.build import NetSpec, build
from poolsearch.space import Placement
from poolsearch.supernet.prefix_tree import run_tree, tree_macs
from poolsearch.supernet.single_path import SinglePath

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def make(images):
    def supernet(op="max", norm="batch", name="cifar-resnet20"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made = SinglePath(lambda make_norm: build(NetSpec(name, 5, 2, op), make_norm), norm)
        if norm != "batch":
            for number in (0, 5, 17, 23, 35):
                made.train()(images(8, seed=number) * 2, made.net.space[number])
        return made.eval()

    return supernet


@torch.no_grad()
def same_to_the_bit(supernet, x, placements):
    found = dict(run_tree(supernet, x, placements))
    assert sorted(found) == list(range(len(placements)))
    return all(torch.equal(found[i], supernet(x, placement)) for i, placement in enumerate(placements))


@pytest.mark.parametrize("op", ["max", "stride", "avg", "blur"])
def test_logits_of_all_36_are_those_of_one_by_one(make, images, op):
    supernet = make(op)
    assert same_to_the_bit(supernet, images(9), [*supernet.net.space])


@pytest.mark.parametrize("norm", ["calibrate", "per_placement"])
def test_norms_keyed_by_prefix_keep_it_exact(make, images, norm):
    # 5 of the 36 were trained, the others share some of their prefixes or none
    supernet = make("max", norm)
    assert same_to_the_bit(supernet, images(9), [*supernet.net.space])


def test_a_fixed_stem_is_shared_too(make, images):
    supernet = make("stride", "batch", "resnet18")
    assert same_to_the_bit(supernet, images(32, count=2), [supernet.net.space[n] for n in (0, 9, 20, 34)])


@pytest.mark.parametrize("numbers", [[], [23], [23, 23], [35, 0, 23, 0, 7, 35, 24], [*range(11, -1, -1)]])
def test_any_order_and_duplicates(make, images, numbers):
    supernet = make()
    assert same_to_the_bit(supernet, images(8), [supernet.net.space[n] for n in numbers])


def test_each_position_comes_once(make, images):
    supernet = make()
    placements = [supernet.net.space[n] for n in (3, 3, 20, 1)]
    assert sorted(position for position, _ in run_tree(supernet, images(8), placements)) == [0, 1, 2, 3]


@pytest.mark.parametrize("numbers", [[23], [0, 35], [5, 0, 30, 1, 5, 29, 2], range(36)])
def test_a_block_runs_once_for_each_prefix(make, images, numbers, monkeypatch):
    supernet = make()
    calls = []
    run_block = supernet.net.run_block
    monkeypatch.setattr(supernet.net, "run_block", lambda i, x, site: calls.append(i) or run_block(i, x, site))
    placements = [supernet.net.space[n] for n in numbers]
    with torch.no_grad():
        assert len([*run_tree(supernet, images(8), placements)]) == len(placements)
    for block in range(10):
        assert calls.count(block) == len({p.sites[:block] for p in placements})


@pytest.mark.parametrize("numbers", [[23], [0, 35], [35, 0, 17, 8, 3], range(36)])
def test_never_more_than_one_map_per_depth_is_alive_and_few_wait(make, images, numbers, monkeypatch):
    supernet = make()
    alive, run_block = {}, supernet.net.run_block

    def watched(index, x, site):
        # its input, and what waits for other branches: at most one map for each halving that was gone into
        assert len(alive) <= 1 + 2
        out = run_block(index, x, site)
        assert index not in alive.values(), f"two maps after block {index}"
        alive[id(out)] = index
        weakref.finalize(out, alive.pop, id(out))
        return out

    monkeypatch.setattr(supernet.net, "run_block", watched)
    with torch.inference_mode():
        for _ in run_tree(supernet, images(8), [supernet.net.space[n] for n in numbers]):
            pass
    assert not alive


def test_training_through_the_tree_has_the_gradients_of_one_by_one(make, images):
    supernet = make().train()
    placements = [supernet.net.space[n] for n in (0, 12, 30)]
    sum(logits.square().sum() for _, logits in run_tree(supernet, images(8), placements)).backward()
    shared = {n: p.grad.clone() for n, p in supernet.named_parameters()}
    supernet.zero_grad()
    sum(supernet(images(8), p).square().sum() for p in placements).backward()
    for name, parameter in supernet.named_parameters():
        torch.testing.assert_close(shared[name], parameter.grad, rtol=1e-3, atol=1e-4)


def test_macs_of_three_placements_by_hand():
    placements = [Placement.parse(t) for t in ("2,1,1", "2,2", "1,1,2")]
    rows = [[1, 2, 30, 400], [1, 2, 30, 500], [1, 60, 700, 8000]]
    # block 0 once; block 1 after a kept site once and after a halved site once; block 2 is shared by the first two
    assert tree_macs(rows, placements) == 1 + (2 + 60) + (30 + 700) + (400 + 500 + 8000)
    assert tree_macs(rows[:1] * 3, placements[:1] * 3) == 1 + 2 + 30 + 400
    assert tree_macs([], []) == 0


def test_macs_of_the_36_of_resnet20_are_those_of_its_distinct_prefixes():
    with torch.device("meta"):
        net = build(NetSpec("cifar-resnet20", 10))
    table = cost_table(net, 32, 32)
    weights = [sum(p.numel() for p in block.parameters() if p.dim() == 4) for block in net.blocks]
    nodes = {(block, p.sites[:block]) for p in net.space for block in range(10)}
    by_hand = sum(weights[block] * (32 * 32) // 4 ** sum(s == (1, 1) for s in sites) for block, sites in nodes)
    assert tree_macs([table.block_macs(p) for p in net.space], [*net.space]) == by_hand


def both(net):
    """Its space with height and width each by itself."""
    return dataclasses.replace(net.space, axes="h,w")


@pytest.mark.parametrize(
    ("op", "norm"), [("max", "batch"), ("stride", "batch"), ("blur", "batch"), ("max", "per_placement")]
)
@given(numbers=st.lists(st.integers(0, 1295), min_size=1, max_size=12))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_unequal_placements_are_those_of_one_by_one(make, images, op, norm, numbers):
    supernet = make(op)
    placements = [both(supernet.net)[n] for n in numbers]
    if norm != "batch":
        supernet = make(op, norm)
        for seed, placement in enumerate(placements[::2]):  # the others share some of their prefixes or none
            supernet.train()(images(16, seed=seed) * 2, placement)
        supernet.eval()
    assert same_to_the_bit(supernet, images(16), placements)


def test_statistics_are_kept_for_each_unequal_prefix(make, images, statistics):
    supernet = make("max", "per_placement")
    supernet.norms.load({})
    texts = ("h 4,3,3 w 3,4,3", "h 4,3,3 w 4,3,3", "h 4,2,4 w 3,4,3")
    placements = [Placement.parse(text) for text in texts]
    for placement in placements:
        supernet.train()(images(16), placement)
    kept = statistics(supernet)
    for block in range(10):
        for prefix in {p.sites[:block] for p in placements}:
            users = sum(p.sites[:block] == prefix for p in placements)
            assert kept[f"{block}/{'_'.join(f'{h}x{w}' for h, w in prefix)}/bn1/batches"] == users
    # the first and the third part before block 6; the second leaves before block 3, where the first halves its width
    assert kept["5/0x0_0x0_0x1_1x0_0x0/bn1/batches"] == 2
    assert kept["5/0x0_0x0_0x0_1x1_0x0/bn1/batches"] == 1


def test_few_maps_of_unequal_placements_wait(make, images, monkeypatch):
    supernet = make()
    alive, most, run_block = {}, [0], supernet.net.run_block

    def watched(index, x, site):
        most[0] = max(most[0], len(alive))
        out = run_block(index, x, site)
        alive[id(out)] = index
        weakref.finalize(out, alive.pop, id(out))
        return out

    monkeypatch.setattr(supernet.net, "run_block", watched)
    with torch.inference_mode():
        for _ in run_tree(supernet, images(16), [both(supernet.net)[n] for n in range(0, 1296, 2)]):
            pass
    assert most[0] <= 1 + 4  # its input, and one for each halving of either axis that was gone into
