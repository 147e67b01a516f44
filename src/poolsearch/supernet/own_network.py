"""A supernet from a network of the user's own: made, trained in any loop, saved, and copied out for a placement."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.nets.poolable import FixedPlacementNet, Poolable
from poolsearch.nets.restride import Restrided
from poolsearch.space import Placement, Space
from poolsearch.supernet.maps import run_maps
from poolsearch.supernet.norms import SupernetNorm
from poolsearch.supernet.prefix_tree import run_tree
from poolsearch.supernet.single_path import SinglePath

_NORMS = "norms."


class SuperNet(SinglePath):
    """One set of weights that runs every placement: ``supernet(images, placement)`` gives what the network gives.

    ::

        supernets = [poolsearch.SuperNet(poolsearch.restride(make_model(), images)) for _ in range(4)]
        outputs = supernets[trial.member](images, trial.placement)

    An ordinary module: parameters, modes, devices, ``state_dict`` and ``load_state_dict`` (with the statistics of
    BatchNorm of every placement) are as ever.

    Source: paper, section 2.2.

    Args:
        net: a network whose downsampling can be moved, as :func:`poolsearch.restride` makes one. It is copied with its
            weights, so that several supernets may be made of it, and begin alike. Or a function that makes one, with
            weights of its own each time.
        norm: what BatchNorm normalises by. ``batch``: the batch at hand, always; so does the paper. ``calibrate``: in
            training the batch at hand, in evaluation statistics that :meth:`calibrate` collects. ``per_placement``:
            running statistics, kept for each placement (placements that agree up to a block share those up to it).
        trained: the network has been trained: with ``per_placement``, evaluation of a placement that was never trained
            goes by the statistics that the network came with, in place of the batch at hand.

    Raises:
        PoolsearchError: the network is not one whose downsampling can be moved.
    """

    def __init__(
        self, net: nn.Module | Callable[[], nn.Module], norm: SupernetNorm = "batch", trained: bool = False
    ) -> None:
        if norm not in get_args(SupernetNorm):
            raise unknown("norm of a supernet", str(norm), get_args(SupernetNorm))
        super().__init__(lambda _: _movable(net), norm, trained)
        self._norm: SupernetNorm = norm

    @property
    def space(self) -> Space:
        """All placements with as many downsamplings as the network's own."""
        return self.net.space

    def maps(self, images: Tensor, placement: Placement) -> list[Tensor]:
        """The map after each block, for a decoder, a detector or another head of one's own.

        The channels of a block's map are the same at every placement; its height and width are not, so a head that
        takes maps of several blocks resizes them to one size, or to that of its targets.

        Args:
            images: (B, C, H, W), normalised.
            placement: of as many blocks as the network has.

        Returns:
            A map (B, C, H, W) for each block, with gradients; of several that are alive after a block the first.

        Raises:
            PoolsearchError: the placement has another number of blocks.
        """
        return list(run_maps(self, images, placement))

    def strides(self, placement: Placement) -> Any:
        """How many pixels of the image lie between two of each map that the network gives.

        Args:
            placement: of as many blocks as the network has.

        Returns:
            In the structure of the network's outputs: (height, width) for each map (B, C, H, W), else None.

        Raises:
            PoolsearchError: the placement has another number of blocks, or the network is not a restrided one.
        """
        return self._restrided.strides(placement)

    @property
    def out_channels(self) -> Any:
        """The channels of each map that the network gives, at every placement, in the structure of its outputs."""
        return self._restrided.out_channels

    @property
    def _restrided(self) -> Restrided:
        if not isinstance(self.net, Restrided):
            raise PoolsearchError(
                f"a {type(self.net).__name__} gives class logits and no maps: strides and channels are of a network "
                "that poolsearch.restride made of one that gives maps. SuperNet.maps gives the map after each block."
            )
        return self.net

    def extract(self, placement: Placement) -> FixedPlacementNet:
        """A copy of the network at one placement: a plain module of images, without the other placements.

        Its parameters, and with ``calibrate`` and ``per_placement`` its statistics of BatchNorm, are those of the
        supernet at that placement; what is done to the one does not change the other. With ``batch`` its BatchNorm
        layers go on normalising by the batch at hand.

        Args:
            placement: of as many blocks as the network has.

        Returns:
            A module ``extracted(images)``; ``extracted.net.original`` is the module that was restrided, under whose
            names its ``state_dict`` is.

        Raises:
            PoolsearchError: the placement has another number of blocks.
        """
        self.net.check(placement)
        if self.norms is not None:
            self.norms.select_all(placement)
        extracted = FixedPlacementNet(copy.deepcopy(self.net), placement)
        return extracted.train(self.training)

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Any], placements: Sequence[Placement]) -> None:
        """Collect the statistics of BatchNorm for evaluation, at all prefixes of these placements at once.

        Args:
            batches: images (B, C, H, W), or tuples that begin with them; some tens of batches of training images are
                enough. Moved to the supernet's device.
            placements: that are to be evaluated.

        Raises:
            PoolsearchError: the supernet was not made with ``norm="calibrate"``, or no batches or placements are given.
        """
        if self._norm != "calibrate":
            raise PoolsearchError(
                f"this supernet has norm='{self._norm}', which needs no calibration: make it with norm='calibrate', or "
                "leave calibrate() out."
            )
        if not placements:
            raise PoolsearchError("no placements were given to calibrate: give those that are to be evaluated.")
        was_training, device, seen = self.training, next(self.parameters()).device, False
        self.train()
        try:
            for batch in batches:
                seen = True
                x_BCHW: Tensor = batch[0] if isinstance(batch, (tuple, list)) else batch
                for _ in run_tree(self, x_BCHW.to(device), placements):
                    pass
        finally:
            self.train(was_training)
        if not seen:
            raise PoolsearchError("there are no batches to calibrate on: give some of training images.")

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.norms is not None:
            self.norms.select_start()  # the layers' own, so that the names do not depend on what was run last
            destination.update({f"{prefix}{_NORMS}{name}": value for name, value in self.norms.tensors().items()})

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        if self.norms is not None:
            place = f"{prefix}{_NORMS}"
            own = [name for name in state_dict if name.startswith(place)]
            self.norms.load({name.removeprefix(place): state_dict.pop(name) for name in own})
            self.norms.select_start()
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SuperNet:
        super()._apply(fn, recurse)
        if self.norms is not None:
            self.norms.apply(fn)
        return self


def _movable(net: Any) -> Poolable:
    """The network, or what the function makes, as one that belongs to the supernet alone."""
    found = copy.deepcopy(net) if isinstance(net, nn.Module) else net() if callable(net) else net
    if not isinstance(found, Poolable):
        of = "a network" if isinstance(found, nn.Module) else f"a {type(found).__name__}"
        raise PoolsearchError(
            f"SuperNet was given {of} whose downsampling cannot be moved as it is: restride it first, as in "
            "SuperNet(poolsearch.restride(model, images)), with images of the size to work with."
        )
    return found
