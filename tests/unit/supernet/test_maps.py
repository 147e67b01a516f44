"""The maps given block by block are those that the supernet's own forward pass computes."""

import pytest
import torch

from poolsearch.errors import PoolsearchError
from poolsearch.space import Placement
from poolsearch.supernet.maps import first_map, run_maps
from poolsearch.supernet.single_path import SinglePath


@pytest.fixture(params=["batch", "calibrate", "per_placement"])
def supernet(request, tiny_net, images):
    """A supernet that has seen two placements, in evaluation mode."""
    made = SinglePath(lambda norm: tiny_net(norm=norm), request.param).train()
    for text in ("1,1,8", "8,1,1"):
        made(images(count=4, seed=7), Placement.parse(text))
    return made.eval()


@pytest.mark.parametrize("text", ["1,1,8", "8,1,1"])
@torch.inference_mode()
def test_the_last_map_and_the_head_give_the_logits_to_the_bit(supernet, images, text):
    placement = Placement.parse(text)
    *_, last = run_maps(supernet, images(), placement)
    torch.testing.assert_close(supernet.run_head(last, placement), supernet(images(), placement), rtol=0, atol=0)


@torch.inference_mode()
def test_each_map_leads_to_the_next(supernet, images):
    placement = Placement.parse("8,1,1")
    maps = list(run_maps(supernet, images(), placement))
    for index in range(1, len(maps)):
        again = supernet.run_block(index, maps[index - 1], placement)
        torch.testing.assert_close(again, maps[index], rtol=0, atol=0)


@torch.inference_mode()
def test_maps_shrink_where_the_placement_says(supernet, images):
    sides = [maps.shape[-1] for maps in run_maps(supernet, images(), Placement.parse("1,1,8"))]
    assert sides == [16, 8] + [4] * 8
    sides = [maps.shape[-1] for maps in run_maps(supernet, images(), Placement.parse("8,1,1"))]
    assert sides == [16] * 8 + [8, 4]


@torch.inference_mode()
def test_another_placement_in_between_changes_nothing(supernet, images):
    early, late = Placement.parse("1,1,8"), Placement.parse("8,1,1")
    *_, before = run_maps(supernet, images(), early)
    list(run_maps(supernet, images(), late))
    *_, after = run_maps(supernet, images(), early)
    torch.testing.assert_close(before, after, rtol=0, atol=0)


def test_a_placement_of_another_network_is_refused(supernet, images):
    with pytest.raises(PoolsearchError, match="10"):
        next(run_maps(supernet, images(), Placement.parse("4,3")))


def test_of_several_maps_the_first_is_taken():
    flat, square = torch.zeros(2, 3), torch.ones(2, 3, 4, 4)
    assert first_map((flat, square, 2 * square)) is square
    assert first_map(square) is square
