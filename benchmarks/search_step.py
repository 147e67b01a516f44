"""(a) A search step against the bare loop, and (b) against a loop in the usual style, on one process and in turns.

The bare loop is the same network, batch and placements: forward, backward, optimizer step, one validation forward, on
tensors that are ready; nothing else. The usual style takes PIL images one by one through torchvision's transforms, in
fp32 and contiguous memory, and balances in probabilities every step.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision import transforms

from poolsearch.nets.build import NetSpec, build
from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.session.run import Run
from poolsearch.settings import Settings
from poolsearch.space import Placement
from poolsearch.stages.search import SearchTraining
from poolsearch.supernet.norms import batch_norm
from timing import alternate, each, ratio

MEMBERS = 4


class InOrder:
    """A sampler that goes through all placements again and again: they differ eightfold in cost."""

    def __init__(self, space: list[Placement]) -> None:
        self._next = cycle(space)

    def ask(self) -> Placement:
        return next(self._next)

    def tell(self, placement: Placement, reward: float) -> None:
        pass

    def state(self) -> None:
        pass

    def load_state(self, state: None) -> None:
        pass


def images(folder: Path, number: int) -> Path:
    """Random images of CIFAR-10's size."""
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (number, 32, 32, 3), np.uint8)
    np.savez(folder / "images.npz", x=x, y=np.arange(number) % 10)
    return folder / "images.npz"


def ours(run: Run) -> tuple[SearchTraining, Iterator[int]]:
    """The search's own task; the steps are counted on."""
    return SearchTraining(run, InOrder(list(run.space))), iter(range(10**9))


def bare(run: Run, task: SearchTraining) -> Iterator[None]:
    """One step of the floor for each item taken."""
    members = [copy.deepcopy(m) for m in task.members]
    optimizers = [torch.optim.SGD(m.parameters(), 0.1, momentum=0.9, weight_decay=1e-3, fused=True) for m in members]
    x, y = task._train.batch(0)
    for i, placement in enumerate(cycle(list(run.space))):
        m = i % len(members)
        member, optimizer = members[m], optimizers[m]
        optimizer.zero_grad(set_to_none=True)
        with run.machine.autocast():
            loss = F.cross_entropy(member(x, placement), y)
        loss.backward()
        optimizer.step()
        with torch.inference_mode(), run.machine.autocast():
            (member(x, placement).argmax(1) == y).float().mean().item()
        yield


def usual(run: Run, batch: int) -> Iterator[None]:
    """One step of the usual style for each item taken."""
    nets = [build(NetSpec("cifar-resnet20", 10), batch_norm) for _ in range(MEMBERS)]
    optimizers = [torch.optim.SGD(n.parameters(), 0.1, momentum=0.9, weight_decay=1e-3) for n in nets]
    common = [transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.25,) * 3)]
    crop = transforms.Compose([transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip(), *common])
    plain = transforms.Compose(common)
    pixels, labels = np.asarray(run.images.pixels_NHWC), run.images.label_N
    draw, score = np.random.default_rng(0), torch.ones(run.space.size, MEMBERS)

    def minibatch(indices: np.ndarray, transform: transforms.Compose) -> tuple[Tensor, Tensor]:
        chosen = draw.choice(indices, batch, replace=False)
        return torch.stack([transform(Image.fromarray(pixels[i])) for i in chosen]), torch.from_numpy(labels[chosen])

    for i, placement in enumerate(cycle(list(run.space))):
        joint = torch.softmax((score * 50).flatten(), 0).reshape_as(score)
        for _ in range(20):
            joint = joint / joint.sum(1, keepdim=True) / run.space.size
            joint = joint / joint.sum(0, keepdim=True) / MEMBERS
        number = i % run.space.size
        m = int(torch.multinomial(joint[number], 1))
        x, y = minibatch(run.split.search_train, crop)
        optimizers[m].zero_grad()
        F.cross_entropy(nets[m](x, placement), y).backward()
        optimizers[m].step()
        x, y = minibatch(run.split.search_val, plain)
        with torch.no_grad():
            accuracy = (nets[m](x, placement).argmax(1) == y).float().mean().item()
        score[number, m] = 0.9 * score[number, m] + 0.1 * accuracy
        yield


def main(batch: int = 128, steps: int = 36, rounds: int = 5) -> list[str]:
    """Lines for the report. ``steps`` of 36 are all placements once."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.of(
            preset="paper", data=str(images(Path(folder), 20 * batch)), batch=batch, val_batch=batch, members=MEMBERS,
            augment="crop-flip", net="cifar-resnet20", cache_dir=f"{folder}/cache",
        )  # fmt: skip
        with open_run(Path(folder) / "run", settings, False, SilentProgress()) as run:
            task, count = ours(run)
            floor, reference = bare(run, task), usual(run, batch)
            seconds = alternate(
                {
                    "search": lambda: [task.step(next(count)) for _ in range(steps)],
                    "bare": lambda: [next(floor) for _ in range(steps)],
                    "usual": lambda: [next(reference) for _ in range(steps)],
                },
                rounds,
            )
            return [
                f"precision {run.machine.precision}, batch {batch}, {MEMBERS} members, {steps} placements in order",
                f"a step: {each(seconds, steps)}",
                f"search / bare: {ratio(seconds, 'search', 'bare')}",
                f"usual / search: {ratio(seconds, 'usual', 'search')}",
            ]


if __name__ == "__main__":
    print("\n".join(main()))
