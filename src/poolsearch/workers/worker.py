"""A process that does trials one after the other for :mod:`poolsearch.workers.pool`: it is told what, and tells how it
goes.

It is started by name and never imports the user's script. The pipe to its parent is its life: it stops on an order
that comes through it, not on signals, which a terminal or a batch system sends to parent and workers alike, and when
the pipe closes, because the parent is done with it or was killed, it ends at once.
"""

from __future__ import annotations

import _thread
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import FrameType
from typing import Any

from poolsearch.errors import Interrupted, PoolsearchError
from poolsearch.progress import ProgressTable, Update

STOP = b""
"""The order to save and end. All else that a worker gets is pickled: the work first, then trials."""

_UPDATE_SECONDS = 0.2  # steps of a small network take milliseconds; nobody reads so fast


@dataclass(frozen=True)
class Message:
    """Something for the user."""

    text: str


@dataclass(frozen=True)
class Told:
    """Something that the trial tells whoever asked for it."""

    told: Any


@dataclass(frozen=True)
class BarOpened:
    """The bar of what is under way."""

    label: str
    total: int


@dataclass(frozen=True)
class BarMoved:
    """The same bar moved on."""

    done: float
    note: str


@dataclass(frozen=True)
class BarClosed:
    """The same bar is at its end."""


@dataclass(frozen=True)
class TrialFinished:
    """The trial is done; what its work gave."""

    result: Any


@dataclass(frozen=True)
class TrialFailed:
    """The trial, or opening what it needs, raised an error; the worker ends."""

    error: Exception
    traceback: str


def serve(descriptor: int, threads: int) -> None:
    """Do trials with ``threads`` torch threads until the pipe ``descriptor`` closes, or stop is ordered."""
    signal.signal(signal.SIGTERM, _leave)
    parent = Connection(descriptor)
    orders: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(parent, orders), daemon=True).start()
    with suppress(Interrupted, BrokenPipeError):  # ordered to stop, or nobody is left to tell: that it ends says all
        try:
            import torch  # after the listener has begun: it takes a second or more

            torch.set_num_threads(threads)
            work = _loaded(orders.get())
            while True:
                parent.send(TrialFinished(work(_loaded(orders.get()), _PipeProgress(parent))))
        except Interrupted:
            raise
        except Exception as error:
            parent.send(TrialFailed(_sendable(error), traceback.format_exc()))


def _leave(number: int, frame: FrameType | None) -> None:
    """End at the order to stop, where no training loop has put its own handler: there is nothing to save."""
    os._exit(0)


def _listen(parent: Connection, orders: SimpleQueue[bytes]) -> None:
    while True:
        try:
            order = parent.recv_bytes()
        except (EOFError, OSError):
            os._exit(0)  # not even to save: whoever resumes the trial must not find us still writing
        if order == STOP:
            _thread.interrupt_main(signal.SIGTERM)
        else:
            orders.put(order)


def _loaded(order: bytes) -> Any:
    try:
        return pickle.loads(order)
    except AttributeError as error:
        if "__main__" not in str(error):
            raise
        raise PoolsearchError(
            f"a worker process cannot find what it should do ({error}): workers do not run your script. Put the "
            "function and the trials' class into a module that the script imports, or use one worker."
        ) from None


def _sendable(error: Exception) -> Exception:
    """The error itself where it comes out of pickling whole, as not all do."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:  # an error's own class decides what pickling it raises; its words are told all the same
        return RuntimeError(f"{type(error).__name__}: {error}")


class _PipeProgress:
    """A progress that tells the parent."""

    def __init__(self, parent: Connection) -> None:
        self._parent = parent

    def say(self, text: str) -> None:
        self._parent.send(Message(text))

    def tell(self, told: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the parent is gone, and the listener ends this process
            self._parent.send(Told(told))

    def table(self, table: ProgressTable, line: str = "") -> None:
        if line:  # above the bars is the place of the parent's own
            self.say(line)

    @contextmanager
    def bar(self, label: str, total: int) -> Generator[Update]:
        told = 0.0

        def update(done: float, note: str) -> None:
            nonlocal told
            if time.monotonic() - told >= _UPDATE_SECONDS:
                told = time.monotonic()
                self._parent.send(BarMoved(done, note))

        self._parent.send(BarOpened(label, total))
        yield update
        self._parent.send(BarClosed())
