"""A command that kills itself at one of its writes: ``python -c KILL_AT NAME MOMENT COUNT run --out ...``."""

from __future__ import annotations

KILL_AT = """
import os, signal, sys
replace, name, before, count = os.replace, sys.argv.pop(1), sys.argv.pop(1) == "before", int(sys.argv.pop(1))
def kill_at(source, target):
    global count
    hit = os.path.basename(target) == name
    count -= hit
    if before and hit and count == 0: os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
    if hit and count == 0: os.kill(os.getpid(), signal.SIGKILL)
os.replace = kill_at
from poolsearch.cli.main import console
console()
"""
"""NAME: of the file that is written; MOMENT: before or after; COUNT: which of its writes, from 1."""
