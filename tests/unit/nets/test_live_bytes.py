"""Bytes alive, counted by hand."""

import torch

from poolsearch.nets.live_bytes import LiveBytes


def test_what_is_alive_is_counted_once_and_no_longer_than_it_lives():
    given = torch.ones(100)
    with LiveBytes() as live:
        live.ignore(given)
        kept = given * 2  # 400 bytes
        half = kept[:50].relu_()  # the same memory
        other = given + kept[0]  # 400 more
        del other
        assert (live.now, live.most) == (400, 800)
        del kept
        assert live.now == 400  # the view keeps it
        del half
        assert (live.now, live.most) == (0, 800)
        given.mul_(2)
        assert live.now == 0
