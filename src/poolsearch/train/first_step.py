"""One training step before anything begins: a network that cannot be trained, or evaluated, is refused there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from poolsearch.errors import PoolsearchError
from poolsearch.image_size import ImageSize
from poolsearch.nets.poolable import FixedPlacementNet, Poolable
from poolsearch.nets.restride.trace import generators_kept
from poolsearch.space import Placement
from poolsearch.tasks.classification import classification
from poolsearch.tasks.task import NamedTask, Task, check_loss, check_metric, main_output
from poolsearch.train.machine import Machine
from poolsearch.train.optim import sgd
from poolsearch.train.step import backward, predict, train_step

_IMAGES = 4  # on a CPU more take time and show nothing else; on a GPU a whole minibatch shows whether it has the memory


@dataclass(frozen=True)
class FirstStep:
    """A training step and an evaluation that worked.

    Attributes:
        machine: where they did, with the memory format in which they did.
        images: of the minibatch.
        refused: what the network said in channels-last memory; None where it was not tried, or worked.
    """

    machine: Machine
    images: int
    refused: str | None = None

    def __str__(self) -> str:
        """What was tried, for people."""
        many = "1 image" if self.images == 1 else f"{self.images} images"
        return f"{many}, {self.machine.layout} memory, {self.machine.precision}"

    @property
    def note(self) -> str | None:
        """What to tell the user: why it is contiguous memory, or None."""
        if self.refused is None:
            return None
        return (
            f"the network does not run in channels-last memory ({self.refused}), so contiguous memory is taken, which "
            "may be slower; reshape or flatten in place of view would run in both"
        )


def first_step(
    net: Poolable,
    name: str,
    image_size: ImageSize,
    classes: int,
    placements: Sequence[Placement],
    batch: int,
    machine: Machine,
    choose: bool = True,
    flag: str = "--batch",
    task: Task | None = None,
    targets: Tensor | None = None,
) -> FirstStep:
    """Make the training step that a training makes, and evaluate: same memory format, precision, loss and optimizer.

    The default placement is trained on random images and evaluated; other placements are only evaluated, on two. Blocks
    are not compiled. Torch's generators are left as they were.

    Args:
        net: with fresh weights; they are changed.
        name: of the network, for messages.
        image_size: of the images.
        classes: outputs that it has to have.
        placements: others to evaluate.
        batch: images of a minibatch; on a CPU at most 4 are taken.
        machine: where and how to train.
        choose: take contiguous memory where channels-last does not work.
        flag: that the batch was given by, for messages.
        task: what is learned; None: classification.
        targets: of as many images, or more; None: classes, one after the other.

    Returns:
        The machine to train on.

    Raises:
        PoolsearchError: the network does not have ``classes`` outputs, does not train on this minibatch, its loss is
            no finite number, the metric is not what a metric must be, or a placement does not run.
    """
    images = batch if machine.device.type == "cuda" else min(batch, _IMAGES)
    formats = [machine.memory_format]
    if choose and machine.memory_format == torch.channels_last:
        formats.append(torch.contiguous_format)
    refused: str | None = None
    cards = [machine.device] if machine.device.type == "cuda" else []
    with generators_kept(), torch.random.fork_rng(devices=cards):
        torch.manual_seed(0)
        x_BCHW = torch.randn(images, net.channels, *image_size)
        targets = torch.arange(images) % classes if targets is None else targets[:images]
        task = task or classification("accuracy")
        for memory_format in formats:
            on = replace(machine, memory_format=memory_format)
            try:
                _train_and_evaluate(net, name, classes, placements, task, x_BCHW, targets, replace(on, compiler=None))
            except PoolsearchError:
                raise
            except Exception as error:  # the network's own: whatever it raises
                if memory_format is not formats[-1] and not isinstance(error, torch.OutOfMemoryError):
                    refused = _words(error)
                    continue
                raise PoolsearchError(_refusal(name, images, image_size, flag, machine.precision, error)) from error
            finally:
                if machine.device.type == "cuda":
                    torch.cuda.empty_cache()
            return FirstStep(on, images, refused)
    raise AssertionError("the last memory format either works or is refused")


def _train_and_evaluate(
    net: Poolable,
    name: str,
    classes: int,
    placements: Sequence[Placement],
    task: Task,
    x_BCHW: Tensor,
    targets: Tensor,
    machine: Machine,
) -> None:
    """A step at the default placement, and evaluations of it and of others."""
    model: nn.Module = machine.place(FixedPlacementNet(net, net.default))
    optimizer = sgd(model.parameters(), 1e-3, 0.9, 0.0)
    scaler = torch.amp.GradScaler(machine.device.type, enabled=machine.precision == "fp16")
    x_BCHW, targets = x_BCHW.to(machine.device, memory_format=machine.memory_format), targets.to(machine.device)

    def checked(x_BCHW: Tensor) -> Any:
        outputs = model(x_BCHW)
        if isinstance(task, NamedTask):
            _check_outputs(task, outputs, name, len(x_BCHW), classes)
        elif torch.is_grad_enabled():
            check_loss(task, outputs, targets)
        return outputs

    model.train()
    loss = train_step(lambda: backward(task, checked, x_BCHW, targets, scaler, machine), optimizer, scaler).item()
    if loss - loss != 0:
        raise PoolsearchError(
            f"the loss of the first training step of {name}, with fresh weights in {machine.precision}, is {loss}: "
            "it would learn nothing. Look at how its weights are initialised, and at divisions, logarithms and roots "
            "in its forward method."
        )
    model.eval()
    with torch.inference_mode(), machine.autocast():
        check_metric(task, checked(x_BCHW), targets)
    for placement in placements:
        predict(task, FixedPlacementNet(net, placement).eval(), x_BCHW[:2], targets[:2], machine)


_NUMBERED = {"classes": "classes", "labels": "labels", "values": "values", "masks": "classes of pixels"}


def _check_outputs(task: NamedTask, outputs: Any, name: str, images: int, classes: int) -> None:
    """See that a network gives a number for each class, label or value, or a map of them.

    Raises:
        PoolsearchError: it gives something else.
    """
    what, maps = _NUMBERED[task.targets], task.outputs == "maps"
    try:
        out = main_output(outputs)
    except PoolsearchError as error:
        raise PoolsearchError(f"{name}: {error}") from None
    if out.dim() != (4 if maps else 2) or len(out) != images:
        needed = f"{'class ' if task.targets in ('classes', 'masks') else ''}logits"
        needed = "values" if task.targets == "values" else needed
        wanted = f"[{images}, {classes}, height, width]" if maps else f"[{images}, {classes}]"
        raise PoolsearchError(
            f"{name} gives a tensor of shape {[*out.shape]} for {images} images; it has to give {needed}, a tensor of "
            f"shape {wanted}." + (" Give a network for this task: --net FILE.py:FACTORY." if maps else "")
        )
    if out.shape[1] != classes:
        raise PoolsearchError(
            f"{name} has {out.shape[1]} outputs, and there are {classes} {what}. Give it as many outputs as there "
            f"are {what} (a FACTORY is told their number as its first argument), or name the network and data that "
            "belong together (poolsearch check: --classes)."
        )


def _refusal(name: str, images: int, image_size: ImageSize, flag: str, precision: str, error: Exception) -> str:
    """What to say when the step fails."""
    many = f"{images} images" if images > 1 else f"one image ({flag} 1)"
    text = f"{name} does not train on a minibatch of {many} of {image_size}, in {precision}: {_words(error)}."
    if isinstance(error, torch.OutOfMemoryError):
        return f"{text} Give a smaller {flag}."
    if images == 1 and "more than 1 value" in text:
        return f"{text} BatchNorm needs more than one value of each channel: give {flag} 2 or more."
    return text if precision == "fp32" else f"{text} A run may do with --precision fp32."


def _words(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
