"""A checkpoint is one file: tensors, with JSON in the header. Renamed into place whole, so it is never half written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from poolsearch.storage.files import atomic, damaged, verify
from poolsearch.storage.json_shape import misfit

_HEADER = "poolsearch"


def save(path: Path, tensors: dict[str, Tensor], meta: Any) -> None:
    """Write tensors and a JSON value, atomically.

    Args:
        path: of the file.
        tensors: by name, on any device.
        meta: kept in the header, where NaN and infinity are allowed, too.

    Raises:
        PoolsearchError: no space is left; the old checkpoint is then intact.
    """
    # safetensors wants plain, unshared memory; on load the values go back into the layout that is in use
    plain = {name: t.detach().to("cpu", copy=False).contiguous() for name, t in tensors.items()}
    with atomic(path) as temporary:
        try:
            save_file(plain, temporary, metadata={_HEADER: json.dumps(meta)})
        except SafetensorError as error:
            found = re.search(r"os error (\d+)", str(error))
            if found is None:
                raise
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error


def load(path: Path, of: Mapping[str, Any] | None = None) -> tuple[dict[str, Tensor], Any]:
    """Read what :func:`save` wrote.

    Args:
        path: of the file.
        of: what it should be of: compared with what its JSON value has under ``of``, as far as that says.

    Returns:
        The tensors by name, on the CPU, and the JSON value.

    Raises:
        PoolsearchError: the file is not a checkpoint of ours, is damaged, or is of something else.
    """
    verify(path)
    try:
        with safe_open(path, framework="pt") as handle:
            meta = json.loads((handle.metadata() or {})[_HEADER])  # a loss that is not known yet is NaN
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise damaged(path, error) from None
    if (wrong := misfit(meta, {"of?": {}, "step?": int, "total?": int, "events_bytes?": int})) is not None:
        raise damaged(path, wrong)
    found = meta.get("of", meta)  # older weights have their placement alone
    for name, wanted in (of or {}).items():
        if found.get(name, wanted) != wanted:
            raise damaged(path, f"it is of {name} {found[name]}, not of {wanted}")
    return tensors, meta


def step_of(path: Path, of: Mapping[str, Any] | None = None) -> int | None:
    """How far a loop's checkpoint is.

    Args:
        path: of the file; it need not be there.
        of: what it should be of, as in :func:`load`.

    Returns:
        Steps done; None where there is no checkpoint.

    Raises:
        PoolsearchError: as :func:`load`.
    """
    return load(path, of)[1]["step"] if path.exists() else None


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's own generators, which layers such as dropout draw from.

    Args:
        device: that is trained on; a GPU has a generator of its own beside the CPU's.

    Returns:
        Bytes by name, on the CPU.
    """
    states = {"random/cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["random/cuda"] = torch.cuda.get_rng_state(device)
    return states


def load_random_state(tensors: dict[str, Tensor], device: torch.device) -> None:
    """Undo of :func:`random_state`.

    Args:
        tensors: what it gave, others may be among them; a GPU's state may be missing.
        device: that is trained on.
    """
    torch.set_rng_state(tensors["random/cpu"])
    if device.type == "cuda" and "random/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random/cuda"], device)


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put a prefix before every name.

    Args:
        prefix: without the slash that follows it.
        tensors: by name.

    Returns:
        The same tensors, by ``PREFIX/NAME``.
    """
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def under_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under a prefix: undo of :func:`with_prefix`.

    Args:
        prefix: without the slash that follows it.
        tensors: by name.

    Returns:
        The same tensors, by the name without the prefix; none where no name has it.
    """
    return {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}
