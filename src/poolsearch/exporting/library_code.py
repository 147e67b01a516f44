"""A network of a library, or of the user's, as the original and a patch of it for one placement."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from poolsearch.errors import PoolsearchError
from poolsearch.exporting import code_templates
from poolsearch.exporting.chain import chain_at, native_chain
from poolsearch.exporting.forward import CannotPatch
from poolsearch.exporting.model_card import Feature, ModelCard, last_blocks
from poolsearch.exporting.patch import Patch, flat_patch, short_patch
from poolsearch.exporting.usage import (
    BACKBONE,
    HOOKED_BACKBONE,
    feature_table,
    header_code,
    inference_code,
    quoted,
    source,
)
from poolsearch.nets.build import NetSpec
from poolsearch.nets.restride import Restrided
from poolsearch.nets.restride.loading import library_options
from poolsearch.nets.restride.trace import blank_copy
from poolsearch.space import Placement
from poolsearch.user_code import ModulePlace, file_of

ORIGINAL = "original"
"""The name, without .py, of the copy of the user's file."""


def check_patchable(placement: Placement) -> None:
    """See that a placement only moves the network's halvings: a patch knows no other change of its maps.

    Args:
        placement: to be exported, of a network that is not poolsearch's own.

    Raises:
        PoolsearchError: it enlarges maps, or shrinks them by more than two at once.
    """
    if any(exponent not in (0, 1) for site in placement.sites for exponent in site):
        raise PoolsearchError(
            f"{placement.shown} enlarges its maps, or divides them by more than two at once. Of networks that are not "
            "poolsearch's own only moved halvings are exported. Export another placement with --placement, such as "
            "default; the trained weights are in retrain/."
        )


def library_codes(facts: ModelCard, net: Restrided, features: Sequence[Feature]) -> Iterator[str]:
    """The code of ``model.py`` for a network of a library or of the user's: the ways to write it, the shortest first.

    First with a short patch of the original, if there is one that can give the maps of a backbone too, then with all of
    its forward pass in one function. The first that computes the same as the network is to be taken.

    Args:
        facts: the network's spec, its placement, and what else stands in the file.
        net: the network, restrided; it stays as it is.
        features: the maps of its backbone, as :func:`~poolsearch.exporting.model_card.features_of` gives them.

    Yields:
        One or two whole Python modules.

    Raises:
        PoolsearchError: a layer that is called twice would need two strides.
    """
    size, ends, modules = facts.spec.size, last_blocks(facts.placement), _modules(facts)
    own, now = native_chain(net, size), chain_at(net, size, facts.placement)
    model = blank_copy(net).model
    names = [str(net.blocks[i].path) for i in ends]
    try:
        patch = short_patch(model, own, now, ends, modules)
    except CannotPatch:
        patch = Patch()
    gives_logits = net.main is None or not net.main.names  # of several outputs the whole forward pass gives one alone
    if gives_logits and (patch.taps or patch.features is not None):
        yield _code(facts, features, patch, names, model)
    yield _code(facts, features, flat_patch(now, ends, modules), names, model)


def original_module(net: str) -> str:
    """The module in an exported folder that is the user's file.

    Args:
        net: the network's name, ``FILE.py:FACTORY``.

    Returns:
        Its dotted name: in its package, where FILE.py is in one.
    """
    package = ModulePlace.of(Path(net.rpartition(":")[0]).expanduser()).package
    return f"{package}.{ORIGINAL}" if package else ORIGINAL


def _modules(facts: ModelCard) -> dict[str, str]:
    """The user's file has another name beside the exported one."""
    file = file_of(facts.spec.name)
    return {} if file is None else {ModulePlace.of(Path(file).expanduser()).name: original_module(facts.spec.name)}


def _code(facts: ModelCard, features: Sequence[Feature], patch: Patch, names: Sequence[str], model: nn.Module) -> str:
    forwards, bound = _forwards(patch, model)
    body = _place(facts, patch, bound)
    code = "\n".join((*forwards, body))
    called = {f for f in _HELPERS if re.search(rf"\b{f.__name__}\(|\({f.__name__}, ", code)}
    used = [f for f in _HELPERS if f in called or (f is code_templates.like and code_templates.pooled_like in called)]
    text = [*(source(f) for f in used), *forwards, body]
    imports = {original_call(facts.spec)[0], *(i for code in _codes(patch) for i in code.imports)}
    joined = "\n".join(text)
    for line, sign in _IMPORTS.items():
        imports |= {line} if re.search(sign, joined) else set()
    backbone = HOOKED_BACKBONE if patch.taps else BACKBONE.replace("self.net.features(x)", "features(self.net, x)")
    return "\n\n".join([
        header_code(facts, "the original, patched, and its weights.", sorted(imports)) + "\n"
        + feature_table(features, patch.taps or names),
        *text, backbone, _load(facts), inference_code(facts),
    ])  # fmt: skip


_HELPERS: tuple[Callable[..., Any], ...] = (
    code_templates.blur, code_templates.subsample, code_templates.unshuffle, code_templates.like,
    code_templates.pooled_like, code_templates.pool_in_front, code_templates.pad_in_front, code_templates.fitted,
)  # fmt: skip
_IMPORTS = {
    "import copy": r"\bcopy\.", "import operator": r"\boperator\.", "import types": r"\btypes\.",
    "from functools import partial": r"\bpartial\(", "import torch.nn.functional as F": r"\bF\.",
}  # fmt: skip


def _codes(patch: Patch) -> list[Any]:
    return [*patch.forwards.values(), *([patch.features] if patch.features is not None else [])]


def original_call(spec: NetSpec) -> tuple[str, str]:
    """The code that makes the network itself, as it was made to be searched.

    Args:
        spec: of a library's network, or the user's.

    Returns:
        The import, and the call.
    """
    library, _, name = spec.name.rpartition(":")
    if library not in ("timm", "torchvision"):
        return f"from {original_module(spec.name)} import {name}", f"{name}({spec.classes})"
    given = library_options(spec.name, spec.classes, spec.channels)
    options = ", ".join(f"{option}={value}" for option, value in given.items())
    if library == "timm":
        return "import timm", f"timm.create_model({quoted(name)}, {options})"
    return "import torchvision", f"torchvision.models.{name}({options})"


def _load(facts: ModelCard) -> str:
    return f'''def load(weights: str | Path = WEIGHTS) -> nn.Module:
    """The trained network, on the CPU, in evaluation mode."""
    net = {original_call(facts.spec)[1]}
    net.load_state_dict(load_file(weights))
    place(net)
    return net.eval()
'''


def _forwards(patch: Patch, model: nn.Module) -> tuple[list[str], dict[str, str]]:
    """Functions that take the place of forward methods, and which module gets which; the same code stands once."""
    names: dict[str, str] = {}
    bound: dict[str, str] = {}
    for path, code in patch.forwards.items():
        kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|\W+", "_", type(model.get_submodule(path)).__name__).lower().strip("_")
        if code.text not in names:
            taken = sum(re.sub(r"_\d+$", "", n) == f"{kind}_forward" for n in names.values())
            names[code.text] = f"{kind}_forward" + (f"_{taken + 1}" if taken else "")
        bound[path] = names[code.text]
    texts = [re.sub(r"^def forward\(self, x.*?\).*?:", f"def {name}(self, x):", text) for text, name in names.items()]
    if patch.features is not None:
        texts.append(re.sub(r"^def forward\(self, x.*?\).*?:", "def features(self, x):", patch.features.text))
    return texts, bound


def _place(facts: ModelCard, patch: Patch, bound: dict[str, str]) -> str:
    strides = {name: s["stride"] for name, s in patch.settings.items() if [*s] == ["stride"]}
    others = {name: s for name, s in patch.settings.items() if name not in strides}
    lines = _loop("Layers with another stride", strides, "name, stride", "net.get_submodule(name).stride = stride")
    lines += _loop(
        "Poolings with other windows", others, "name, settings",
        "for attribute, value in settings.items():", "    setattr(net.get_submodule(name), attribute, value)",
    )  # fmt: skip
    lines += _loop(
        "Convolutions with another margin: (left, right, top, bottom), and what is there", patch.padded,
        "name, (margin, mode)", "pad_in_front(net.get_submodule(name), margin, mode)",
    )  # fmt: skip
    alike = {n: _Python(f"like(net.get_submodule({quoted(t)}), {c}, {s})") for n, (t, c, s) in patch.alike.items()}
    layers = alike | {name: _Python(text) for name, text in patch.replaced.items()}
    lines += _loop(
        "Layers in the place of the original's", layers, "name, layer", 'parent, _, child = name.rpartition(".")',
        "setattr(net.get_submodule(parent), child, layer)",
    )  # fmt: skip
    pooled = {name: _Python(text) for name, text in patch.pooled.items()}
    lines += _loop(
        "Poolings in front of modules", pooled, "name, pooling", "pool_in_front(net.get_submodule(name), pooling)"
    )
    methods = {name: _Python(text) for name, text in bound.items()}
    lines += _loop(
        "Forward methods with another stride in them", methods, "name, forward", "module = net.get_submodule(name)",
        "module.forward = types.MethodType(forward, module)",
    )  # fmt: skip
    body = "\n".join(lines or ["    # it is the network's own placement"])
    return f'''def place(net: nn.Module) -> None:
    """Move the downsampling of the original to {facts.placement.shown}; parameters and their names stay as they are."""
{body}
'''


class _Python(str):
    """Code, which stands in a literal as it is."""

    def __repr__(self) -> str:
        return str(self)


def _loop(title: str, items: dict[str, Any], names: str, *body: str) -> list[str]:
    if not items:
        return []
    rows = [f"        {quoted(name)}: {value!r}," for name, value in items.items()]
    loop = [f"    for {names} in changes.items():", *(f"        {line}" for line in body)]
    return [f"    # {title}", "    changes = {", *rows, "    }", *loop]
