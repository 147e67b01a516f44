"""Placements walked all at once: against walking them one by one, and covers by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from poolsearch.cost.macs import cost_table, macs_of
from poolsearch.cost.routes import Grid, block_keys, covering_placements, head_of, sum_entries
from poolsearch.nets.build import NetSpec, build
from poolsearch.space import HALVE, KEEP, Placement, Space


def meta(name, size, axes="hw", **spec):
    with torch.device("meta"):
        net = build(NetSpec(name, 5, **spec))
    space = dataclasses.replace(net.space, axes=axes)
    return net, space, cost_table(net, size, size, space)


@pytest.mark.parametrize(
    ("name", "size", "axes"),
    [("cifar-resnet20", 32, "hw"), ("cifar-resnet20", 13, "h,w"), ("resnet18", 75, "hw"), ("cifar-resnet50", 32, "hw")],
)
@pytest.mark.parametrize("op", ["max", "stride"])
def test_sums_are_those_of_walking_one_by_one(name, size, axes, op):
    _, space, table = meta(name, size, axes, width=2, op=op)
    numbers = np.arange(0, space.size, 1 + space.size // 200)
    grid = Grid.of(table)
    routes = grid.routes(space, numbers)
    blocks = sum_entries(grid.values({key: part.macs for key, part in table.block.items()}), routes)
    found = table.stem.macs + blocks + routes.of_head(table.head)
    assert found.tolist() == macs_of(table, (space[int(n)] for n in numbers)).tolist()
    last = [head_of(table, space[int(n)]) for n in numbers]
    assert [routes.heads[place] for place in routes.head_A] == last


def test_a_limited_space_is_walked_in_its_own_order():
    _, space, table = meta("cifar-resnet20", 32, width=2)
    kept = space.keep([Placement.parse(text) for text in ("7,1,2", "1,1,8", "4,3,3")])
    grid = Grid.of(table)
    values = grid.values({key: part.macs for key, part in table.block.items()})
    alone = [sum_entries(values, grid.routes(kept, [n]))[0] for n in range(3)]
    assert sum_entries(values, grid.routes(kept)).tolist() == alone
    assert alone == [sum(table.block_macs(kept[n])) for n in range(3)]


def test_the_classes_of_a_placement_by_hand():
    _, _, table = meta("cifar-resnet20", 32, width=2)
    inputs = [32, 32, 32, 16, 16, 16, 8, 8, 8, 8]  # 2,3,5 halves before blocks 2 and 5
    sites = [HALVE if index in (2, 5) else KEEP for index in range(10)]
    expected = [(index, (inputs[index],) * 2, sites[index]) for index in range(10)]
    assert block_keys(table, Placement.of_blocks((2, 3, 5))) == expected


@pytest.mark.parametrize(("name", "axes"), [("cifar-resnet20", "hw"), ("cifar-resnet20", "h,w"), ("resnet18", "hw")])
def test_a_cover_meets_every_class_and_begins_with_the_default(name, axes):
    _, space, table = meta(name, 64, axes, width=2)
    found = covering_placements(table, space)
    assert found[0] == space.default
    assert all(placement in space for placement in found) and len({*found}) == len(found)
    assert {key for placement in found for key in block_keys(table, placement)} == {*table.block}
    widest = max(sum(key[0] == index for key in table.block) for index in range(space.length))
    assert widest <= len(found) < len(table.block) / 3, "no fewer than the classes of one block, far fewer than all"


def test_a_cover_of_three_blocks_by_hand():
    class Table:  # one halving, before block 1 or block 2: two placements, and each has classes of its own
        stem = type("Part", (), {"size": (4, 4), "carried": ()})
        block = {  # noqa: RUF012
            key: type("Part", (), {"size": size, "carried": ()})
            for key, size in {
                (0, (4, 4), KEEP): (4, 4), (1, (4, 4), KEEP): (4, 4), (1, (4, 4), HALVE): (2, 2),
                (2, (4, 4), HALVE): (2, 2), (2, (2, 2), KEEP): (2, 2),
            }.items()
        }  # fmt: skip
        head = {((2, 2),): 1}  # noqa: RUF012

    space = Space(3, 1, Placement.of_blocks((1, 2)))
    assert covering_placements(Table(), space) == [Placement.of_blocks((1, 2)), Placement.of_blocks((2, 1))]
