"""One training step before anything begins: a network that cannot be trained, or evaluated, is refused there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from poolsearch.errors import PoolsearchError
from poolsearch.image_size import ImageSize
from poolsearch.nets.poolable import FixedPlacementNet, Poolable
from poolsearch.nets.restride.trace import generators_kept
from poolsearch.space import Placement
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

    Returns:
        The machine to train on.

    Raises:
        PoolsearchError: the network does not have ``classes`` outputs, does not train on this minibatch, its loss is
            no finite number, or a placement does not run.
    """
    images = batch if machine.device.type == "cuda" else min(batch, _IMAGES)
    formats = [machine.memory_format]
    if choose and machine.memory_format == torch.channels_last:
        formats.append(torch.contiguous_format)
    refused: str | None = None
    cards = [machine.device] if machine.device.type == "cuda" else []
    with generators_kept(), torch.random.fork_rng(devices=cards):
        torch.manual_seed(0)
        x_BCHW, y_B = torch.randn(images, net.channels, *image_size), torch.arange(images) % classes
        for memory_format in formats:
            on = replace(machine, memory_format=memory_format)
            try:
                _train_and_evaluate(net, name, classes, placements, x_BCHW, y_B, replace(on, compiler=None))
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
    x_BCHW: Tensor,
    y_B: Tensor,
    machine: Machine,
) -> None:
    """A step at the default placement, and evaluations of it and of others."""
    model: nn.Module = machine.place(FixedPlacementNet(net, net.default))
    optimizer = sgd(model.parameters(), 1e-3, 0.9, 0.0)
    scaler = torch.amp.GradScaler(machine.device.type, enabled=machine.precision == "fp16")
    x_BCHW, y_B = x_BCHW.to(machine.device, memory_format=machine.memory_format), y_B.to(machine.device)

    def logits(x_BCHW: Tensor) -> Tensor:
        out_BK = model(x_BCHW)
        _check_outputs(out_BK, name, len(x_BCHW), classes)
        return out_BK

    model.train()
    loss = train_step(lambda: backward(logits, x_BCHW, y_B, scaler, machine), optimizer, scaler).item()
    if loss - loss != 0:
        raise PoolsearchError(
            f"the loss of the first training step of {name}, with fresh weights in {machine.precision}, is {loss}: "
            "it would learn nothing. Look at how its weights are initialised, and at divisions, logarithms and roots "
            "in its forward method."
        )
    model.eval()
    predict(logits, x_BCHW, machine)
    for placement in placements:
        predict(FixedPlacementNet(net, placement).eval(), x_BCHW[:2], machine)


def _check_outputs(out_BK: object, name: str, images: int, classes: int) -> None:
    """See that a network gives a number for each class.

    Raises:
        PoolsearchError: it gives something else.
    """
    if not isinstance(out_BK, Tensor) or out_BK.dim() != 2 or len(out_BK) != images:
        shape = f"a tensor of shape {[*out_BK.shape]}" if isinstance(out_BK, Tensor) else f"a {type(out_BK).__name__}"
        raise PoolsearchError(
            f"{name} gives {shape} for {images} images; it has to give class logits, a tensor of shape "
            f"[{images}, {classes}]."
        )
    if out_BK.shape[1] != classes:
        raise PoolsearchError(
            f"{name} has {out_BK.shape[1]} outputs, and there are {classes} classes. Give it as many outputs as there "
            "are classes (a FACTORY is told their number as its first argument), or name the network and data that "
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
