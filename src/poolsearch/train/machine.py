"""The device and the number format that the work runs in."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from inspect import signature
from itertools import chain
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.nets.poolable import Poolable
from poolsearch.resources import available_cores, available_memory
from poolsearch.settings.groups import MachineSettings

Module = TypeVar("Module", bound=nn.Module)

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_FORMATS = {"contiguous": torch.contiguous_format}

_GRAPHS = 256  # of one block class; a space needs a few for each pair of channels, whatever its number of placements


@dataclass(frozen=True)
class Machine:
    """Where and how it runs.

    Attributes:
        device: of the tensors.
        precision: "fp32", "bf16" or "fp16".
        reason: why this precision.
        compiler: backend of ``torch.compile`` for the blocks of a network; None runs them eagerly.
        memory_format: how maps and the weights of convolutions lie in memory.
    """

    device: torch.device
    precision: str
    reason: str = "as given"
    compiler: str | None = None
    memory_format: torch.memory_format = torch.channels_last

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision where it is on.

        Returns:
            A context for forward passes and losses; with fp32 it changes nothing.
        """
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.precision in _DTYPES)

    def place(self, module: Module) -> Module:
        """Move a module to the device, in the memory format, and have its blocks compiled if that was asked for.

        Blocks and not whole networks are compiled, with sizes left open: the graphs that a block class needs then do
        not grow with the number of placements.

        Args:
            module: changed in place.

        Returns:
            The module itself.
        """
        module = module.to(self.device)
        for tensor in chain(module.parameters(), module.buffers()):
            if tensor.dim() == 4:  # Module.to refuses those of five, which have no such format
                tensor.data = tensor.data.to(memory_format=self.memory_format)
        if self.compiler:
            for net in module.modules():
                if isinstance(net, Poolable):
                    for block in net.blocks:
                        block.compile(backend=self.compiler, dynamic=True, recompile_limit=_GRAPHS)
        return module

    def wait(self) -> None:
        """Until the device has done what it was asked: for timing."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def send(self, value: Tensor) -> Callable[[], float]:
        """Start bringing a number of the device here.

        Args:
            value: a tensor of one number.

        Returns:
            A function that gives the number; it waits for it, and for nothing later on the device.
        """
        if self.device.type != "cuda":
            return value.item
        here = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
        here.copy_(value, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()

        def read() -> float:
            arrived.synchronize()
            return here.item()

        return read

    @property
    def layout(self) -> Literal["channels-last", "contiguous"]:
        """The memory format, as in the settings."""
        return "channels-last" if self.memory_format == torch.channels_last else "contiguous"

    @property
    def dtype(self) -> torch.dtype:
        """The format that activations are in."""
        return _DTYPES.get(self.precision, torch.float32)

    def free_memory(self) -> int | None:
        """How much memory tensors may still take.

        Returns:
            Bytes on the device, with what torch has reserved and does not use; None when the system does not say.
        """
        if self.device.type != "cuda":
            return available_memory()
        free, _ = torch.cuda.mem_get_info(self.device)
        return free + torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)

    def describe(self) -> dict[str, Any]:
        """The hardware, for run.json.

        Returns:
            Names of CPU and device, cores, precision and threads, by name.
        """
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else _cpu_name()
        return {
            "cpu": _cpu_name(),
            "cores": available_cores(),
            "device": self.device.type,
            "device_name": name,
            "precision": self.precision,
            "threads": torch.get_num_threads(),
        }

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else _cpu_name()
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        compiled = f", blocks compiled by {self.compiler}" if self.compiler else ""
        layout = "" if self.layout == "channels-last" else f", {self.layout} memory"
        return f"{name}{threads}, {self.precision} ({self.reason}){layout}{compiled}"


def cuda_cards() -> list[str]:
    """The CUDA devices that this process sees.

    Returns:
        As CUDA_VISIBLE_DEVICES names them, else their numbers; empty where there are none.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = torch.cuda.device_count()
    return [card.strip() for card in named.split(",")][:there] if named else [str(i) for i in range(there)]


def pick_machine(settings: MachineSettings, flag: str = "--device") -> Machine:
    """Resolve ``auto`` to what this machine has.

    Args:
        settings: what was asked for.
        flag: with which the device was asked for.

    Returns:
        With a device and precision that are there, and why this precision.

    Raises:
        PoolsearchError: the device is not there, or does not have the precision.
    """
    device = torch.device(_device(settings.device, flag))
    precision, reason = settings.precision, Machine.reason
    if precision == "auto":
        precision, reason = _auto_precision(device)
    if precision == "fp16" and device.type != "cuda":
        raise PoolsearchError(f"--precision fp16 needs a CUDA device, this is '{device.type}'. Use auto, fp32 or bf16.")
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is not deterministic without it
        torch.use_deterministic_algorithms(True)
    layout = _FORMATS.get(settings.memory_format, torch.channels_last)
    return Machine(device, precision, reason, _compiler(settings.compile), layout)


def _device(asked: str, flag: str) -> str:
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if asked == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[asked]:
        found = ", ".join(name for name, ok in there.items() if ok)
        more = " (a run that was begun on another device goes on, with other last bits)" if flag == "--device" else ""
        raise PoolsearchError(
            f"{flag} {asked}: torch sees no such device here. Found: {found}. Use one of these{more}."
        )
    return asked


def _compiler(backend: str | None) -> str | None:
    if backend is None:
        return None
    known = torch.compiler.list_backends(exclude_tags=())
    if backend not in known:
        raise unknown("backend of torch.compile", backend, known)
    if "recompile_limit" not in signature(torch.compile).parameters:
        raise PoolsearchError(
            f"--compile {backend}: torch {torch.__version__} cannot keep as many graphs as the placements of a block "
            "need (torch.compile has no recompile_limit). Leave --compile out, or update torch (2.14 has it)."
        )
    return backend


def _auto_precision(device: torch.device) -> tuple[str, str]:
    """The precision, and why."""
    if device.type == "cuda":
        return ("bf16", "the GPU has it") if torch.cuda.is_bf16_supported() else ("fp16", "the GPU has no bf16")
    if device.type != "cpu":
        return "fp32", "the only one tried on this device"
    ratio = _bf16_ratio()
    why = f"a convolution in bf16 is {ratio:.1f} times as fast as in fp32 here"
    return ("bf16" if ratio > 1.2 else "fp32"), why


def _bf16_ratio() -> float:
    """How many times faster this CPU runs a convolution in bf16 than in fp32: without native support it is slower."""
    x = torch.ones(32, 32, 16, 16).contiguous(memory_format=torch.channels_last)
    w = torch.ones(32, 32, 3, 3).contiguous(memory_format=torch.channels_last)
    return _conv_seconds(x, w) / _conv_seconds(x.bfloat16(), w.bfloat16())


def _conv_seconds(x: Tensor, w: Tensor) -> float:
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
