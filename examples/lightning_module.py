"""The same search in Lightning: a module of four supernets, whose training step asks which to train and tells how good.

``python examples/lightning_module.py`` takes a minute. All that is poolsearch's is marked.
"""

from __future__ import annotations

import argparse
from typing import Any

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import poolsearch
from own_loop import Net


class Mixture(lightning.LightningModule):
    """Supernets with an optimizer each; a step trains one of them at one placement."""

    def __init__(self, example: Tensor, members: int, steps: int) -> None:
        super().__init__()
        self.automatic_optimization = False  # one of several optimizers makes the step
        nets = [poolsearch.restride(Net(), example) for _ in range(members)]  # poolsearch
        self.supernets = nn.ModuleList(poolsearch.SuperNet(net) for net in nets)  # poolsearch
        self.search = poolsearch.MixtureSearch(nets[0].space, members=members, steps=steps)  # poolsearch

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD(supernet.parameters(), 0.1, momentum=0.9) for supernet in self.supernets]

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        (x, y), (val_x, val_y) = batch["train"], batch["val"]
        trial = self.search.ask()  # poolsearch
        supernet, optimizer = self.supernets[trial.member], self.optimizers()[trial.member]
        loss = nn.functional.cross_entropy(supernet(x, trial.placement), y)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        with torch.no_grad():
            accuracy = (supernet(val_x, trial.placement).argmax(1) == val_y).float().mean()
        self.search.tell(trial, accuracy)  # poolsearch
        self.log_dict({"train_loss": loss, "val_accuracy": accuracy}, prog_bar=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["search"] = self.search.state_dict()  # poolsearch

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.search.load_state_dict(checkpoint["search"])  # poolsearch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--checkpoint", help="go on from this file of Lightning's")
    arguments = parser.parse_args()
    lightning.seed_everything(0)
    digits = load_digits()
    images, targets = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1, torch.tensor(digits.target)
    halves = random_split(TensorDataset(images, targets), [900, 897])
    train, val = (DataLoader(half, 60, shuffle=True, drop_last=True) for half in halves)

    mixture = Mixture(images[:2], members=4, steps=arguments.epochs * len(train))
    trainer = lightning.Trainer(max_epochs=arguments.epochs, accelerator="cpu", logger=False)
    trainer.fit(mixture, {"train": train, "val": val}, ckpt_path=arguments.checkpoint)

    found = {}
    for member, placements in mixture.search.to_evaluate().items():  # poolsearch
        for placement, metric in poolsearch.evaluate_tree(mixture.supernets[member], val, placements).items():
            found[member, placement] = metric
    print(mixture.search.ranking(found))


if __name__ == "__main__":
    main()
