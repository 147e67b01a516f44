"""Learned sizes against placements: a network as it is, with sizes that it learns, with these sizes fixed, and at the
placement nearest to them, each trained from scratch for as long, with several seeds (docs/resizers.md).

    python examples/learned_sizes.py --method diffstride                       # digits, a minute for each seed
    python examples/learned_sizes.py --method dynopool --data my/cifar10 --net cifar-resnet18 --width 16 --epochs 30

``--data`` is a folder with train*.parquet and test*.parquet, whose columns are an image and a label, as Hugging Face
has them. The accuracies are of the test images; nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

from poolsearch.cost.macs import count_macs
from poolsearch.nets.build import NetSpec, blank, build
from poolsearch.nets.poolable import FixedPlacementNet, Poolable
from poolsearch.resizers import Resized, freeze, map_sizes, parameter_groups, replace_downsampling

Data = tuple[Tensor, Tensor]


def digits() -> tuple[Data, Data]:
    """Handwritten digits, enlarged to 32 pixels: every fourth one is a test image."""
    found = load_digits()
    images = F.interpolate(torch.tensor(found.images, dtype=torch.float32)[:, None] / 8 - 1, (32, 32), mode="bilinear")
    targets, test = torch.tensor(found.target), torch.arange(len(found.target)) % 4 == 0
    return (images[~test], targets[~test]), (images[test], targets[test])


def parquet(folder: Path, part: str, most: int) -> Data:
    """Images, normalised by 0.5, and targets of one part."""
    table = pq.read_table(sorted(folder.glob(f"{part}*.parquet"))).slice(0, most)
    names = {field.name for field in table.schema}
    image, label = ("img" if "img" in names else "image"), ("label" if "label" in names else "fine_label")
    pixels = [np.asarray(Image.open(io.BytesIO(row["bytes"])).convert("RGB")) for row in table[image].to_pylist()]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images, torch.tensor(table[label].to_pylist())


def train(net: nn.Module, data: Data, args: argparse.Namespace, seed: int) -> float:
    """Train with SGD and a cosine; gives the seconds of a step. Learned sizes are printed after every epoch."""
    groups = parameter_groups(net, args.lr, args.weight_decay, args.resizer_lr)
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    steps = len(data[0]) // args.batch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * steps)
    draws, began = torch.Generator().manual_seed(seed), time.monotonic()
    for epoch in range(args.epochs):
        net.train()
        for rows in torch.randperm(len(data[0]), generator=draws)[: steps * args.batch].view(steps, -1):
            loss = F.cross_entropy(net(data[0][rows]), data[1][rows])
            if isinstance(net, Resized) and groups[1]["params"]:
                loss = loss + args.cost * net.cost()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if isinstance(net, Resized):
            shown = ", ".join("{}x{}".format(*size) for size in map_sizes(net, data[0][:1]).values())
            print(f"  epoch {epoch + 1}: loss {loss.item():.3f}, sizes {shown}")
    return (time.monotonic() - began) / (args.epochs * steps)


@torch.no_grad()
def accuracy(net: nn.Module, data: Data) -> float:
    """In percent."""
    net.eval()
    right = [(net(x).argmax(1) == y).float() for x, y in zip(data[0].split(250), data[1].split(250), strict=True)]
    return 100 * torch.cat(right).mean().item()


def main(args: argparse.Namespace) -> None:
    data, test = digits() if args.data == "digits" else (
        parquet(Path(args.data), part, most) for part, most in (("train", args.images), ("test", 10_000))
    )  # fmt: skip
    spec = NetSpec(args.net, int(data[1].max()) + 1, width=args.width, channels=data[0].shape[1])
    image = data[0][:1]
    height, width = image.shape[2:]
    rows: dict[str, list[tuple[float, int, float]]] = {}

    def fresh(seed: int) -> Poolable:
        torch.manual_seed(seed)
        return build(spec)

    def resized(seed: int) -> Resized:
        return replace_downsampling(fresh(seed), args.method, image, args.start, seed=seed)

    def run(name: str, net: Resized | FixedPlacementNet, seed: int) -> None:
        seconds = train(net, data, args, seed)
        if isinstance(net, Resized):
            macs = net.macs(height, width)
        else:
            empty = torch.empty(2, *image.shape[1:], device="meta")
            macs, _ = count_macs(lambda: FixedPlacementNet(blank(spec), net.placement)(empty))
        rows.setdefault(name, []).append((accuracy(net, test), macs, seconds))
        print(f"seed {seed}, {name}: {rows[name][-1][0]:.2f} %, {macs / 1e6:.1f} M multiply-adds", flush=True)

    for seed in range(args.seeds):
        plain = fresh(seed)
        run("as it is", FixedPlacementNet(plain, plain.default), seed)
        learned = resized(seed)
        run("sizes learned", learned, seed)
        fixed = resized(seed)
        fixed.resizers.load_state_dict(learned.resizers.state_dict())
        freeze(fixed, image)
        run("these sizes fixed", fixed, seed)
        near = learned.nearest_placement(height, width)
        print(f"  nearest placement: {near.shown}")
        run("nearest placement", FixedPlacementNet(fresh(seed), near), seed)
    print(f"\n| {args.net} | test accuracy (%) | multiply-adds (M) | seconds per step |\n| --- | --- | --- | --- |")
    for name, found in rows.items():
        accuracies, macs, seconds = zip(*found, strict=True)
        spread = f" ± {statistics.stdev(accuracies):.2f}" if len(found) > 1 else ""
        print(
            f"| {name} | {statistics.mean(accuracies):.2f}{spread} (n = {len(found)}) "
            f"| {statistics.mean(macs) / 1e6:.1f} | {statistics.mean(seconds):.3f} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="diffstride", choices=["diffstride", "shape-adaptor", "dynopool"])
    parser.add_argument("--start", choices=["own", "random", "equal", "uniform"])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--images", type=int, default=50_000, help="training images to take")
    parser.add_argument("--net", default="cifar-resnet20", help="a network of poolsearch's own")
    parser.add_argument("--width", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--resizer-lr", type=float, default=0.1)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--cost", type=float, default=0.0, help="weight of the method's cost in the loss")
    parser.add_argument("--seeds", type=int, default=1)
    main(parser.parse_args())
