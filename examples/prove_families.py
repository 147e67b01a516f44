"""The proof of restriding, family by family, as a table: every placement where there are at most 1,000, else 200.

python examples/prove_families.py timm:resnet18d torchvision:mobilenet_v2     (needs timm; without names: all below)
python examples/prove_families.py --modules     which networks can be cut, one of every module, and why the others
                                                cannot; nothing is computed
"""

from __future__ import annotations

import argparse
import copy
import importlib
import random
import re
from collections.abc import Iterator

import torch
from torch import nn

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
    """The first network by name of every module of timm and torchvision, and some more of modules with unlike ones."""
    timm = importlib.import_module("timm")
    models = importlib.import_module("torchvision.models")
    first = {models.get_model_builder(name).__module__: name for name in reversed(models.list_models(module=models))}
    of_timm = (timm.list_models(module=module) for module in timm.list_modules())
    names = [f"timm:{names[0]}" for names in of_timm if names]
    names += [f"torchvision:{first[name]}" for name in sorted(first)]
    return [*names, *(name for name in BESIDE if name not in names)]


BESIDE = ("timm:resnet10t", "timm:cspresnet50", "timm:ese_vovnet19b_dw", "timm:poolformer_s12")

REASONS = {
    r"depends on nothing": "the forward pass makes a tensor",
    r"does not run on": "it does not run on images, or maps, of another size",
    r"has \d blocks?": "fewer than two blocks: no spatial convolutions between which downsampling could move",
    r"one size of maps only|images of one size": "position embeddings or linear layers over whole maps",
    r"nothing to move": "every site has a halving, or none has",
    r"several sizes": "maps of several sizes are alive between blocks",
    r"is not \(B, C, H, W\)": "what is alive between blocks is no map (tokens, a list)",
    r"in a way that cannot be moved": "a layer shrinks its maps otherwise than by a stride of 2",
    r"shrinks its maps by": "a block shrinks its maps by 4 or more",
    r"one graph": "the forward pass decides by values",
}


def reason(error: PoolsearchError) -> str:
    """The kind of a refusal, in words."""
    return next((words for pattern, words in REASONS.items() if re.search(pattern, str(error))), "others")


def built(name: str) -> nn.Module:
    """A network without numbers; many are built so at once, the others are emptied."""
    try:
        with torch.device("meta"):
            return load_model(name, 5)
    except PoolsearchError:
        return load_model(name, 5).to("meta")


def cut(name: str) -> tuple[list[str], str | None]:
    """The cells of a network's row: what it is cut into, or why it is not; and the kind of the reason."""
    try:
        model = built(name)
        *_, side = getattr(model, "default_cfg", {}).get("input_size", (299 if "inception" in name else 224,))
        net = restride(model, torch.empty(2, 3, side, side, device="meta"))
    except PoolsearchError as error:
        return [name, "", "", "", str(error).partition(". ")[0]], reason(error)
    except Exception as error:  # a fault of ours, which is not to hide the other networks
        return [name, "", "", "", f"{type(error).__name__}: {error}".partition("\n")[0]], "an error that is not told"
    return [name, str(len(net.blocks)), str(net.default), f"{net.space.size:,}", ""], None


def modules_table() -> Iterator[str]:
    """A row for each network, then how many are cut, and for each reason the others."""
    yield "| network | blocks | its own placement | space | refused |\n|" + " --- |" * 5
    names, refused = one_of_every_module(), dict[str, list[str]]()
    for name in names:
        cells, why = cut(name)
        if why is not None:
            refused.setdefault(why, []).append(name)
        yield f"| {' | '.join(cells)} |"
    yield f"\n{len(names) - sum(map(len, refused.values()))} of {len(names)} are cut.\n"
    yield "| refused, since | how many | networks |\n| --- | --- | --- |"
    for why, some in sorted(refused.items(), key=lambda item: -len(item[1])):
        yield f"| {why} | {len(some)} | {', '.join(some)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--modules", action="store_true")
    given = parser.parse_args()
    if given.modules:
        for line in modules_table():
            print(line, flush=True)
        return
    titles = (
        "network", "blocks", "its own placement", "space", "proved", "hold", "logit difference, evaluation", "training",
    )  # fmt: skip
    print(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}")
    for name in given.names:
        print(f"| {' | '.join(row(name, given.side))} |", flush=True)


if __name__ == "__main__":
    main()
