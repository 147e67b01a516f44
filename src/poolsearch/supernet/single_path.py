"""The single-path supernet: one set of weights, one placement at a time (paper, section 2.2)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from poolsearch.nets.poolable import Poolable
from poolsearch.nets.resnet import Norm
from poolsearch.space import KEEP, Exponents, Placement
from poolsearch.supernet.norms import PrefixNorms, SupernetNorm, adapt, batch_norm, calibrated_norm, tracked_norm

_NORMS: dict[SupernetNorm, Norm] = {
    "batch": batch_norm,
    "calibrate": calibrated_norm,
    "per_placement": tracked_norm,
}


class SinglePath(nn.Module):
    """A network as a supernet: ``supernet(x_BCHW, placement)`` gives logits of shape (B, classes).

    Args:
        make_net: builds the network with the normalisation it is given.
        norm: ``batch`` always normalises by the batch at hand; ``calibrate`` uses statistics collected beforehand in
            training mode; ``per_placement`` keeps running statistics while training. Both are keyed by prefix.
        warm: the network that is built is a trained one, with statistics to begin with.
    """

    def __init__(self, make_net: Callable[[Norm], Poolable], norm: SupernetNorm, warm: bool = False) -> None:
        super().__init__()
        self.net = make_net(_NORMS[norm])
        adapt(self.net, norm)
        self.norms = None if norm == "batch" else PrefixNorms(self.net, warm and norm == "per_placement")

    def forward(self, x_BCHW: Tensor, placement: Placement) -> Tensor:
        self.net.check(placement)
        x_BCHW = self.run_stem(x_BCHW)
        for index in range(len(self.net.blocks)):
            x_BCHW = self.run_block(index, x_BCHW, placement)
        return self.run_head(x_BCHW, placement)

    def run_stem(self, x_BCHW: Tensor) -> Tensor:
        """Run the stem, which every placement shares.

        Args:
            x_BCHW: normalised images.

        Returns:
            What is alive before the first block: a map (B, C, H, W), or a tuple with maps of a restrided network.
        """
        if self.norms is not None:
            self.norms.select(PrefixNorms.STEM, (), self.training)
        return self.net.stem(x_BCHW)

    def run_block(self, index: int, x_BCHW: Tensor, placement: Placement) -> Tensor:
        """Run a block of ``placement`` after its site, with the statistics of the placement's prefix.

        Args:
            index: of the block, from 0.
            x_BCHW: what is alive before the site: a map (B, C, H, W), or a tuple with maps of a restrided network.
            placement: says what the site does; its sites so far choose the statistics.

        Returns:
            What is alive after the block, in the same form.
        """
        if self.norms is not None:
            self.norms.select(index, placement.prefix(index), self.training)
        return self.net.run_block(index, x_BCHW, placement.at(index))

    def run_at(self, index: int, x_BCHW: Tensor, resolution: Exponents) -> Tensor:
        """Run a block on a map that is at ``resolution`` already, with the statistics that its layers have then.

        Args:
            index: of the block, from 0.
            x_BCHW: what is alive before the block, at ``resolution``: a map (B, C, H, W), or a tuple with maps.
            resolution: halvings of height and width so far; only weights per resolution depend on it.

        Returns:
            What is alive after the block, in the same form and size.
        """
        return self.net.run_block(index, x_BCHW, KEEP)

    def run_head(self, x_BCHW: Tensor, placement: Placement) -> Tensor:
        """Run the head on the last map of ``placement``.

        Args:
            x_BCHW: what is alive after the last block.
            placement: all of its sites choose the statistics, since what reaches the head depends on all.

        Returns:
            Logits, (B, classes).
        """
        if self.norms is not None:
            self.norms.select(len(self.net.blocks), placement.sites, self.training)
        return self.net.head(x_BCHW)

    def weights(self) -> dict[str, Tensor]:
        """Parameters, and the normalisations' statistics where there are any, by name.

        Returns:
            Parameters under their names in the network, sharing its memory and without gradients; statistics as copies
            below ``norms/``.
        """
        found: dict[str, Tensor] = {name: p.detach() for name, p in self.net.named_parameters()}
        if self.norms is not None:
            found |= {f"norms/{name}": tensor for name, tensor in self.norms.tensors().items()}
        return found

    def load_weights(self, tensors: dict[str, Tensor]) -> None:
        """Copy in what :meth:`weights` gave.

        Args:
            tensors: by name, on any device; every parameter of the network must be among them.
        """
        for name, parameter in self.net.named_parameters():
            parameter.data.copy_(tensors[name])
        if self.norms is not None:
            self.norms.load({n.removeprefix("norms/"): t for n, t in tensors.items() if n.startswith("norms/")})
