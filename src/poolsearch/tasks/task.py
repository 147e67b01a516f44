"""A task: what a network is trained for, in functions that know nothing of networks or placements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor

from poolsearch.errors import PoolsearchError
from poolsearch.settings.groups import Metric

TargetKind = Literal["classes", "labels", "values", "masks"]
"""What there is to learn of each image: the number of its class; 0 or 1 for each label, (K,); numbers of any shape;
the number of the class of each pixel, (H, W), where 255 does not count."""


@dataclass(frozen=True)
class Task:
    """What a network is trained for.

    Attributes:
        loss: (outputs, targets) of a minibatch to its mean loss, shape (). Outputs are what the network returns: a
            tensor, tuple, list or dictionary.
        metric: (outputs, targets) of a minibatch to a number for each image, shape (B,), from 0 to 1, higher is better;
            of a metric that is no mean over images to one for the minibatch, shape () or a Python number. NaN is 0.
        collate: the targets of some images, as a dataset gives them, to an array (B, ...), read when the images are;
            None: they are stacked.
        targets: what they are. Those of an image are kept as int64, uint8 (K,), float32 (...) or uint8 (H, W). Masks
            are cropped and mirrored with their images.
        metric_name: of the metric, for people.
        per_image: whether the metric gives a number for each image. Without, the verdict's intervals know only the
            chance of the trainings, not that of the images.
    """

    loss: Callable[[Any, Tensor], Tensor]
    metric: Callable[[Any, Tensor], Tensor | float]
    collate: Callable[[Sequence[Any]], Any] | None = None
    targets: TargetKind = "values"
    metric_name: str = "metric"
    per_image: bool = True


@dataclass(frozen=True)
class NamedTask(Task):
    """A task that has a name in the settings.

    Attributes:
        class_metric: of which the classes that a network sees are kept, and the metric is that of all images together.
        outputs: what they must be: one number for each class or name, (B, K), or maps of them, (B, K, height, width).
        guesses: from the targets of the training images to what networks say that look at no image: outputs of one
            image each, without the axis of the minibatch.
        scale_K2: mean and deviation of each value in the training images; a network gives values less the one, divided
            by the other. None where outputs are no values.
    """

    class_metric: Metric | None = None
    outputs: Literal["numbers", "maps"] = "numbers"
    guesses: Callable[[Tensor], Sequence[Tensor]] = field(default=lambda _: ())
    scale_K2: Tensor | None = None


def class_metric_of(task: Task) -> Metric | None:
    """The metric of all images together that a task is judged by.

    Args:
        task: any.

    Returns:
        Of classification its metric, for which the class of each image is kept; else None.
    """
    return task.class_metric if isinstance(task, NamedTask) else None


def main_output(outputs: Any) -> Tensor:
    """Of a network that gives several outputs the one that counts.

    Args:
        outputs: a tensor; of a dictionary the entry ``out`` or ``logits``, else its first; of a tuple or list the
            first.

    Returns:
        The tensor.

    Raises:
        PoolsearchError: there is no tensor.
    """
    if isinstance(outputs, Tensor):
        return outputs
    first: Any = None
    if isinstance(outputs, Mapping):
        found = cast("Mapping[str, Any]", outputs)
        first = next((found[name] for name in ("out", "logits") if name in found), next(iter(found.values()), None))
    elif isinstance(outputs, (tuple, list)):
        first = next(iter(cast("Sequence[Any]", outputs)), None)
    if not isinstance(first, Tensor):
        raise PoolsearchError(
            f"the network gives a {type(outputs).__name__} without a tensor in front. Give a tensor, a tuple or list "
            "that begins with one, or a dictionary with 'out'; or a task of your own (poolsearch.Task)."
        )
    return first


def responses(task: Task, outputs: Any, targets: Tensor) -> Tensor:
    """What is kept of each image, from which the metric of many images is found.

    Args:
        task: what is learned.
        outputs: of a minibatch.
        targets: (B, ...), on the same device.

    Returns:
        Shape (B,): the number of the class that the network sees, where the task has a metric of classes; else the
        metric of each image, float32. One of the whole minibatch stands at each of its images.
    """
    if class_metric_of(task) is not None:
        return main_output(outputs).argmax(1)
    return _values(task, outputs, targets).expand(len(targets))


def minibatch_metric(task: Task, outputs: Any, targets: Tensor) -> Tensor:
    """The metric of a minibatch, without waiting for the device.

    Args:
        task, outputs, targets: as of :func:`responses`.

    Returns:
        A fraction, shape (), on the device.
    """
    return _values(task, outputs, targets).mean()


def _values(task: Task, outputs: Any, targets: Tensor) -> Tensor:
    found = torch.as_tensor(task.metric(outputs, targets), device=targets.device)
    return torch.nan_to_num(found.detach().float(), nan=0.0)


def check_loss(task: Task, outputs: Any, targets: Tensor) -> None:
    """See that the loss of a task is a number that can be learned from.

    Args:
        task, targets: as of :func:`responses`.
        outputs: with gradients.

    Raises:
        PoolsearchError: it raises, or gives something else.
    """
    try:
        loss: object = task.loss(outputs, targets)
    except Exception as error:  # of the user's own function
        raise PoolsearchError(
            f"the loss of the task fails on outputs {_shape(outputs)} and targets {_shape(targets)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(loss, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PoolsearchError(f"the loss of the task gives a {type(loss).__name__}. Give a tensor with one number.")
    if loss.dim():
        raise PoolsearchError(f"the loss of the task gives the shape {[*loss.shape]}. Give one number: loss.mean().")
    if not loss.requires_grad:
        raise PoolsearchError(
            "the loss of the task has no gradient to the network's outputs: compute it from them by torch, without "
            "detach(), item() or argmax()."
        )
    if not torch.isfinite(loss):
        raise PoolsearchError(
            f"the loss of the task is {loss.item()} on the first minibatch. Look at its divisions, logarithms and "
            "roots, and at the network's outputs."
        )


def _shape(value: Any) -> str:
    return f"of shape {[*value.shape]}" if isinstance(value, Tensor) else f"that are a {type(value).__name__}"


def check_metric(task: Task, outputs: Any, targets: Tensor) -> None:
    """See that the metric of a task gives what it must.

    Args:
        task, outputs, targets: as of :func:`responses`.

    Raises:
        PoolsearchError: it gives no tensor, another shape than ``per_image`` says, or values outside of 0 to 1.
    """
    given: object = task.metric(outputs, targets)
    images = len(targets)
    if not isinstance(given, (Tensor, float, int)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PoolsearchError(f"the metric of the task gives a {type(given).__name__}. Give a tensor.")
    found = torch.as_tensor(given)
    shape = [images] if task.per_image else []
    if class_metric_of(task) is None and [*found.shape] != shape:
        other = "per_image=False" if found.dim() == 0 else f"shape {shape}"
        raise PoolsearchError(
            f"the metric of the task gives the shape {[*found.shape]} for {images} images; expected is {shape}, a "
            f"number {'for each image' if task.per_image else 'for the minibatch'} (Task.per_image is "
            f"{task.per_image}). Give {other}."
        )
    check_range(float(found.min()), float(found.max()))


def check_range(low: float, high: float) -> None:
    """See that the values of a metric are fractions.

    Args:
        low, high: the least and the largest.

    Raises:
        PoolsearchError: they are not, or NaN.
    """
    if not (low >= 0 and high <= 1):
        raise PoolsearchError(
            f"the metric of the task gives values from {low:.4g} to {high:.4g}. It must be between 0 and 1, higher is "
            "better: divide it by its largest value, or take 1 / (1 + error)."
        )
