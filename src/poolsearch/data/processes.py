"""Processes that decode small images, for which the threads of one interpreter wait for each other.

They are programs of their own and not children of :mod:`multiprocessing`, which would run the user's script anew in
each of them.
"""

from __future__ import annotations

import contextlib
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import TypeVar

from PIL import Image

from poolsearch.data.form import Form
from poolsearch.data.image_file import Raw
from poolsearch.data.worker import HELLO
from poolsearch.errors import PoolsearchError
from poolsearch.image_size import ImageSize

Result = TypeVar("Result")
_BROKEN = (EOFError, OSError, pickle.UnpicklingError)


class DecoderProcess:
    """One process. It ends when this one does, however that ends: it reads from a pipe."""

    def __init__(self) -> None:
        # the packages lie where this process finds them, whatever the user's script did to find them
        code = f"import sys; sys.path[:] = {sys.path!r}; from poolsearch.data.worker import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us, and we end it then
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._jobs, self._answers = self._process.stdin, self._process.stdout

    def has_started(self) -> bool:
        """Wait until it has started.

        Returns:
            False if it could not.
        """
        try:
            return pickle.load(self._answers) == HELLO
        except _BROKEN:
            return False

    def decode(self, raws: Sequence[Raw | None], form: Form, size: ImageSize | None) -> list[bytes | None]:
        """Decode some images, and wait for them.

        Args:
            raws: as of :func:`poolsearch.data.decode.decode`; None for one that is left to the caller.
            form: of what comes out.
            size: that each must have by its header; None: any.

        Returns:
            Of each image bytes of shape (height, width, channels), or None where decoding fails.

        Raises:
            PoolsearchError: the process was ended by something else.
        """
        try:
            pickle.dump((raws, form, size, Image.MAX_IMAGE_PIXELS), self._jobs)
            self._jobs.flush()
            return pickle.load(self._answers)
        except _BROKEN as error:
            raise PoolsearchError(
                f"a process that decodes images {self._end()}. The system does that when memory runs short: free some, "
                "and start again."
            ) from error

    def close(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._jobs, self._answers):
            with contextlib.suppress(OSError):  # a job that was under way
                pipe.close()

    def _end(self) -> str:
        code = self._process.wait()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


class DecoderPool:
    """Some of them, each with a thread that talks to it. A context manager: none is left after it.

    Args:
        number: how many there are at most.
    """

    def __init__(self, number: int) -> None:
        self._workers: list[DecoderProcess] = []
        self._idle = SimpleQueue[DecoderProcess]()
        self._started = threading.Event()
        self._threads = ThreadPoolExecutor(number)
        try:
            with contextlib.suppress(OSError):  # of no more processes than can be had
                for _ in range(number):
                    self._workers.append(DecoderProcess())
                    self._threads.submit(self._welcome, self._workers[-1])
        except BaseException:
            self._close()
            raise

    def submit(self, work: Callable[[DecoderProcess | None], Result]) -> Future[Result]:
        """Do something with a process, in the background; as long as none has started, here and now and without one.

        Args:
            work: a function of the process, or of None where there is none.

        Returns:
            The future of what ``work`` gives; what it raises in the background is raised by its ``result()``.
        """
        if self._started.is_set():
            return self._threads.submit(self._with_worker, work)
        done = Future[Result]()
        done.set_result(work(None))
        return done

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _welcome(self, worker: DecoderProcess) -> None:
        if worker.has_started():
            self._idle.put(worker)
            self._started.set()

    def _with_worker(self, work: Callable[[DecoderProcess | None], Result]) -> Result:
        worker = self._idle.get()
        try:
            return work(worker)
        finally:
            self._idle.put(worker)

    def _close(self) -> None:
        for worker in self._workers:
            worker.close()
        self._threads.shutdown(cancel_futures=True)
