"""Starting from weights: reading them, and loading them into a network whole or not at all."""

from __future__ import annotations

import codecs
import io
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from poolsearch.errors import PoolsearchError
from poolsearch.nets.objects import GIVEN, NetworkObject
from poolsearch.nets.poolable import Poolable
from poolsearch.nets.restride.loading import COLOURS, check_library, pretrained_model
from poolsearch.storage.files import sha256

PRETRAINED = "pretrained"

_CONTAINERS = ("state_dict", "model_state_dict", "model")  # an averaged copy beside it ("model_ema") is not taken
_OTHERS = ("net", "network", "params", "weights")  # taken where there is one of them
_AVERAGES = ("ema", "model_ema", "state_dict_ema", "ema_state_dict", "params_ema")  # where there is nothing else
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.")  # DataParallel, torch.compile, wrapping modules
_BACKBONES = ("backbone.", "encoder.")  # beside which a file may hold other parts: a head, a projector
_PREFIXES = (*_WRAPPERS, *_BACKBONES)
_COUNT = "num_batches_tracked"  # files of before torch 0.4.1 lack it; no average with a momentum depends on it


@dataclass(frozen=True)
class InitialWeights:
    """What a network can begin with.

    Attributes:
        source: where they are from, for the user.
        sha256: of the file, or of names and values where they are a library's own.
        tensors: by name, on the CPU.
    """

    source: str
    sha256: str
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class WeightMatch:
    """What a network takes of some weights.

    Attributes:
        tensors: under the network's names.
        replaced: names of its head's tensors that stay as they are.
        unused: names, as given, of tensors beside a backbone that are not the network's.
    """

    tensors: dict[str, Tensor]
    replaced: list[str]
    unused: list[str]


def check_init(init: str, net: str) -> None:
    """See, without reading them, that there may be weights where ``--init`` says; see :func:`find_weights`.

    Args:
        init: a file, 'pretrained', or 'given' for those of a network that is given as an object.
        net: the network's name.

    Raises:
        PoolsearchError: there is no such file, or the network is of no library.
    """
    if init == PRETRAINED:
        check_library(net)
    elif init != GIVEN:
        _check_there(Path(init))


def find_weights(init: str, net: str, channels: int = COLOURS, key: str | None = None) -> InitialWeights:
    """Read the weights that ``--init`` names.

    Args:
        init: a file, or 'pretrained'.
        net: the network's name; 'pretrained' is what its library offers for it.
        channels: of the images.
        key: as of :func:`read_weights`.

    Returns:
        The weights with their source and SHA-256.

    Raises:
        PoolsearchError: see :func:`read_weights` and :func:`library_weights`.
    """
    if init != PRETRAINED:
        return read_weights(Path(init), key)
    if key is not None:
        raise PoolsearchError(f"--init-key {key} is for a file of weights, not for --init {PRETRAINED}. Leave it out.")
    return library_weights(net, channels)


def object_weights(net: NetworkObject) -> InitialWeights:
    """The weights of a module that was given as an object.

    Args:
        net: with a module.

    Returns:
        Copies of its weights; their SHA-256 is of names and values.
    """
    assert net.module is not None
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in net.module.state_dict().items()}
    return InitialWeights(f"the weights of {net.name}", _digest(tensors), tensors)


def library_weights(net: str, channels: int = COLOURS) -> InitialWeights:
    """What timm or torchvision offers for a network, out of its cache or fetched.

    Args:
        net: ``timm:NAME`` or ``torchvision:NAME``.
        channels: of the images.

    Returns:
        The weights for the classes that they were trained on; their SHA-256 is of names and values.

    Raises:
        PoolsearchError: the network is of neither, there are no weights for it, or they cannot be fetched.
    """
    with torch.random.fork_rng(devices=[]):  # building it draws weights, which must not move the draws of others
        tensors: dict[str, Tensor] = pretrained_model(net, channels).state_dict()
    return InitialWeights(f"the pretrained weights of {net}", _digest(tensors), tensors)


def _digest(tensors: dict[str, Tensor]) -> str:
    parts = ((name.encode(), _bytes(tensor)) for name, tensor in sorted(tensors.items()))
    return sha256(*chain.from_iterable(parts))


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


def read_weights(path: Path, key: str | None = None) -> InitialWeights:
    """Read a ``.safetensors`` file, or any other as what ``torch.save`` writes.

    Nothing is unpickled but tensors, plain values, and NumPy's numbers and arrays. Of a training script's checkpoint
    the state under 'state_dict', 'model_state_dict' or 'model' is taken, else that under 'net', 'network', 'params'
    or 'weights', else an average, such as 'ema'.

    Args:
        path: the file; its suffix says of which of the two kinds it is.
        key: the entry to take instead.

    Returns:
        The weights under the names that the file has; their SHA-256 is the file's.

    Raises:
        PoolsearchError: there is no such file or entry, it is damaged, holds something else, or holds several states
            and ``key`` does not say which to take.
    """
    _check_there(path)
    content = path.read_bytes()
    found = _safetensors(path, content) if path.suffix == ".safetensors" else _pickled(path, content)
    tensors, entry = _state(path, found, key)
    return InitialWeights(f"{path}, entry '{entry}'" if entry else str(path), sha256(content), tensors)


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise PoolsearchError(
            f"there is no file {path} to begin with: give --init a .safetensors or .pth file of the network's weights, "
            f"or '{PRETRAINED}'."
        )


def _safetensors(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise PoolsearchError(f"{path} is damaged, or no safetensors file ({error}).") from error


def _pickled(path: Path, content: bytes) -> Any:
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged file raises depends on where the damage is
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if foreign is None:
            raise PoolsearchError(f"{path} is damaged, or was not written by torch.save.") from error
        raise PoolsearchError(
            f"{path} holds more than tensors ({foreign[1]}), and unpickling that could run any code. Save the "
            "network's state alone: torch.save(net.state_dict(), FILE)."
        ) from error


def _numpy_globals() -> list[Any]:
    """What unpickling NumPy's numbers and arrays calls, such as a best accuracy: none of it runs code of the file's."""
    scalar, array = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")  # as NumPy 1 and NumPy 2 write them
    made = [
        (call, f"{module}.{name}") for call, name in ((scalar, "scalar"), (array, "_reconstruct")) for module in modules
    ]
    kinds = {type(np.dtype(kind)) for kind in "?bhilqBHILQefdSU"}
    return [*made, np.ndarray, np.dtype, *kinds, codecs.encode]


def _state(path: Path, found: Any, key: str | None) -> tuple[dict[str, Tensor], str | None]:
    """The tensors by name in what a file held, and the entry where they were, if it is not one of the usual."""
    entry = key
    if key is not None:
        found = _entry(path, found, key)
    while isinstance(found, Mapping):
        there = [name for name in (*_CONTAINERS, *_OTHERS, *_AVERAGES) if isinstance(found.get(name), Mapping)]
        name = next((name for name in _CONTAINERS if name in there), None)
        if name is None and there:
            name = there[0]
            if len([one for one in there if one not in _AVERAGES]) > 1:
                raise PoolsearchError(
                    f"{path} holds several states: {', '.join(there)}. Say which to take: --init-key {name}."
                )
            entry = name if entry is None else f"{entry}.{name}"
        if name is None:
            break
        found = found[name]
    entries = cast("dict[str, Any]", found if isinstance(found, dict) else {})
    others = [name for name, value in entries.items() if not isinstance(value, Tensor)]
    if others or not entries:
        what = f"entries that are no tensors ({', '.join(map(str, others[:3]))})" if others else f"{found!r:.50}"
        if states := _states(entries):
            advice = f"Say which of its states to take: --init-key {' or '.join(states)}."
        else:
            names = ", ".join(map(repr, (*_CONTAINERS, *_OTHERS)))
            advice = f"Save the network's state: torch.save(net.state_dict(), FILE), by itself or under one of {names}."
        raise PoolsearchError(f"{path} holds {what}, where tensors by name are wanted. {advice}")
    return entries, entry


def _entry(path: Path, whole: Any, key: str) -> Any:
    """What lies under a key; a dot leads into an entry of an entry."""
    found = whole
    for part in [key] if isinstance(whole, Mapping) and key in whole else key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            states = ", ".join(_states(whole)) or "none"
            raise PoolsearchError(f"{path} has no entry '{key}' (--init-key). Entries with tensors: {states}.")
        found = cast("Mapping[str, Any]", found)[part]
    return found


def _states(found: Any) -> list[str]:
    """The entries that may be the weights of a network."""
    entries = cast("dict[str, Any]", found if isinstance(found, Mapping) else {})
    return [
        str(name)
        for name, value in entries.items()
        if isinstance(value, Mapping) and any(isinstance(v, (Tensor, Mapping)) for v in cast("Any", value).values())
    ]


def load_weights(net: Poolable, weights: InitialWeights) -> list[str]:
    """Load weights into a network, in place, in the network's own number format.

    Args:
        net: on any device but the meta device.
        weights: of the whole network, see :func:`match_weights`.

    Returns:
        Names of the head's tensors that stay as they are; see :func:`match_weights`.

    Raises:
        PoolsearchError: they are not of this network; it is then as it was.
    """
    found = match_weights(net, weights)
    net.original.load_state_dict(found.tensors, strict=False)  # fit has seen to what is missing
    return found.replaced


def match_weights(net: Poolable, weights: InitialWeights) -> WeightMatch:
    """See that weights are all that a network has, and nothing else.

    A layer of its head that is for another number of outputs is replaced, and so is what is missing of the head where
    its last layer is, as in the weights of a backbone: the network keeps its own. What lies beside a backbone, under
    other prefixes than 'backbone.' or 'encoder.', is not used.

    Args:
        net: the network, which may be on the meta device.
        weights: under the network's own names, or those behind a prefix that all of them share, such as ``module.``.

    Returns:
        The tensors under the network's names, what of its head the network keeps, and what is not used.

    Raises:
        PoolsearchError: tensors are missing, unexpected, or of another shape; the first three are named.
    """
    own: dict[str, Tensor] = net.original.state_dict(keep_vars=True)
    given, unused = _bare(weights.tensors, own)
    head = {id(tensor) for tensor in net.head.state_dict(keep_vars=True).values()}
    of_head = [name for name, tensor in own.items() if id(tensor) in head]
    replaced = [n for n in of_head if n in given and _other_outputs(given[n], own[n])]
    taken = {name: tensor for name, tensor in given.items() if name not in replaced}
    if of_head and not any(_layer(n) == _layer(of_head[-1]) for n in given):
        replaced += [n for n in of_head if n not in given]
    wrong = _mismatches({name: tensor for name, tensor in own.items() if name not in replaced}, taken)
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise PoolsearchError(
            f"{weights.source}: not the weights of this network: {', '.join(wrong[:3])}{more}. Give those of the very "
            "same network (--init), or the network that they are of (--net)."
        )
    return WeightMatch(taken, replaced, unused)


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _bare(tensors: dict[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors without prefixes, as long as no name is one of the network's, and the names of those left out.

    A prefix that all names share goes; else what has the prefix of a backbone is taken, where the network has it.
    """
    unused: list[str] = []
    names = {name: name for name in tensors}  # now: as given
    while names and not own.keys() & names.keys():
        shared = next((p for p in _PREFIXES if all(name.startswith(p) for name in names)), None)
        if shared is None:
            shared = next((p for p in _BACKBONES if any(f"{p}{name}" in names for name in own)), None)
        if shared is None:
            break
        unused += [given for name, given in names.items() if not name.startswith(shared)]
        names = {name.removeprefix(shared): given for name, given in names.items() if name.startswith(shared)}
    return {name: tensors[given] for name, given in names.items()}, unused


def _other_outputs(given: Tensor, own: Tensor) -> bool:
    return given.dim() == own.dim() and given.shape[:1] != own.shape[:1] and given.shape[1:] == own.shape[1:]


def _mismatches(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """What is missing, unexpected and unlike, in turn, so that the first few show every kind."""
    missing = (f"'{n}' is missing" for n in own if n not in given and not n.endswith(_COUNT))
    unexpected = (f"'{n}' is unexpected" for n in given if n not in own)
    pairs = ((n, given[n], t) for n, t in own.items() if n in given)
    unlike = (f"'{n}' is {_kind(a)}, expected {_kind(b)}" for n, a, b in pairs if not _alike(a, b))
    return [text for text in chain.from_iterable(zip_longest(missing, unexpected, unlike)) if text]


def _alike(a: Tensor, b: Tensor) -> bool:
    """Of one shape, and both or neither with fractions; the number of bits does not matter."""
    return a.shape == b.shape and a.is_floating_point() == b.is_floating_point()


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {[*tensor.shape]}"
