"""Settings of the whole process. Only the command line makes them: a library must leave its caller's process alone."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

from poolsearch.cores import available_cores

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory for the next allocation instead of giving it back; whether it could be set.

    A training step on a CPU frees and takes the same large maps again and again; each one that was given back costs
    page faults at its next use.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))


def limit_threads() -> None:
    """No more of torch's threads than cores: torch does not see a container's share. OMP_NUM_THREADS wins."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), available_cores()))
