"""The device and the number format that the work runs in."""

from __future__ import annotations

import os
import platform
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from poolsearch.cores import available_cores
from poolsearch.errors import PoolsearchError
from poolsearch.settings import MachineSettings

Module = TypeVar("Module", bound=nn.Module)

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Machine:
    """Where it runs: a device and "fp32", "bf16" or "fp16"."""

    device: torch.device
    precision: str

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision where it is on."""
        dtype = _DTYPES.get(self.precision, torch.float32)
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.precision in _DTYPES)

    def place(self, module: Module) -> Module:
        """Move a module to the device, in channels-last memory."""
        # torch's stubs lack this form of Module.to
        return module.to(device=self.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def wait(self) -> None:
        """Until the device has done what it was asked: for timing."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def describe(self) -> dict[str, Any]:
        """For run.json."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else _cpu_name()
        return {
            "cpu": _cpu_name(),
            "cores": available_cores(),
            "device": self.device.type,
            "device_name": name,
            "precision": self.precision,
        }


def cuda_cards() -> list[str]:
    """The CUDA devices that this process sees, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = torch.cuda.device_count()
    return [card.strip() for card in named.split(",")][:there] if named else [str(i) for i in range(there)]


def pick_machine(settings: MachineSettings) -> Machine:
    """Resolve ``auto`` to what this machine has.

    Raises:
        PoolsearchError: the device is not there, or does not have the precision.
    """
    device = torch.device(_device(settings.device))
    precision = _auto_precision(device) if settings.precision == "auto" else settings.precision
    if precision == "fp16" and device.type != "cuda":
        raise PoolsearchError(f"--precision fp16 needs a CUDA device, this is '{device.type}'. Use auto, fp32 or bf16.")
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is not deterministic without it
        torch.use_deterministic_algorithms(True)
    return Machine(device, precision)


def _device(asked: str) -> str:
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if asked == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[asked]:
        found = ", ".join(name for name, ok in there.items() if ok)
        raise PoolsearchError(
            f"--device {asked}: torch sees no such device here. Found: {found}. Use one of these (a run that "
            "was begun on another device goes on, with other last bits)."
        )
    return asked


def _auto_precision(device: torch.device) -> str:
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if device.type == "cpu" and _bf16_ratio() > 1.2 else "fp32"


def _bf16_ratio() -> float:
    """How many times faster this CPU runs a convolution in bf16 than in fp32: without native support it is slower."""
    x = torch.ones(32, 32, 16, 16).contiguous(memory_format=torch.channels_last)
    w = torch.ones(32, 32, 3, 3).contiguous(memory_format=torch.channels_last)
    return _conv_seconds(x, w) / _conv_seconds(x.bfloat16(), w.bfloat16())


def _conv_seconds(x: torch.Tensor, w: torch.Tensor) -> float:
    times = []
    with torch.inference_mode():
        for _ in range(12):  # the first ones build the kernel
            start = time.perf_counter()
            F.conv2d(x, w, padding=1)
            times.append(time.perf_counter() - start)
    return min(times)


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as handle:
            return next(line.split(":", 1)[1].strip() for line in handle if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
