"""What the command line sets for its process."""

import os
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


@pytest.mark.parametrize("given", ["2", None])
def test_threads_are_no_more_than_cores_unless_the_user_says_so(given):
    code = (
        "from poolsearch import process; import torch; process.available_cores = lambda: 1; "
        "before = torch.get_num_threads(); process.limit_threads(); print(before, torch.get_num_threads())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {} if given is None else {"OMP_NUM_THREADS": given}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    before, after = map(int, found.stdout.split())
    assert after == (1 if given is None else before)
