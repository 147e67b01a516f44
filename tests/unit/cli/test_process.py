"""What the command line sets for its process."""

import os
import platform
import resource
import subprocess
import sys

import pytest

from poolsearch.resources import available_cores, available_memory, cores_of_limit, memory_of_limit, memory_of_system


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000\n", None), ("200000 100000\n", 2), ("150000 100000", 2), ("5000 100000", 1), ("max", None)],
)
def test_a_containers_share_is_rounded_up_to_whole_cores(text, cores):
    assert cores_of_limit(text) == cores


def test_there_is_a_core():
    assert available_cores() >= 1


def test_the_systems_memory_is_what_it_calls_available():
    text = "MemTotal:       24684100 kB\nMemFree:        20701968 kB\nMemAvailable:   23776424 kB\n"
    assert memory_of_system(text) == 23776424 * 1024
    assert memory_of_system("MemTotal: 5 kB\n") is None


@pytest.mark.parametrize(
    ("most", "current", "stat", "left"),
    [
        ("max\n", "900\n", "inactive_file 5\n", None),
        ("1000\n", "900\n", "anon 800\nactive_file 20\ninactive_file 70\n", 170),
        ("1000", "900", "anon 900\n", 100),
        ("1000", "1100", "", 0),
    ],
)
def test_a_containers_memory_is_its_limit_less_what_cannot_be_dropped(most, current, stat, left):
    assert memory_of_limit(most, current, stat) == left


def test_there_is_memory_or_it_is_not_known():
    found = available_memory()
    assert found is None or 0 < found < 2**50


@pytest.mark.parametrize("given", ["2", None])
def test_threads_are_no_more_than_cores_unless_the_user_says_so(given):
    code = (
        "from poolsearch.cli import process; import torch; process.available_cores = lambda: 1; "
        "before = torch.get_num_threads(); process.limit_threads(); print(before, torch.get_num_threads())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {} if given is None else {"OMP_NUM_THREADS": given}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    before, after = map(int, found.stdout.split())
    assert after == (1 if given is None else before)


def faults(keep: bool, **environment: str) -> tuple[bool, int]:
    """Whether memory is kept, and the page faults of filling ten maps of 64 MB, after others that warm the heap."""
    code = (
        "import resource, torch; from poolsearch.cli import process; torch.set_num_threads(1); "
        f"kept = {keep} and process.keep_memory(); fill = lambda: torch.empty(1 << 24).fill_(1.0); "
        "[fill() for _ in range(30)]; "
        "count = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt; before = count(); "
        "[fill() for _ in range(10)]; print(int(kept), count() - before)"
    )
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k != "GLIBC_TUNABLES"}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=plain | environment
    )
    kept, number = map(int, found.stdout.split())
    return bool(kept), number


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_freed_memory_is_kept_for_the_next_map():
    pages = 10 * (64 << 20) // resource.getpagesize()
    _, before = faults(keep=False)
    kept, after = faults(keep=True)
    assert kept
    assert after < pages / 4
    assert before > 2 * after  # without: fresh pages each time, in whatever size the system gives them


def test_the_users_own_allocator_settings_win():
    assert faults(keep=True, MALLOC_ARENA_MAX="2")[0] is False
    assert faults(keep=True, GLIBC_TUNABLES="glibc.malloc.trim_threshold=1000000")[0] is False
