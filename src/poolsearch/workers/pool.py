"""Independent trials, one after the other in this process or by several worker processes; the work is the same.

Another executor, as one that gives trials to Ray, is another function with the arguments, results and errors of
:func:`run_trials`.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn, TypeVar

from poolsearch.errors import Interrupted, PoolsearchError
from poolsearch.progress import OverallProgress, PartialProgress, Progress, TrialProgress, Update
from poolsearch.workers.queue import Busy, TrialQueue
from poolsearch.workers.signals import stop_requests
from poolsearch.workers.worker import STOP, BarClosed, BarMoved, BarOpened, Message, Told, TrialFailed, TrialFinished

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[T, TrialProgress], R | Busy]
"""``work(trial, progress)``: does a trial, leaves what it found in files of the trial's own, gives a small result:
the same of a trial that others have done; of one that they are doing, :class:`Busy`, at once. Meanwhile it may
``progress.tell`` anything."""

_POLL_SECONDS = 0.1


def run_trials(
    work: Work[T, R],
    trials: Sequence[T],
    costs: Sequence[float],
    progress: Progress,
    label: str,
    workers: int = 1,
    threads: int = 1,
    cards: Sequence[str] = (),
    done: Callable[[T, R], None] | None = None,
    told: Callable[[Any], None] | None = None,
) -> list[R]:
    """Do all trials; gives their results in the trials' order.

    One worker is this process, with the threads it has, and takes the trials in order. More are processes that do one
    trial after the other, the most costly first, so that no long one is left for the end. They get ``work`` and the
    trials pickled, once each; both must come from modules that can be imported; no ``__main__`` guard is needed.

    A trial for which ``work`` answers :class:`Busy` is asked for again later, after those that nobody does: so several
    processes that call this with the same trials share them, and each ends when all are done.

    When a worker is killed the others do the rest, and an error tells at the end. When a trial raises, or ``done`` or
    ``told`` does, the others save and stop, and the error is raised. Workers end when this process does, however it
    ends.

    Args:
        work, trials: what is done with what; ``str(trial)`` names it in errors.
        costs: of each trial, in any unit.
        progress: shows one bar of the whole and one of each worker.
        label: for the bar of the whole.
        workers, threads: how many trials at once, and torch's threads in each worker process.
        cards: values of CUDA_VISIBLE_DEVICES, dealt to the worker processes in turn; none leaves it as it is.
        done: told each trial and its result as it ends, in this process.
        told: given what trials tell by their progress while they are done, in this process.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; every worker saved its state.
        PoolsearchError: a worker was killed; the message names it, its exit status and its trial.
        Exception: whatever a trial raises, with the worker's traceback as its cause; or ``done``, or ``told``.
    """
    with progress.bar(label, 100) as update:
        whole = OverallProgress(costs, update, progress, told)
        if workers > 1:
            return _Workers(work, trials, costs, whole, done).run(min(workers, len(trials)), threads, cards)
        return _one_by_one(work, trials, whole, done)


def _one_by_one(
    work: Work[T, R], trials: Sequence[T], whole: OverallProgress, done: Callable[[T, R], None] | None
) -> list[R]:
    results: dict[int, R] = {}
    waiting = TrialQueue(range(len(trials)))
    while waiting:
        if (i := waiting.next()) is None:
            time.sleep(_POLL_SECONDS)
            whole.again()
            continue
        result = work(trials[i], whole.part(i))
        if isinstance(result, Busy):
            waiting.busy(i)
            continue
        results[i] = result
        if done:
            done(trials[i], result)
        whole.finished(i)
    return [results[i] for i in range(len(trials))]


def plan_workers(asked: int | None, trials: int, threads: int, cards: int, small: bool) -> tuple[int, int]:
    """(workers, threads of each) for ``trials`` trials.

    Depends on nothing that changes while the trials are done: one that is resumed has as many threads as before, and
    so the same last bits.

    Args:
        asked: the user's number of workers; None leaves it to us.
        trials: how many there are in all, finished ones too.
        threads: of torch in this process: the cores to use.
        cards: CUDA devices, 0 when the work is done elsewhere.
        small: whether several processes with fewer threads are faster and have room: small networks on a CPU.
    """
    wanted = asked or (max(cards, 1) if cards or not small else threads)
    workers = max(1, min(wanted, trials))
    return workers, max(1, threads // workers)


class _Worker:
    """A worker process as its parent sees it."""

    def __init__(self, number: int, threads: int, environment: dict[str, str]) -> None:
        ours, theirs = socket.socketpair()
        self.pipe = Connection(ours.detach())
        # The caller's sys.path, so that what can be imported here can be imported there
        code = f"import sys; sys.path[:] = {sys.path!r}; from poolsearch.workers.worker import serve"
        command = [sys.executable, "-c", f"{code}; serve({theirs.fileno()}, {threads})"]
        with theirs, _signals_blocked():
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=2, pass_fds=[theirs.fileno()],
                env=os.environ | {"OMP_NUM_THREADS": str(threads)} | environment,
            )  # fmt: skip
        self._number = number
        self.trial: int | None = None
        self._part: PartialProgress | None = None
        self._bar = ExitStack()
        self._update: Update | None = None

    @property
    def name(self) -> str:
        return f"worker {self._number} (process {self._process.pid})"

    def order(self, order: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it is dead, which the next reading of the pipe tells
            self.pipe.send_bytes(order)

    def begin(self, trial: int, pickled: bytes, part: PartialProgress) -> None:
        self.trial, self._part = trial, part
        self.order(pickled)

    def show(self, message: Message | Told | BarOpened | BarMoved | BarClosed) -> None:
        assert self._part is not None, "a worker speaks only while it does a trial"
        match message:
            case Message(text):
                self._part.say(text)
            case Told(told):
                self._part.tell(told)
            case BarOpened(label, total):
                self._update = self._bar.enter_context(self._part.bar(label, total))
            case BarMoved(done, note):
                assert self._update is not None
                self._update(done, note)
            case BarClosed():
                self._bar.close()

    def close(self) -> None:
        """Let go of it: at the closing of the pipe it ends at once, whatever it does."""
        self._bar.close()
        self.pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def end(self) -> str:
        """How it ended, of itself."""
        self._bar.close()
        status = self._process.wait()
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


class _Workers:
    """The worker processes, and what is still to be done."""

    def __init__(
        self,
        work: Work[T, Any],
        trials: Sequence[T],
        costs: Sequence[float],
        whole: OverallProgress,
        done: Callable[[T, Any], None] | None,
    ) -> None:
        self._work, self._trials, self._whole, self._done = work, trials, whole, done
        self._waiting = TrialQueue(sorted(range(len(trials)), key=lambda i: -costs[i]))
        self._alive: dict[Connection, _Worker] = {}
        self._results: dict[int, Any] = {}
        self._lost: list[str] = []
        self._failed: TrialFailed | None = None
        self._raised: Exception | None = None

    def run(self, workers: int, threads: int, cards: Sequence[str]) -> list[Any]:
        pickled = pickle.dumps(self._work)
        with ExitStack() as started, stop_requests() as stopped:
            for i in range(workers):
                card = {"CUDA_VISIBLE_DEVICES": cards[i % len(cards)]} if cards else {}
                worker = _Worker(i + 1, threads, card)
                started.callback(worker.close)
                self._alive[worker.pipe] = worker
            for worker in self._alive.values():
                worker.order(pickled)
                self._begin_next(worker)
            self._work_through(stopped)
            was_stopped = stopped()
        return self._outcome(was_stopped)

    def _work_through(self, stopped: Callable[[], bool]) -> None:
        stopping = False
        while self._alive:
            if not stopping and (stopped() or self._failed or self._raised):
                stopping = True
                self._waiting.clear()
                for worker in self._alive.values():
                    worker.order(STOP)
            for pipe in wait(list(self._alive), _POLL_SECONDS):
                assert isinstance(pipe, Connection)
                self._hear(self._alive[pipe], stopping)
            if idle := [worker for worker in self._alive.values() if worker.trial is None]:
                self._whole.again()
                for worker in idle:
                    self._begin_next(worker)

    def _hear(self, worker: _Worker, stopping: bool) -> None:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            self._ended(worker, stopping)
            return
        match message:
            case TrialFinished(Busy()):
                assert worker.trial is not None
                self._waiting.busy(worker.trial)
                self._begin_next(worker)
            case TrialFinished(result):
                assert worker.trial is not None
                self._results[worker.trial] = result
                if self._done:
                    self._call(self._done, self._trials[worker.trial], result)
                self._whole.finished(worker.trial)
                self._begin_next(worker)
            case TrialFailed():
                self._failed = self._failed or message
                del self._alive[worker.pipe]
            case Told():
                self._call(worker.show, message)
            case _:
                worker.show(message)

    def _call(self, caller: Callable[..., None], *told: Any) -> None:
        """Tell the caller; what it raises first is raised when all workers have saved and stopped."""
        try:
            caller(*told)
        except Exception as error:  # of the user's own code: whatever it is
            self._raised = self._raised or error
            self._waiting.clear()

    def _begin_next(self, worker: _Worker) -> None:
        if not self._waiting:
            del self._alive[worker.pipe]
            worker.close()
            return
        if (trial := self._waiting.next()) is None:
            worker.trial = None
            return
        worker.begin(trial, pickle.dumps(self._trials[trial]), self._whole.part(trial))

    def _ended(self, worker: _Worker, stopping: bool) -> None:
        del self._alive[worker.pipe]
        how = worker.end()
        if stopping and how == "ended with status 0":
            return
        during = "while it waited" if worker.trial is None else f"during {self._trials[worker.trial]}"
        self._lost.append(f"{worker.name} {how} {during}")
        self._whole.progress.say(f"{self._lost[-1]}.")

    def _outcome(self, stopped: bool) -> list[Any]:
        if self._raised:
            raise self._raised
        if self._failed:
            _raise(self._failed)
        if self._lost and len(self._results) < len(self._trials):
            raise PoolsearchError(
                f"{len(self._trials) - len(self._results)} of {len(self._trials)} trials are not finished: "
                f"{'; '.join(self._lost)}. What is finished or in a checkpoint is kept: start again to go on, with "
                "fewer --workers if memory ran out."
            )
        if stopped:
            raise Interrupted
        return [self._results[i] for i in range(len(self._trials))]


class _WorkersTraceback(Exception):
    """Where in a worker an error came from."""


def _raise(failed: TrialFailed) -> NoReturn:
    raise failed.error from _WorkersTraceback(f"\n\n{failed.traceback}")


@contextmanager
def _signals_blocked() -> Generator[None]:
    """A process started inside gets no SIGINT and no SIGTERM for all its life: it is told through its pipe."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
