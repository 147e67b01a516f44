"""All benchmarks, one after the other, into docs/results/bench.md. Measure on a quiet machine."""

from __future__ import annotations

import subprocess
from datetime import datetime, timezone
from pathlib import Path

import allocator
import costs
import data_work
import many_networks
import memory
import methods
import mixture_work
import own_loop
import ranking
import search_step
import several_placements
import start_up
import timing
import validation

ROOT = Path(__file__).parents[1]
PARTS = {
    "Search step": search_step,
    "Ask and tell in a loop of one's own": own_loop,
    "Ranking": ranking,
    "Several placements a step": several_placements,
    "The mixture's own work, and balancing": mixture_work,
    "Validation": validation,
    "Data": data_work,
    "Memory": memory,
    "Costs before training": costs,
    "Freed memory": allocator,
    "Several networks at once": many_networks,
    "Every method's step": methods,
    "Start-up": start_up,
}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def commit() -> str:
    """The commit that was measured."""
    return _git("rev-parse", "--short", "HEAD") + (" with changes" if _git("status", "--porcelain", "src") else "")


def _item(line: str) -> str:
    """A line of a list, or of a table as it is."""
    return line if line.startswith("|") or not line else f"- {line}"


def main() -> None:
    """Run and write."""
    lines = [
        "# Benchmarks", "", f"`make bench`, {datetime.now(timezone.utc):%Y-%m-%d}, commit {commit()}.", "",
        f"{timing.machine()}.", "",
        "Ratios are medians over rounds of works that take turns in one process; in brackets least and largest.",
    ]  # fmt: skip
    for title, part in PARTS.items():
        print(title, flush=True)
        found = part.main()
        print("\n".join(f"  {line}" for line in found), flush=True)
        lines += ["", f"## {title}", "", (part.__doc__ or "").split("\n")[0], "", *map(_item, found)]
    target = ROOT / "docs" / "results" / "bench.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"written to {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
