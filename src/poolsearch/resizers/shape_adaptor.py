"""Shape Adaptor: two branches of fixed scales, resized to a learned size between them and mixed."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolsearch.resizers.resizer import Resizer, Size, at_least, legal_length, values_of

_MOST_LOGIT = 16.0  # sigmoid(16) is 1 to seven digits


class ShapeAdaptor(Resizer):
    """Mixes a pooled map and the map itself, both resized to a learned size between theirs.

    ::

        layer = ShapeAdaptor(scale=0.6)
        layer(torch.rand(8, 16, 32, 32)).shape  # (8, 16, 19, 19)

    With a mixing weight a from 0 to 1 (the sigmoid of the parameter) the scale of both axes is
    s(a) = r_1 + (r_2 - r_1) a, and the result is (1 - a) G(F_1(x)) + a G(F_2(x)), where F_1 is 2x2 max pooling
    (r_1 = 0.5), F_2 leaves the map as it is (r_2 = 1), and G resizes bilinearly to the nearest legal size to s(a) times
    the map's. The weight has its gradient through the mixture; the size has none.

    Source: Liu, Lin, Wang, Zhang, Perazzi and Johns, "Shape adaptor: a learnable resizing module", ECCV 2020,
    section 3.

    Differs: the paper's branches may also be a block's layers at two strides with shared weights; here they have no
    parameters, so that a network keeps those that it has.

    Args:
        scale: to begin with, from 0.5 to 1. At the two ends the gradient is almost zero: begin between them.
        smallest: see :class:`~poolsearch.resizers.resizer.Resizer`.

    Attributes:
        logit: the parameter, shape (1,): the mixing weight is its sigmoid.
        penalty: by what its scale is multiplied beside, at most 1; the scale stays at least 0.5. A network that limits
            its last map sets it (``limit`` of :func:`~poolsearch.resizers.replace_downsampling`).

    Shape:
        (B, C, H, W) to (B, C, H', W'), with H' from half of H (rounded; at least ``smallest``) to H, and W' likewise.

    Raises:
        ValueError: an argument is out of range; when it is called, as
            :meth:`~poolsearch.resizers.resizer.Resizer.forward`.
    """

    LEAST = 0.5
    MOST = 1.0

    def __init__(self, scale: float = 0.6, smallest: int = 1) -> None:
        super().__init__(smallest)
        if not (isinstance(scale, (int, float)) and self.LEAST <= scale <= self.MOST):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"{self.label}: scale is {scale!r}; give one number, from {self.LEAST} to {self.MOST}.")
        weight = (scale - self.LEAST) / (self.MOST - self.LEAST)
        odds = math.inf if weight == 1 else weight / (1 - weight)
        logit = min(max(math.log(odds) if odds > 0 else -math.inf, -_MOST_LOGIT), _MOST_LOGIT)
        self.logit = nn.Parameter(torch.tensor([logit]))
        self.penalty = 1.0

    def free_scale(self) -> Tensor:
        """The scale without the penalty.

        Returns:
            Shape (1,), from 0.5 to 1, with a gradient.
        """
        return self.LEAST + (self.MOST - self.LEAST) * self.logit.sigmoid()

    def scales(self) -> Tensor:
        return at_least(self.free_scale() * self.penalty, self.LEAST).expand(2)

    def learned_size(self, height: int, width: int) -> Size:
        scale = values_of(self.label, self.scales())[0]
        high, wide = (legal_length(math.floor(n * scale + 0.5), n, self.smallest) for n in (height, width))
        return high, wide

    def resize(self, x_BCHW: Tensor, size: Size) -> Tensor:
        weight = (self.scales()[0] - self.LEAST) / (self.MOST - self.LEAST)
        return _mixed(x_BCHW, size, weight.to(x_BCHW.dtype))

    def prepare_frozen(self) -> None:
        self._weight = float((self.scales()[0] - self.LEAST) / (self.MOST - self.LEAST))

    def resize_frozen(self, x_BCHW: Tensor) -> Tensor:
        assert self.frozen is not None
        return _mixed(x_BCHW, self.frozen[1], self._weight)


def _mixed(x_BCHW: Tensor, size: Size, weight: Tensor | float) -> Tensor:
    pooled = F.max_pool2d(x_BCHW, 2, ceil_mode=True)
    halved, whole = (F.interpolate(x, size, mode="bilinear", align_corners=False) for x in (pooled, x_BCHW))
    return halved * (1 - weight) + whole * weight


def adaptor_count(length: int, last: int = 2) -> int:
    """How many Shape Adaptors a network gets: as few as can shrink its maps to ``last`` pixels.

    Source: Liu et al. 2020, section 3: the logarithm of D_in / D_last to the base 1 / r_1, rounded up.

    Args:
        length: of the shorter axis of the maps before the first, in pixels.
        last: of the smallest maps that they may all together make.

    Returns:
        Their number, at least 1.

    Raises:
        ValueError: a length is below 1.
    """
    if min(length, last) < 1:
        raise ValueError(f"lengths are {length} and {last}: give pixels, at least 1.")
    return max(math.ceil(math.log2(length / last)), 1)


def common_scale(length: int, last: int, count: int) -> float:
    """The one scale that all Shape Adaptors of a network begin with.

    Source: Liu et al. 2020, section 3: together they begin with a network of a given last size.

    Args:
        length: of the shorter axis of the maps before the first, in pixels.
        last: what they are to make of it together, in pixels.
        count: how many there are, at least 1.

    Returns:
        (last / length) ** (1 / count), but not nearer to 0.5 or to 1 than 0.01, where it could not learn.
    """
    return min(max((last / length) ** (1 / count), ShapeAdaptor.LEAST + 0.01), ShapeAdaptor.MOST - 0.01)
