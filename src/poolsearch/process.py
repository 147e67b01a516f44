"""Settings of the whole process. Only the command line makes them: a library must leave its caller's process alone."""

from __future__ import annotations

import os

import torch

from poolsearch.cores import available_cores


def limit_threads() -> None:
    """No more of torch's threads than cores: torch does not see a container's share. OMP_NUM_THREADS wins."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), available_cores()))
