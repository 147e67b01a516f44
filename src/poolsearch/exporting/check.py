"""Whether an exported folder computes what the network computes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from poolsearch.errors import PoolsearchError
from poolsearch.exporting import run_isolated
from poolsearch.exporting.run_isolated import BATCHES

TOLERANCE = 1e-4
"""Largest difference, as a part of the largest logit (or of the largest value of a map).

Sums in another order differ by some 1e-6 of it in 32-bit floats, in networks of a hundred layers by up to 1e-5; a
stride or a pooling in another place by more than 1e-2.
"""

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_SHOWN = 12


@dataclass(frozen=True)
class OutputDifference:
    """Of one way to run a network: the largest difference of its logits, and as a part of the largest logit."""

    logits: float
    relative: float


@dataclass(frozen=True)
class ExportCheck:
    """What came out of an exported folder.

    Attributes:
        model: of model.py.
        maps: of its backbone's maps.
        onnx: of model.onnx; None where it was not asked for.
    """

    model: OutputDifference
    maps: OutputDifference
    onnx: OutputDifference | None

    @property
    def holds(self) -> bool:
        """Whether nothing differs by more than rounding does."""
        return all(d.relative <= TOLERANCE for d in (self.model, self.maps, self.onnx) if d is not None)


def missing_packages() -> list[str]:
    """The packages that ONNX needs and that are not installed.

    Returns:
        Names of :data:`ONNX_PACKAGES`, in that order; empty where all are there.
    """
    return [name for name in ONNX_PACKAGES if find_spec(name) is None]


def run_exported(
    folder: Path, images_BCHW: Tensor, logits: Mapping[int, Tensor], maps: Sequence[Tensor], onnx: bool
) -> ExportCheck:
    """Run ``folder/model.py`` in a new process that cannot import poolsearch, at batches of 1 and 5.

    Args:
        folder: of the export, with ``model.py`` and ``model.safetensors``; two files of tensors come and go in it.
        images_BCHW: normalised; at least as many as the largest batch.
        logits: what the network itself makes of the first so many images, (batch, K), for each of :data:`BATCHES`.
        maps: the last of each resolution, (B, C, H, W), of all images.
        onnx: write ``model.onnx`` and run it, too.

    Returns:
        The largest differences to ``logits`` and ``maps``; infinite where shapes differ.

    Raises:
        PoolsearchError: the process fails.
    """
    given, taken = folder / "inputs.safetensors", folder / "outputs.safetensors"
    save_file({"images": images_BCHW.contiguous()}, given)
    command = [
        sys.executable,
        run_isolated.__file__,
        str(folder),
        str(torch.get_num_threads()),
        *(["--onnx"] if onnx else []),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="backslashreplace", check=False)
        if done.returncode:
            told = "\n".join(done.stderr.strip().splitlines()[-_SHOWN:])
            raise PoolsearchError(f"the exported network does not run by itself:\n{told}")
        found = load_file(taken)
    finally:
        for path in (given, taken):
            path.unlink(missing_ok=True)
    return ExportCheck(
        _largest([(found[f"logits/{n}"], logits[n]) for n in BATCHES]),
        _largest([(found[f"maps/{i}"], map_) for i, map_ in enumerate(maps)]),
        _largest([(found[f"onnx/{n}"], logits[n]) for n in BATCHES]) if onnx else None,
    )


def _largest(pairs: Sequence[tuple[Tensor, Tensor]]) -> OutputDifference:
    """The largest over the pairs; infinite where shapes differ."""
    if any(a.shape != b.shape for a, b in pairs):
        return OutputDifference(float("inf"), float("inf"))
    gaps = [(float((a - b).abs().max()), float(b.abs().max())) for a, b in pairs]
    return OutputDifference(max(gap for gap, _ in gaps), max(gap / max(scale, 1e-30) for gap, scale in gaps))
