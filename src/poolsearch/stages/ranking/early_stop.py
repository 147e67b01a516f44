"""Stopping a placement early: when it is behind the first k of the ranking by more than chance. Pure NumPy.

The images come in random order, so those seen are a sample, without replacement, of the half that the exact ranking
uses. Two placements differ only on the images that one of them gets right and the other does not. If the one is no
better than the other on the whole half, at most half of these images speak for it, and the number w of those seen
that do, of m, has

    P(w / m >= q)  <=  exp(-m KL(q || 1/2))        for q > 1/2

by the bound of Chernoff and Hoeffding, which holds for sampling without replacement too (Hoeffding 1963, "Probability
inequalities for sums of bounded random variables", Theorems 1 and 4). Pairing is what makes it sharp: images that both
get right, or both wrong, do not count.

A placement leaves when each of k leaders is ahead of it by that bound. To stop one of the k that the exact ranking
would put first, at least one of the leaders must be ahead of it by chance alone, because fewer than k are ahead of it
in truth. There are k such placements, at most P - 1 leaders for each, and a number of looks, so that with

    m KL(w / m || 1/2)  >  log(k (P - 1) looks / error)

the probability that any of the first k is ever stopped is at most ``error``.

The bound takes it that an image's answer does not depend on the other images of its batch. With stored statistics
(``--norm calibrate``, ``per_placement``) it does not; with the statistics of the batch at hand it does a little, less
so the larger the batch is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ERROR = 0.01
"""Probability, at most, that any placement of the first k is stopped."""

_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1, dtype=np.uint8)


def set_bits(packed_PW: Bytes) -> Ints:
    """Bits that are set in each row.

    Args:
        packed_PW: P rows of W bytes, with eight bits each.

    Returns:
        Shape (P,).
    """
    return _ONES[packed_PW].sum(1, dtype=np.int64)


def evidence(wins: Ints, losses: Ints) -> NDArray[np.float64]:
    """m KL(wins / m || 1/2) in nats, where m = wins + losses; zero unless there are more wins than losses.

    Args:
        wins, losses: images that only the one of two placements gets right, and those that only the other does.

    Returns:
        The shape of ``wins``.
    """
    m = np.maximum(wins + losses, 1)
    nats = m * math.log(2) + xlogy(wins, wins / m) + xlogy(losses, losses / m)
    return np.where(wins > losses, nats, 0.0)


def needed_evidence(top: int, pairs: int, looks: int, error: float = ERROR) -> float:
    """The evidence that stops a pair: see the head of this module.

    Args:
        top: k, the first placements that shall stay.
        pairs: how many pairs of placement and member are compared.
        looks: how often they are.
        error: the probability, at most, that any of the first k is stopped.

    Returns:
        A bound in nats, for :func:`is_behind`.
    """
    return math.log(top * max(1, pairs - 1) * max(1, looks) / error)


def leaders(correct_P: Ints, number_P: Ints, live_P: Bools, top: int) -> list[int]:
    """The pairs ahead, one of each of the ``top`` best placements; fewer where there are not so many.

    Args:
        correct_P: how many images each pair got right; all live pairs have seen the same.
        number_P: the placement of each pair.
        live_P: pairs not stopped yet; others do not lead.
        top: k.

    Returns:
        Places of the pairs, best first; of equal ones the first.
    """
    best: dict[int, int] = {}
    order = np.argsort(-correct_P, kind="stable")
    for pair in order[live_P[order]].tolist():
        best.setdefault(int(number_P[pair]), pair)
        if len(best) == top:
            break
    return list(best.values())


def is_behind(right_PW: Bytes, number_P: Ints, live_P: Bools, top: int, bar: float) -> Bools:
    """Which live pairs are behind each of ``top`` leaders by more evidence than ``bar``.

    Args:
        right_PW: which of the images seen each pair got right, packed eight to a byte, unused bits zero.
        number_P: the placement of each pair.
        live_P: pairs not stopped yet; all have seen the same images.
        top: k.
        bar: see :func:`needed_evidence`.

    Returns:
        Shape (P,): True for those that may leave; none does where fewer than k placements are left.
    """
    ahead = leaders(set_bits(right_PW), number_P, live_P, top)
    lost_P = live_P if len(ahead) == top else np.zeros_like(live_P)
    for leader in ahead:
        left = np.flatnonzero(lost_P)
        wins = set_bits(right_PW[leader] & ~right_PW[left])
        losses = set_bits(~right_PW[leader] & right_PW[left])
        lost_P = np.zeros_like(live_P)
        lost_P[left] = evidence(wins, losses) > bar
    return lost_P
