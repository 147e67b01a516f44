"""What the command line sets for its process."""

import subprocess
import sys

import pytest

from poolsearch.cores import available_cores, cores_of_limit


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000\n", None), ("200000 100000\n", 2), ("150000 100000", 2), ("5000 100000", 1), ("max", None)],
)
def test_a_containers_share_is_rounded_up_to_whole_cores(text, cores):
    assert cores_of_limit(text) == cores


def test_there_is_a_core():
    assert available_cores() >= 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_stays_in_the_process():
    # 64 MB are taken and freed again: without the setting they go back to the system at once
    code = """
import sys
from poolsearch.process import keep_freed_memory
import torch
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
if sys.argv[1] == "keep":
    assert keep_freed_memory()
x = torch.ones(16_000_000)
before = resident()
del x
print(before - resident())
"""
    given_back = {
        how: int(subprocess.run([sys.executable, "-c", code, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "usual")
    }
    assert given_back["usual"] > 60e6
    assert given_back["keep"] < 1e6
