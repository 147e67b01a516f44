"""Networks by name: timm's, torchvision's, or from a file of the user's."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from poolsearch.errors import PoolsearchError
from poolsearch.image_size import ImageSize
from poolsearch.nets.objects import LIBRARY
from poolsearch.nets.poolable import Op
from poolsearch.nets.restride.assemble import restride
from poolsearch.nets.restride.network import Restrided
from poolsearch.nets.restride.trace import blank_copy, check_kind
from poolsearch.user_code import call_user_code, factory_of, file_of

_AUXILIARY = ("googlenet", "inception_v3")
"""torchvision's networks whose auxiliary classifiers are left out, as those of its own pretrained googlenet are."""

COLOURS = 3
"""Channels of the images that networks take unless they are made for others: red, green and blue."""

LIBRARIES = ("torchvision", "timm")

FORMS = ("timm:NAME", "torchvision:NAME", "FILE.py:FACTORY")


def from_name(
    name: str,
    classes: int,
    image_size: ImageSize | int,
    op: Op = "native",
    search_stem: bool = False,
    digest: str | None = None,
    blocks: Sequence[str] = (),
    channels: int | None = None,
    make: Callable[[int], nn.Module] | None = None,
) -> Restrided:
    """A network by name, with fresh weights, made searchable.

    Args:
        name, classes, digest, channels, make: as of :func:`load_model`.
        image_size: of the images; the side of a square, or height and width.
        op, search_stem, blocks: as of :func:`~poolsearch.nets.restride.restride`.

    Returns:
        The network, on torch's default device.

    Raises:
        PoolsearchError: see :func:`load_model` and :func:`~poolsearch.nets.restride.restride`.
    """
    model, size = load_model(name, classes, digest, channels, make), ImageSize.of(image_size)
    example_BCHW = torch.zeros(2, channels or taken_channels(model, size), *size)
    try:
        return restride(model, example_BCHW, tuple(blocks) or None, op, search_stem, classes)
    except PoolsearchError as error:
        if channels is None or channels == (first := _first_convolution(model)):
            raise
        hint = f"Its first convolution takes {first} channels, the images have {channels}: use --channels {first}."
        raise PoolsearchError(f"{error} {hint}") from error


def load_model(
    name: str,
    classes: int,
    digest: str | None = None,
    channels: int | None = None,
    make: Callable[[int], nn.Module] | None = None,
) -> nn.Module:
    """The unmodified network ``timm:NAME``, ``torchvision:NAME`` or ``FILE.py:FACTORY``, with fresh weights.

    Args:
        name: a FACTORY is a function of the number of classes.
        classes: outputs.
        digest: SHA-256 that FILE.py must have; None: the caller names it, so that whatever is in it may run.
        channels: of the images; None: those that the network takes by itself. timm's are made for any number.
        make: makes a network that was given as an object, from the number of classes; the name is only told then.

    Returns:
        The library's or the user's own module, on torch's default device.

    Raises:
        PoolsearchError: there is no such network, timm is not installed, or FACTORY fails or gives something else;
            or a network of torchvision is to take another number of channels.
    """
    library, _, rest = name.rpartition(":")
    if make is not None:
        return _built(name, lambda: make(classes))
    if library == LIBRARY:
        raise PoolsearchError(
            f"the network {rest} was given as a Python object, which no file holds. Give it again, in Python: "
            "poolsearch.run(FOLDER, resume=True, net=...), and so with search, rank, retrain, export and open."
        )
    if library == "timm":
        return _timm(rest, pretrained=False, **library_options(name, classes, channels))
    if library == "torchvision":
        if channels not in (None, COLOURS):
            raise PoolsearchError(
                f"the images have {channels} channels, and torchvision's networks take {COLOURS}. Use --channels "
                f"{COLOURS}, to which images are converted, or a network of timm, which is built for any number."
            )
        return _torchvision(rest, weights=None, **library_options(name, classes, channels))
    if file := file_of(name):
        factory = factory_of(Path(file).expanduser(), rest, "network", digest)
        _check_factory(name, factory, classes)
        return _built(name, lambda: factory(classes))
    raise PoolsearchError(f"'{name}' names no network: give {', '.join(FORMS)}.")


def _check_factory(name: str, factory: Callable[..., Any], classes: int) -> None:
    """See that what a user's file has under a name makes networks out of a number of classes.

    Raises:
        PoolsearchError: it is a network, or takes other arguments.
    """
    remedy = "Give a function that makes the network and takes the number of classes, such as def make(classes): ..."
    made = inspect.unwrap(factory)
    if isinstance(made, nn.Module):
        raise PoolsearchError(f"{name} is a network that is made already, a {type(made).__name__}. {remedy}")
    try:
        inspect.signature(factory).bind(classes)
    except TypeError as error:
        raise PoolsearchError(f"{name} cannot be called with the number of classes: {error}. {remedy}") from None
    except ValueError:  # of what is not written in Python nothing is known before it is called
        pass


def names_like(name: str, others: Iterable[str]) -> list[str]:
    """The networks that may be meant by a name that is of none.

    Args:
        name: as a user wrote it, such as ``resnet18d``, ``timm/resnet18d`` or ``efficentnet_b0``.
        others: names of networks beside those of torchvision and timm.

    Returns:
        The networks of this name in each library that is installed; else up to three whose names are near.
    """
    word = re.split(r"[:/.]", name)[-1].lower()
    known = {other: other for other in others}
    known |= {f"{library}:{each}": each for library in LIBRARIES for each in _listed(library)}
    if same := [full for full, each in known.items() if each == word.replace("-", "_")]:
        return same
    near = dict.fromkeys(get_close_matches(word, known.values(), n=3, cutoff=0.8))
    return [next(full for full, each in known.items() if each == one) for one in near]


def _listed(library: str) -> list[str]:
    """The networks of a library; none where it is not installed."""
    try:
        if library == "timm":
            return importlib.import_module("timm").list_models()
        models: Any = importlib.import_module("torchvision.models")
        return models.list_models(module=models)
    except ModuleNotFoundError:
        return []


def library_options(name: str, classes: int, channels: int | None) -> dict[str, bool | int]:
    """What a library's function is given to make a network with fresh weights, here and in exported code.

    Args:
        name: ``timm:NAME`` or ``torchvision:NAME``.
        classes: outputs.
        channels: of the images; None: those that the network takes by itself.

    Returns:
        Arguments by their names.
    """
    library, _, rest = name.rpartition(":")
    options: dict[str, bool | int] = {"num_classes": classes}
    if library == "timm":
        return options | _channels_of_timm(channels)
    if rest in _AUXILIARY:
        options |= {"aux_logits": False, "init_weights": True}  # the latter is their default, but a warning without
    return options


def taken_channels(model: nn.Module, size: ImageSize) -> int:
    """How many channels the images of a network have.

    Args:
        model: any.
        size: of images that it can be tried with.

    Returns:
        What its first convolution takes, in the order in which modules were made; 3 where the network runs with these.
    """
    first = _first_convolution(model)
    if first in (0, COLOURS):  # 0: of a lazy module, which does not know yet
        return COLOURS
    try:
        blank_copy(model).eval()(torch.empty(2, COLOURS, *size, device="meta"))
    except Exception:  # the model's own
        return first
    return COLOURS


def _first_convolution(model: nn.Module) -> int:
    return next((part.in_channels for part in model.modules() if isinstance(part, nn.Conv2d)), COLOURS)


def _channels_of_timm(channels: int | None) -> dict[str, int]:
    return {} if channels in (None, COLOURS) else {"in_chans": channels}


def pretrained_model(name: str, channels: int = COLOURS) -> nn.Module:
    """A library's network with the weights that come with it, for their own classes.

    Args:
        name: ``timm:NAME`` or ``torchvision:NAME``.
        channels: of the images; timm converts the weights of the first layer.

    Returns:
        The library's own module; its weights come out of the library's cache, or are fetched.

    Raises:
        PoolsearchError: there is no such network, or no weights for it, or they cannot be fetched.
    """
    check_library(name)
    library, _, rest = name.rpartition(":")
    try:
        if library == "timm":
            return _timm(rest, pretrained=True, **_channels_of_timm(channels))
        # weights bring the auxiliary classifiers with them; googlenet drops them by itself
        without = {"aux_logits": False} if rest in _AUXILIARY and rest != "googlenet" else {}
        return _torchvision(rest, weights="DEFAULT", progress=False, **without)
    except PoolsearchError as error:
        raise PoolsearchError(
            f"no pretrained weights: {error} Where there is no network connection, or the library has no weights for "
            "it, give a file of weights: --init FILE."
        ) from error


def check_library(name: str) -> None:
    """See that a network is of a library that offers weights.

    Args:
        name: the network's name.

    Raises:
        PoolsearchError: it is not.
    """
    if name.rpartition(":")[0] not in LIBRARIES:
        raise PoolsearchError(
            f"--init pretrained is for networks of timm and torchvision, and {name} has no weights of a library. Give "
            "a file of weights: --init FILE."
        )


def _timm(name: str, **options: Any) -> nn.Module:
    try:
        timm: Any = importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise PoolsearchError(
            f"network 'timm:{name}' needs timm, which is not installed: pip install 'poolsearch[timm]' (or timm)."
        ) from error
    if not timm.is_model(name.split(".")[0]):
        raise _no_model("timm", name, timm.list_models())
    return _built(f"timm:{name}", lambda: timm.create_model(name, **options))


def _torchvision(name: str, **options: Any) -> nn.Module:
    models: Any = importlib.import_module("torchvision.models")
    names = models.list_models(module=models)
    if name not in names:
        raise _no_model("torchvision", name, names)
    return _built(f"torchvision:{name}", lambda: models.get_model(name, **options))


def _no_model(library: str, name: str, names: Iterable[str]) -> PoolsearchError:
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Near it: {', '.join(near)}." if near else f" {library}'s own list has them all."
    return PoolsearchError(f"{library} has no network '{name}'.{hint}")


def _built(name: str, build: Any) -> nn.Module:
    model = call_user_code(name, build)
    if not isinstance(model, nn.Module):
        raise PoolsearchError(f"{name} gave a {type(model).__name__}: it has to give a torch.nn.Module.")
    check_kind(model)
    return model
