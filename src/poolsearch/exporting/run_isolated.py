"""Runs an exported folder in a process of its own, in which poolsearch cannot be imported: ``python fresh.py FOLDER``.

FOLDER has ``inputs.safetensors`` with ``images``; ``outputs.safetensors`` is written beside it, and with ``--onnx``
``model.onnx``, which ONNX Runtime runs, too.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

BATCHES = (1, 5)


@torch.no_grad()
def main(folder: Path, threads: int, onnx: bool) -> None:
    """Run the network and its backbone, and write what comes out to ``outputs.safetensors``.

    Args:
        folder: of the export, with ``model.py``, its weights and ``inputs.safetensors``.
        threads: of torch, as in the process that compares.
        onnx: also write ``model.onnx``, and run it.
    """
    sys.modules["poolsearch"] = None  # type: ignore[assignment]  # every import of it, or of a part of it, now fails
    sys.path[0] = str(folder)  # in the place of this file's folder
    torch.set_num_threads(threads)
    model: Any = import_module("model")
    images = load_file(folder / "inputs.safetensors")["images"]
    net = model.load()
    outputs = {f"logits/{size}": main_output(net(images[:size])) for size in BATCHES}
    backbone = model.Backbone(model.load())
    outputs |= {f"maps/{i}": x for i, x in enumerate(backbone(images))}
    if onnx:
        _write_onnx(net, images, folder / "model.onnx")
        outputs |= {f"onnx/{size}": _run_onnx(folder / "model.onnx", images[:size]) for size in BATCHES}
    save_file({name: x.contiguous() for name, x in outputs.items()}, folder / "outputs.safetensors")


def main_output(outputs: Any) -> torch.Tensor:
    """Of several outputs the one that counts, as in the exported file.

    Args:
        outputs: of a network: a tensor, dictionary, tuple or list.

    Returns:
        The tensor.
    """
    if isinstance(outputs, dict):
        return outputs.get("out", outputs.get("logits", next(iter(outputs.values()))))
    return outputs[0] if isinstance(outputs, (tuple, list)) else outputs


class _MainOutput(torch.nn.Module):
    """The network with one output: ONNX has no dictionaries."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Run the network.

        Args:
            images: (B, C, H, W).

        Returns:
            The output that counts.
        """
        return main_output(self.net(images))


def _write_onnx(net: torch.nn.Module, images: torch.Tensor, path: Path) -> None:
    with torch.inference_mode():
        is_one = isinstance(net(images[:2]), torch.Tensor)
    torch.onnx.export(
        net if is_one else _MainOutput(net), (images[:2],), path, dynamo=True, external_data=False, verbose=False,
        input_names=["images"], output_names=["logits"], dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip


def _run_onnx(path: Path, images: torch.Tensor) -> torch.Tensor:
    runtime: Any = import_module("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), "--onnx" in sys.argv)
