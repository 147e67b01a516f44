"""BatchNorm of a restrided network in a supernet."""

from __future__ import annotations

from torch import nn


def use_batch_statistics(net: nn.Module) -> None:
    """Make every BatchNorm of a network, in place, always normalise by the batch at hand.

    Running statistics are dropped, weights and biases and their names stay. Load weights before: a state without
    running statistics is not that of the original.

    Args:
        net: any module; its ``nn.BatchNorm2d`` layers and those derived from them are changed.
    """
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = norm.num_batches_tracked = None
