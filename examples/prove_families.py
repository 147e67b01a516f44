"""The proof of restriding, family by family, as a table: every placement where there are at most 1,000, else 200.

python examples/prove_families.py timm:resnet18d torchvision:mobilenet_v2     (needs timm; without names: all below)
python examples/prove_families.py --modules     which networks can be cut, one of every module; nothing is computed
"""

from __future__ import annotations

import argparse
import copy
import importlib
import random
from collections.abc import Iterator

import torch

from poolsearch.errors import PoolsearchError
from poolsearch.nets.restride import load_model, prove, restride
from poolsearch.space import Placement, Space

NAMES = (
    "torchvision:resnet18", "torchvision:resnext50_32x4d", "torchvision:wide_resnet50_2", "torchvision:regnet_x_400mf",
    "torchvision:regnet_y_400mf", "torchvision:convnext_tiny", "torchvision:efficientnet_b0",
    "torchvision:mobilenet_v2", "torchvision:mobilenet_v3_small", "torchvision:vgg11_bn", "torchvision:densenet121",
    "timm:resnet18", "timm:resnext50_32x4d", "timm:wide_resnet50_2", "timm:resnet18d", "timm:seresnet18",
    "timm:regnetx_002", "timm:regnety_002", "timm:convnext_atto", "timm:efficientnet_b0", "timm:mobilenetv2_100",
    "timm:mobilenetv3_small_100", "timm:vgg11_bn", "timm:densenet121",
)  # fmt: skip


def chosen(space: Space) -> list[Placement]:
    """All placements of a small space, 200 seeded random ones of a larger."""
    numbers = range(space.size) if space.size <= 1000 else random.Random(0).sample(range(space.size), 200)
    return [space[number] for number in numbers]


def row(name: str, side: int) -> Iterator[str]:
    """The cells of a network's row."""
    torch.manual_seed(0)
    model = load_model(name, 5)
    images_BCHW = torch.randn(2, 3, side, side)
    net = restride(model, images_BCHW)
    placements = chosen(net.space)
    proofs = prove(net, model, placements, images_BCHW, run=4)
    failed = [proof for proof in proofs if not proof.holds]
    yield from (name, str(len(net.blocks)), str(net.default), f"{net.space.size:,}", f"{len(proofs):,}")
    yield "all" if not failed else f"{len(failed)} fail: {failed[0].placement}: {failed[0].problems[0]}"
    for training in (False, True):
        theirs, ours = copy.deepcopy(model).train(training), copy.deepcopy(net).train(training)
        logits = []
        for run in (theirs, ours.fixed(net.default)):
            torch.manual_seed(1)
            logits.append(run(images_BCHW))
        yield f"{float((logits[0] - logits[1]).abs().max()):.1f}"


def one_of_every_module() -> list[str]:
    """The first network by name of every module of timm and torchvision."""
    timm = importlib.import_module("timm")
    models = importlib.import_module("torchvision.models")
    first = {models.get_model_builder(name).__module__: name for name in reversed(models.list_models(module=models))}
    of_timm = (timm.list_models(module=module) for module in timm.list_modules())
    return [
        *(f"timm:{names[0]}" for names in of_timm if names),
        *(f"torchvision:{first[name]}" for name in sorted(first)),
    ]


def cut(name: str) -> Iterator[str]:
    """The cells of a network's row: what it is cut into, or why it is not."""
    side = 299 if "inception" in name else 224
    try:
        model = load_model(name, 5).to("meta")
        net = restride(model, torch.empty(2, 3, side, side, device="meta"))
    except PoolsearchError as error:
        yield from (name, "", "", "", str(error).partition(". ")[0])
    else:
        yield from (name, str(len(net.blocks)), str(net.default), f"{net.space.size:,}", "")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--modules", action="store_true")
    given = parser.parse_args()
    if given.modules:
        print("| network | blocks | its own placement | space | refused |\n|" + " --- |" * 5)
        for name in one_of_every_module():
            print(f"| {' | '.join(cut(name))} |", flush=True)
        return
    titles = (
        "network", "blocks", "its own placement", "space", "proved", "hold", "logit difference, evaluation", "training",
    )  # fmt: skip
    print(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}")
    for name in given.names:
        print(f"| {' | '.join(row(name, given.side))} |", flush=True)


if __name__ == "__main__":
    main()
