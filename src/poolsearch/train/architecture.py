"""The weights of the resolutions: what they are made of, and how they are learned (paper, appendix C)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from poolsearch.settings.resolved import ResolvedRelaxed

Forward = Callable[..., Tensor]
"""The relaxed supernet, with its weights as they are or as they would be."""
Loss = Callable[[Forward], Tensor]
"""The loss of a minibatch."""

LEAST = 1e-5
"""The least weight in GAEA (docs/differences.md#gaea)."""


class Architecture(ABC):
    """What the weights of the resolutions are learned as.

    Attributes:
        parameter: float32, shape (L, R): blocks but the first, and resolutions. Gradients are with respect to it.
    """

    def __init__(self, parameter_LR: Tensor) -> None:
        self.parameter = parameter_LR.requires_grad_()

    @abstractmethod
    def weight_LR(self) -> Tensor:
        """The weights of the resolutions, differentiable in the parameter.

        Returns:
            Shape (L, R); rows are on the simplex.
        """

    @abstractmethod
    def step(self, gradient_LR: Tensor) -> None:
        """Go down the gradient of the loss, one step.

        Args:
            gradient_LR: of the loss in the parameter, shape (L, R).
        """

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next step depends on.

        Returns:
            Tensors by name; they share memory with what is learned.
        """
        return {"parameter": self.parameter.detach()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Undo of :meth:`tensors`.

        Args:
            tensors: of an architecture of the same method, blocks and resolutions; they are copied.
        """
        self.parameter.data.copy_(tensors["parameter"])


class Darts(Architecture):
    """Weights are the softmax of free numbers over the resolutions (Eq. 5), learned by Adam or SGD.

    Differs: SGD (plain, rate 0.1 by default) stands for "another standard optimizer", which is not named. The numbers
    have no weight decay, of which nothing is said. They begin equal (docs/differences.md#relaxed-search).

    Args:
        blocks: L, those that are weighed.
        resolutions: R.
        optimizer: "adam" (the paper's; torch's defaults but for the rate) or "sgd".
        lr: its learning rate.
        device: of the numbers.
    """

    def __init__(
        self, blocks: int, resolutions: int, optimizer: str, lr: float, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(torch.ones(blocks, resolutions, device=device))
        make = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
        self._optimizer: torch.optim.Optimizer = make([self.parameter], lr=lr)

    def weight_LR(self) -> Tensor:
        return self.parameter.softmax(1)

    def step(self, gradient_LR: Tensor) -> None:
        self.parameter.grad = gradient_LR
        self._optimizer.step()
        self.parameter.grad = None

    def tensors(self) -> dict[str, Tensor]:
        state = self._optimizer.state.get(self.parameter, {})
        known = {f"optimizer/{name}": value for name, value in state.items() if isinstance(value, Tensor)}
        return super().tensors() | known

    def load(self, tensors: dict[str, Tensor]) -> None:
        super().load(tensors)
        known = {n.removeprefix("optimizer/"): t for n, t in tensors.items() if n.startswith("optimizer/")}
        if known:  # Adam counts its steps on the CPU
            device = self.parameter.device
            self._optimizer.state[self.parameter] = {
                name: tensor.clone() if name == "step" else tensor.to(device, copy=True)
                for name, tensor in known.items()
            }


class Gaea(Architecture):
    """Weights are learned on the simplex itself, by exponentiated gradient (Li et al. 2021, "Geometry-aware gradient
    algorithms for neural architecture search").

    Differs: rate, least weight and equal start are those of that paper's released configurations, since ours gives
    none (docs/differences.md#gaea).

    Args:
        blocks, resolutions, lr, device: as of :class:`Darts`.
    """

    def __init__(self, blocks: int, resolutions: int, lr: float, device: torch.device | str = "cpu") -> None:
        super().__init__(torch.full((blocks, resolutions), 1 / resolutions, device=device))
        self._lr = lr

    def weight_LR(self) -> Tensor:
        return self.parameter

    def step(self, gradient_LR: Tensor) -> None:
        self.parameter.data.copy_(exponentiated(self.parameter.detach(), gradient_LR, self._lr))


def exponentiated(weight_LR: Tensor, gradient_LR: Tensor, lr: float) -> Tensor:
    """A step of exponentiated gradient: multiplied by ``exp(-lr gradient)``, at least :data:`LEAST`, normalised.

    Args:
        weight_LR: rows on the simplex, shape (L, R).
        gradient_LR: of the loss in the weights, shape (L, R).
        lr: learning rate.

    Returns:
        New weights, shape (L, R); rows sum to one.
    """
    moved_LR = (weight_LR * torch.exp(-lr * gradient_LR)).clamp(min=LEAST)
    return moved_LR / moved_LR.sum(1, keepdim=True)


def make_architecture(
    method: str, blocks: int, resolutions: int, settings: ResolvedRelaxed, device: torch.device
) -> Architecture:
    """The architecture of a relaxed method, before its first step.

    Args:
        method: "gaea"; any other is DARTS.
        blocks: L, those that are weighed: all but the first.
        resolutions: R.
        settings: learning rate, and of DARTS the optimizer.
        device: of the parameter.

    Returns:
        With all resolutions weighed alike.
    """
    if method == "gaea":
        return Gaea(blocks, resolutions, settings.arch_lr, device)
    return Darts(blocks, resolutions, settings.arch_optimizer, settings.arch_lr, device)


def first_order(relaxed: nn.Module, parameter: Tensor, val: Loss, scaler: torch.amp.GradScaler) -> Tensor:
    """The gradient of a validation loss in the architecture's parameter, with the supernet's weights held.

    Gradients of the supernet's weights are not computed. One that overflows (fp16) counts as zero.

    Args:
        relaxed: the relaxed supernet.
        parameter: of the architecture, shape (L, R).
        val: gives the supernet's loss on a validation minibatch, with the architecture's weights.
        scaler: of the loss, for fp16; one that is not enabled changes nothing.

    Returns:
        Shape (L, R), not scaled.
    """
    with frozen_parameters(relaxed):
        (gradient,) = torch.autograd.grad(scaler.scale(val(relaxed)), parameter)
    if not scaler.is_enabled():
        return gradient
    gradient = gradient / scaler.scale(torch.ones((), device=gradient.device))
    return torch.where(gradient.isfinite(), gradient, 0)


def second_order(
    relaxed: nn.Module, parameter: Tensor, train: Loss, val: Loss, lr: float, weight_decay: float
) -> Tensor:
    """The gradient of a validation loss at the weights that the supernet's next step would lead to.

    That step, ``w' = w - lr (grad_w train(w, a) + weight_decay w)``, depends on the architecture a, too, and the
    gradient of ``val(w'(a), a)`` goes through it.

    Differs: DARTS (Liu et al. 2018) takes finite differences for the second derivatives and has momentum in the inner
    step; here they are exact, by going backward twice, and the step is plain gradient descent.

    Args:
        relaxed: the relaxed supernet.
        parameter: of the architecture, shape (L, R).
        train: gives the supernet's loss on a training minibatch, for its step.
        val: gives its loss on a validation minibatch, with the weights that it has after the step.
        lr: learning rate of the supernet's step.
        weight_decay: of that step.

    Returns:
        Shape (L, R).
    """
    weights = {name: weight for name, weight in relaxed.named_parameters() if weight.requires_grad}
    gradients = torch.autograd.grad(train(relaxed), list(weights.values()), create_graph=True, allow_unused=True)
    moved = {
        name: _moved(weight.detach(), gradient, lr, weight_decay)
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
    }

    def stepped(*arguments: Any) -> Tensor:
        return functional_call(relaxed, moved, arguments)

    return torch.autograd.grad(val(stepped), parameter)[0]


def _moved(weight: Tensor, gradient: Tensor | None, lr: float, weight_decay: float) -> Tensor:
    """A weight after its step; what the loss does not depend on has none, as in the optimizer."""
    return weight if gradient is None else weight - lr * (gradient + weight_decay * weight)


@contextmanager
def frozen_parameters(module: nn.Module) -> Generator[None]:
    """Keep the parameters of a module from having gradients inside the block: what only they need is not computed.

    Args:
        module: its parameters that have gradients now have them again after the block.

    Yields:
        Nothing.
    """
    free = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in free:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in free:
            parameter.requires_grad_(True)
