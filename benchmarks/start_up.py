"""(h) How long the command line takes to answer, as a whole process."""

from __future__ import annotations

import subprocess
import sys

from timing import alternate, each


def main(rounds: int = 7) -> list[str]:
    """Lines for the report."""

    def call(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    works = {
        "poolsearch --help": lambda: call("-m", "poolsearch", "--help"),
        "poolsearch run --help": lambda: call("-m", "poolsearch", "run", "--help"),
        "python -c pass": lambda: call("-c", "pass"),
    }
    return [each(alternate(works, rounds), 1)]


if __name__ == "__main__":
    print("\n".join(main()))
