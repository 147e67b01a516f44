"""(g) Peak memory of a search against the bare loop, as whole processes, and its growth with M, L and A."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from search_step import images

# One process each. Opening a run takes more for a moment (libraries, decoding) than small networks do in training:
# the peak is counted from the first step on, which Linux can be asked for
_CODE = """
import json, sys, tempfile
from pathlib import Path
import torch
from poolsearch.cli import process
from poolsearch.session.open_run import open_run
from poolsearch.nets.poolable import parameters_of
from poolsearch.progress import SilentProgress
from poolsearch.settings import Settings
import search_step
kind, data, steps, changes = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
process.limit_threads(); process.keep_memory()
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
with tempfile.TemporaryDirectory() as folder:
    settings = Settings.of(preset="paper", data=data, augment="crop-flip", cache_dir=data + ".cache", **changes)
    with open_run(Path(folder) / "run", settings, False, SilentProgress()) as run:
        task, count = search_step.ours(run)
        weights = parameters_of(task.members[0]) * 4
        if kind == "bare":
            floor = search_step.bare(run, task)
            next(floor)  # it copies the members when it begins
            task.members, task._optimizers = [], []
            work = lambda: next(floor)
        else:
            work = lambda: task.step(next(count))
        Path("/proc/self/clear_refs").write_text("5")
        before = peak()
        for _ in range(steps):
            work()
        print(json.dumps({"before": before, "peak": peak(), "weights": weights, "placements": run.space.size}))
"""


def measured(kind: str, data: Path, steps: int, batch: int = 128, **changes: object) -> dict[str, int]:
    """Peak resident bytes of a process that takes ``steps`` steps."""
    changes |= {"batch": batch, "val_batch": batch}
    arguments = [sys.executable, "-c", _CODE, kind, str(data), str(steps), json.dumps(changes)]
    found = subprocess.run(arguments, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    return json.loads(found.stdout.splitlines()[-1])


CASES = (("cifar-resnet20", 1), ("cifar-resnet20", 4), ("cifar-resnet20", 8), ("cifar-resnet56", 4))


def main(steps: int = 12, cases: tuple[tuple[str, int], ...] = CASES) -> list[str]:
    """Lines for the report."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        data = images(Path(folder), 2560)
        for net, members in cases:
            floor = measured("bare", data, steps, net=net, members=1)
            found = measured("search", data, steps, net=net, members=members)
            allowed = (members - 1) * 2 * found["weights"]
            over = found["peak"] - floor["peak"] - allowed
            lines.append(
                f"{net}, M = {members}, {found['placements']:,} placements: search {found['peak'] / 1e6:.0f} MB, bare "
                f"loop with one member {floor['peak'] / 1e6:.0f} MB, (M - 1) x (weights + momentum) "
                f"{allowed / 1e6:.1f} MB: {over / 1e6:+.0f} MB over their sum"
            )
    return lines


if __name__ == "__main__":
    print("\n".join(main()))
