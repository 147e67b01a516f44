"""``python -m poolsearch``."""

from poolsearch.cli.main import console

console()
