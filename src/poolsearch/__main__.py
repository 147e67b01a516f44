"""``python -m poolsearch``."""

from poolsearch.cli import console

console()
