"""Settings of the whole process. Only the command line makes them: a library must leave its caller's process alone."""

from __future__ import annotations

import ctypes
import os
import platform

import torch

from poolsearch.resources import available_cores

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of malloc.h
_TOP_PAD = 64 << 20


def limit_threads() -> None:
    """No more of torch's threads than cores: torch does not see a container's share. OMP_NUM_THREADS wins."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), available_cores()))


def keep_memory() -> bool:
    """Have glibc keep what is freed, for the next tensor of that size; any MALLOC_* or tunable of the user wins.

    glibc takes blocks above 32 MB from the system each time and gives them back when freed, so that every such map is
    made of fresh pages, which the system must find and clear. The memory of the largest moment stays with the process.

    Returns:
        Whether it was done: not with another allocator (macOS, Windows, musl, jemalloc by LD_PRELOAD).
    """
    chosen = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if chosen or platform.libc_ver()[0] != "glibc" or os.environ.get("LD_PRELOAD"):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all((mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, -1), mallopt(_M_TOP_PAD, _TOP_PAD)))
