"""A network that the user has as a Python object: a module, or a function that makes one."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from poolsearch.errors import PoolsearchError
from poolsearch.storage.files import sha256

LIBRARY = "object"
"""What stands before the colon in the name of such a network."""

GIVEN = "given"
"""As ``init``: trainings begin with the weights that the module has."""

_CLASSES = ("num_classes", "n_classes", "nb_classes", "classes", "num_labels")
"""Parameters that take the number of classes."""

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class NetworkObject:
    """A network that is given as an object.

    Attributes:
        name: ``object:NAME``, with the name of its class or function.
        make: gives a new module for a number of classes.
        module: the one that was given, which is never changed; None where a function was.
    """

    name: str
    make: Callable[[int], nn.Module]
    module: nn.Module | None

    @classmethod
    def of(cls, net: Any) -> NetworkObject:
        """Take what the user gives for a network.

        Args:
            net: a module, of which every training gets a copy; or a function or class that makes one, with fresh
                weights, from nothing or from the number of classes.

        Returns:
            The network.

        Raises:
            PoolsearchError: it is neither, or a function that needs more arguments.
        """
        net = getattr(net, "_orig_mod", net)  # that torch.compile was given
        if isinstance(net, nn.Module):
            if any(tensor.is_meta for tensor in net.state_dict().values()):
                raise PoolsearchError(
                    "net is a module on the meta device, which has no weights. Give the function that makes it."
                )
            own = copy.deepcopy(net)
            return cls(f"{LIBRARY}:{type(net).__name__}", partial(_copy, own), own)
        if not callable(net):
            raise PoolsearchError(
                f"net is a {type(net).__name__}. Give the name of a network, a torch.nn.Module, or a function that "
                "makes one from the number of classes."
            )
        name = getattr(net.func if isinstance(net, partial) else net, "__name__", type(net).__name__)
        name = "network" if name == "<lambda>" else name
        return cls(f"{LIBRARY}:{name}", _maker(name, net), None)

    def digest(self, classes: int) -> str:
        """What tells it from other networks, whatever its weights are.

        Args:
            classes: outputs.

        Returns:
            SHA-256 of the modules as they are printed, and of the names and shapes of what they keep.
        """
        with torch.random.fork_rng(devices=[]):  # building it draws weights, which must not move the draws of others
            module = self.make(classes)
        shapes = (f"{name} {tuple(tensor.shape)}".encode() for name, tensor in module.state_dict().items())
        return sha256(repr(module).encode(), *shapes)

    @property
    def is_trained(self) -> bool:
        """Whether it is a module that was trained: some normalisation has other values than those it begins with."""
        if self.module is None:
            return False
        return any(_was_trained(norm) for norm in self.module.modules() if isinstance(norm, _NORMS))


def named_network(net: Any) -> tuple[str, Callable[[int], nn.Module] | None]:
    """What a user gives for a network, by name or as an object.

    Args:
        net: a name, or as of :meth:`NetworkObject.of`.

    Returns:
        Its name, and what makes it where it is an object.

    Raises:
        PoolsearchError: see :meth:`NetworkObject.of`.
    """
    if isinstance(net, str):
        return net, None
    found = NetworkObject.of(net)
    return found.name, found.make


def _maker(name: str, function: Callable[..., Any]) -> Callable[[int], Any]:
    """The function with one argument, the number of classes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # one that does not say what it takes
        return function
    if named := [one.name for one in parameters if one.name in _CLASSES and one.kind != one.POSITIONAL_ONLY]:
        return partial(_call_by_name, function, named[0])
    open_ones = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [one for one in parameters if one.default is one.empty and one.kind not in open_ones]
    if not needed:
        return partial(_call_alone, function)
    if len(needed) > 1 or needed[0].kind == inspect.Parameter.KEYWORD_ONLY:
        names = ", ".join(one.name for one in needed)
        raise PoolsearchError(
            f"net is {name}, which needs the arguments {names}. Give a function of the number of classes, such as "
            f"lambda classes: {name}(...)."
        )
    return function


def _copy(module: nn.Module, classes: int) -> nn.Module:
    return copy.deepcopy(module)


def _call_by_name(function: Callable[..., Any], name: str, classes: int) -> Any:
    return function(**{name: classes})


def _call_alone(function: Callable[..., Any], classes: int) -> Any:
    return function()


def _was_trained(norm: Any) -> bool:
    for values, fresh in ((norm.weight, None), (getattr(norm, "running_mean", None), 0.0)):
        if isinstance(values, torch.Tensor) and values.numel() > 1 and not values.is_meta:
            first = values.flatten()[0] if fresh is None else fresh
            if bool((values != first).any()):
                return True
    return False
