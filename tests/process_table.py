"""What the system knows of processes: by /proc on Linux, else by ps."""

from __future__ import annotations

import subprocess
from pathlib import Path

_PROC = Path("/proc/self/stat").exists()


def children(process: int) -> list[int]:
    """The process ids of those that a process has started."""
    if _PROC:
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
        return [int(child) for child in text.split()]
    lines = [line.split() for line in _ps("-A", "-o", "ppid=,pid=").splitlines()]
    return [int(child) for parent, child in lines if int(parent) == process]


def runs(process: int) -> bool:
    """A process that has ended may stay in the table until somebody asks for its end."""
    if not _PROC:
        return _ps("-o", "stat=", "-p", process).strip()[:1] not in ("", "Z")
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _ps(*arguments: str | int) -> str:
    return subprocess.run(["ps", *map(str, arguments)], capture_output=True, text=True, check=False).stdout
