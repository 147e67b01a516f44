"""Trackers that are switched on by a setting (``--tracker``): callbacks of our own, one module each."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from poolsearch.callbacks import Callback
from poolsearch.errors import PoolsearchError
from poolsearch.settings import Settings


@contextmanager
def trackers_of(settings: Settings, out: Path) -> Generator[list[Callback]]:
    """The trackers that settings ask for; at the end of the block all that they were told is written.

    Args:
        settings: as the user gave them.
        out: the run directory, which need not be there yet.

    Yields:
        One callback, or none.

    Raises:
        PoolsearchError: the package that it needs is not installed.
    """
    if settings.machine.tracker != "tensorboard":  # another word is refused by the check of all settings
        yield []
        return
    try:
        from poolsearch.trackers.tensorboard import TensorBoard
    except ImportError as error:
        raise PoolsearchError(
            f"--tracker tensorboard needs the package tensorboard, which cannot be imported ({error}): "
            "pip install 'poolsearch[tensorboard]' (or tensorboard). Or leave --tracker out (--tracker none where the "
            "run was begun with it)."
        ) from None
    with closing(TensorBoard(out / "tensorboard")) as tracker:
        yield [tracker]
