"""poolsearch's own networks as code of their own, with the strides or poolings of one placement written out."""

from __future__ import annotations

from poolsearch.exporting import code_templates
from poolsearch.exporting.model_card import Feature, ModelCard, last_blocks
from poolsearch.exporting.usage import BACKBONE, feature_table, header_code, inference_code, source
from poolsearch.nets.build import blank
from poolsearch.nets.poolable import Poolable, enlarge_factors, shrink_factors
from poolsearch.nets.resnet import BasicBlock, Bottleneck, Head, ImageNetStem, StemBlock
from poolsearch.space import KEEP, Exponents, Placement

_POOLINGS = {
    "max": "nn.functional.max_pool2d(x, POOLED[index], ceil_mode=True)",
    "avg": "nn.functional.avg_pool2d(x, POOLED[index], ceil_mode=True)",
    "blur": "blur(x, POOLED[index])",
}
_ENLARGING = 'nn.functional.interpolate(x, scale_factor=ENLARGED[index], mode="nearest")'


def builtin_code(facts: ModelCard, features: list[Feature]) -> str:
    """The code of ``model.py`` for one of poolsearch's own networks.

    Args:
        facts: the network's spec, its placement, and what else stands in the file.
        features: the maps of its backbone, as :func:`~poolsearch.exporting.model_card.features_of` gives them.

    Returns:
        A whole Python module, which defines its own layers, for ``model.safetensors`` beside it.
    """
    net, placement = blank(facts.spec), facts.placement
    kinds = [type(part) for part in (net.stem, *net.blocks, net.head)]
    residual = BasicBlock in kinds or Bottleneck in kinds
    used = [
        *([code_templates.blur] if net.op == "blur" else []),
        *([code_templates.StemBlock] if StemBlock in kinds else []),
        *([code_templates.ImageNetStem] if ImageNetStem in kinds else []),
        *([code_templates.shortcut] if residual else []),
        *([code_templates.BasicBlock] if BasicBlock in kinds else []),
        *([code_templates.Bottleneck] if Bottleneck in kinds else []),
        code_templates.Head,
    ]
    modules = [f"blocks.{i}" for i in last_blocks(placement)]
    sections = (
        header_code(facts, "a plain PyTorch network and its weights.", ["import torch.nn.functional as F"]) + "\n"
        + feature_table(features, modules),
        source(*used), _net(net, placement), BACKBONE, _LOAD, inference_code(facts),
    )  # fmt: skip
    return "\n\n".join(sections)


_LOAD = '''def load(weights: str | Path = WEIGHTS) -> nn.Module:
    """The trained network, on the CPU, in evaluation mode."""
    net = Net()
    net.load_state_dict(load_file(weights))
    return net.eval()
'''


def _net(net: Poolable, placement: Placement) -> str:
    strided = net.op == "stride"
    stem = (
        f"ImageNetStem({net.channels}, {net.stem.conv1.out_channels})"
        if isinstance(net.stem, ImageNetStem)
        else "nn.Identity()"
    )
    sites = {i: placement.at(i) for i in range(placement.length) if placement.at(i) != KEEP}
    blocks = [_block(block, sites.get(i, KEEP) if strided else KEEP) for i, block in enumerate(net.blocks)]
    rows = "\n".join(f"            {block},  # {i}" for i, block in enumerate(blocks))
    assert isinstance(net.head, Head)
    pooled = {} if strided else {i: _factor(shrink_factors(e)) for i, e in sites.items() if max(e) > 0}
    enlarged = {i: _factor(enlarge_factors(e)) for i, e in sites.items() if min(e) < 0}
    tables = _table("POOLED", "pooled by so much", pooled)
    tables += _table("ENLARGED", "enlarged by so much, each pixel repeated", enlarged)
    resizing = _resizing("POOLED", _POOLINGS[net.op]) if pooled else ""
    resizing += _resizing("ENLARGED", _ENLARGING) if enlarged else ""
    ends = ", ".join(map(str, last_blocks(placement)))
    return f'''{tables}class Net(nn.Module):
    """{"Strided" if strided else "Pooled"} at {placement.shown}."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = {stem}
        self.blocks = nn.ModuleList([
{rows}
        ])
        self.head = Head({net.head.fc.in_features}, {net.head.fc.out_features})

    def features(self, x: Tensor) -> list[Tensor]:
        """The last map of each resolution."""
        x, maps = self.stem(x), []
        for index, block in enumerate(self.blocks):
{resizing}            x = block(x)
            if index in ({ends},):
                maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x)[-1])
'''


def _table(name: str, what: str, factor: dict[int, str]) -> str:
    """A constant with the factor before each of these blocks; nothing where there are none."""
    if not factor:
        return ""
    rows = ", ".join(f"{index}: {text}" for index, text in factor.items())
    return f"# Before these blocks the map is {what}\n{name} = {{{rows}}}\n\n\n"


def _resizing(table: str, code: str) -> str:
    return f"            if index in {table}:\n                x = {code}\n"


def _block(block: object, exponents: Exponents) -> str:
    stride = "" if max(exponents) <= 0 else f", stride={_factor(shrink_factors(exponents))}"
    match block:
        case StemBlock():
            return f"StemBlock({block.conv1.in_channels}, {block.conv1.out_channels})"
        case BasicBlock() | Bottleneck():
            return f"{type(block).__name__}({block.conv1.in_channels}, {block.conv1.out_channels}{stride})"
        case _:
            raise AssertionError(f"no block of ours: {block!r}")


def _factor(factor: tuple[int, int]) -> str:
    height, width = factor
    return str(height) if height == width else f"({height}, {width})"
