"""BatchNorm in a supernet: the same channel has other statistics under another placement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from poolsearch.nets.poolable import Poolable
from poolsearch.nets.restride.norms import use_batch_statistics
from poolsearch.space import Exponents, Placement

SupernetNorm = Literal["batch", "calibrate", "per_placement"]

Prefix = tuple[Exponents, ...]


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """A BatchNorm without parameters or running statistics: it always normalises by the batch at hand.

    Args:
        channels: of the maps to normalise.

    Returns:
        A new layer.

    Source: docs/differences.md#batchnorm-in-a-supernet.
    """
    return nn.BatchNorm2d(channels, affine=False, track_running_stats=False)


def tracked_norm(channels: int) -> nn.BatchNorm2d:
    """A BatchNorm without parameters, whose running statistics :class:`PrefixNorms` keeps.

    Args:
        channels: of the maps to normalise.

    Returns:
        A new layer; its statistics are averaged with torch's default momentum.
    """
    return nn.BatchNorm2d(channels, affine=False)


def calibrated_norm(channels: int) -> nn.BatchNorm2d:
    """As :func:`tracked_norm`, but a plain average over the batches seen.

    Args:
        channels: of the maps to normalise.

    Returns:
        A new layer.
    """
    return nn.BatchNorm2d(channels, affine=False, momentum=None)


def adapt(net: nn.Module, kind: SupernetNorm) -> None:
    """Give the BatchNorm layers of a network that was built to stand alone the behaviour of ``kind``, in place.

    Args:
        net: the network.
        kind: ``batch`` drops their running statistics; ``calibrate`` clears them and averages them plainly from then
            on; with ``per_placement`` they stay as they are.

    Differs: they keep their weights and biases, which may be trained, where the paper's have none.
    """
    if kind == "batch":
        use_batch_statistics(net)
    if kind == "calibrate":
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = None
                norm.reset_running_stats()  # a plain average must begin with the first batch that it is of


def _tracked(part: nn.Module) -> list[tuple[str, nn.BatchNorm2d]]:
    """The BatchNorm layers with statistics in a part of a network, by name."""
    norms = [(name, module) for name, module in part.named_modules() if isinstance(module, nn.BatchNorm2d)]
    return [(name, norm) for name, norm in norms if norm.track_running_stats]


_KINDS = ("mean_C", "var_C", "batches")


@dataclass
class _Statistics:
    mean_C: Tensor
    var_C: Tensor
    batches: Tensor

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> _Statistics:
        """Those of a layer that has some."""
        assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
        return cls(norm.running_mean, norm.running_var, norm.num_batches_tracked).copy("cpu")

    def copy(self, device: torch.device | str) -> _Statistics:
        return _Statistics(*(t.to(device, copy=True) for t in (self.mean_C, self.var_C, self.batches)))


class PrefixNorms:
    """Running statistics of every BatchNorm of one network, keyed by the placement's prefix.

    What reaches a block depends on the sites up to it and on nothing later, so that placements which agree so far
    share their statistics exactly; this is what keeps prefix sharing exact. Every prefix begins with the statistics
    that its layers have when this is made.

    Args:
        net: the network.
        warm: the layers' statistics are of a trained network.
    """

    STEM = -1
    """The part before the first block; blocks have their numbers, and the head the one after the last."""

    def __init__(self, net: Poolable, warm: bool = False) -> None:
        self._net = net
        parts = {self.STEM: net.stem} | dict(enumerate([*net.blocks, net.head]))
        self._norms = {index: _tracked(part) for index, part in parts.items()}
        self._start = {index: [_Statistics.of(norm) for _, norm in norms] for index, norms in self._norms.items()}
        self._warm = warm
        self._kept: dict[tuple[int, Prefix], list[_Statistics]] = {}

    def select(self, block: int, prefix: Prefix, training: bool) -> None:
        """Put the statistics of ``prefix`` into the layers of a part; a pass in training then updates them.

        In evaluation a prefix never trained has none: its layers then normalise by the batch at hand, or, where
        training began with trained weights, by the statistics that came with these.

        Args:
            block: the number of a block, :attr:`STEM`, or the number of blocks for the head.
            prefix: the sites up to and including the one before the block; for the head all sites, for the stem none.
            training: a prefix that is met for the first time gets statistics of its own.
        """
        norms = self._norms[block]
        kept = self._kept.get((block, prefix))
        if kept is None and training:
            kept = self._kept[block, prefix] = self._fresh(block)
        elif kept is None and self._warm:
            kept = self._fresh(block)
        for i, (_, norm) in enumerate(norms):
            norm.running_mean = kept[i].mean_C if kept else None
            norm.running_var = kept[i].var_C if kept else None
            norm.num_batches_tracked = kept[i].batches if kept else None

    def select_all(self, placement: Placement) -> None:
        """Put the statistics of a placement into the layers of all parts, as for its evaluation.

        Args:
            placement: of the network's number of blocks.
        """
        for block in self._norms:
            self.select(block, () if block == self.STEM else placement.sites[:block], False)

    def select_start(self) -> None:
        """Put the statistics that every prefix begins with into the layers, as copies."""
        for block, norms in self._norms.items():
            for (_, norm), start in zip(norms, self._fresh(block), strict=True):
                norm.running_mean, norm.running_var = start.mean_C, start.var_C
                norm.num_batches_tracked = start.batches

    def apply(self, change: Callable[[Tensor], Tensor]) -> None:
        """Move or cast what was kept, as torch does with the buffers of a module.

        Args:
            change: what is done to each tensor.
        """
        for key, kept in self._kept.items():
            self._kept[key] = [_Statistics(change(s.mean_C), change(s.var_C), change(s.batches)) for s in kept]

    def tensors(self) -> dict[str, Tensor]:
        """All statistics that were kept, as tensors by name.

        Returns:
            For each block (-1: the stem) that has been trained at P prefixes, in sorted order: ``BLOCK/prefixes``, int8
            (P, sites, 2); and for each of its layers ``BLOCK/LAYER/mean_C`` and ``.../var_C``, (P, C), and
            ``.../batches``, (P,). Blocks without any are left out.
        """
        found: dict[str, Tensor] = {}
        for block, norms in self._norms.items():
            prefixes = sorted(prefix for b, prefix in self._kept if b == block)
            if not prefixes or not norms:
                continue
            found[f"{block}/prefixes"] = torch.tensor(prefixes, dtype=torch.int8).reshape(len(prefixes), -1, 2)
            for i, (layer, _) in enumerate(norms):
                kept = [self._kept[block, prefix][i] for prefix in prefixes]
                for kind in _KINDS:
                    found[f"{block}/{layer}/{kind}"] = torch.stack([getattr(each, kind) for each in kept])
        return found

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Replace all statistics by those that :meth:`tensors` gave.

        Args:
            tensors: by name, on any device; others among them are passed over.
        """
        self._kept.clear()
        for block, norms in self._norms.items():
            if f"{block}/prefixes" not in tensors:
                continue
            for p, sites in enumerate(tensors[f"{block}/prefixes"].tolist()):
                kept = self._kept[block, tuple((h, w) for h, w in sites)] = self._fresh(block)
                for each, (layer, _) in zip(kept, norms, strict=True):
                    for kind in _KINDS:
                        getattr(each, kind).copy_(tensors[f"{block}/{layer}/{kind}"][p])

    def _fresh(self, block: int) -> list[_Statistics]:
        device = next(self._net.parameters()).device
        return [start.copy(device) for start in self._start[block]]
