"""``python`` that need not import anything: a server has imported it all, and is copied for each call."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SECONDS = 240  # then a copy is ended by SIGALRM
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # the bits depend on it, and OpenMP reads it once, in the server
_SAFE = {"OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES"}  # or macOS may end a copy
_PIECE = 1 << 17  # bytes read at once; a message is a line
_SERVER = f"""
import gc, json, os, runpy, signal, socket, sys

import altair, pyarrow.dataset, sklearn.datasets, torch._dynamo  # what is imported late
import poolsearch.cli.dispatch, poolsearch.pipeline, poolsearch.reports.page.html as html
import poolsearch.reports.page.sections, poolsearch.reports.terminal

# The script that every report holds depends on installed packages alone and takes a second and a half. A copy makes
# it, since what makes it begins threads
reader, writer = os.pipe()
if os.fork() == 0:
    with open(writer, "w", encoding="utf-8", newline="") as pipe:
        pipe.write(html.vega_bundle())
    os._exit(0)
os.close(writer)
with open(reader, encoding="utf-8", newline="") as pipe:
    bundle = pipe.read()
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
html.vega_bundle = lambda: bundle
# Pictures take the larger part of a report's time, and are a library's work: the tests of figures and of the page draw
# them, copies leave blank ones. What the charts are made of is still put together, for the page
blank = b"\\x89PNG\\r\\n\\x1a\\n"
html.to_svg, html.to_png = lambda figure: "<svg xmlns='http://www.w3.org/2000/svg'/>", lambda *of, **how: blank
gc.collect()
gc.freeze()  # or the first collection of each copy would write to, and so copy, every page

channel = socket.socket(fileno=int(sys.argv[1]))
while True:
    message, streams, *_ = socket.recv_fds(channel, {_PIECE}, 2)
    while message and not message.endswith(b"\\n"):
        message += channel.recv({_PIECE})
    if not message:
        sys.exit()
    asked = json.loads(message)
    if isinstance(asked, int):
        pid, status = os.waitpid(asked, os.WNOHANG)
        answer = os.waitstatus_to_exitcode(status) if pid else None
    else:
        answer = os.fork()
        if answer == 0:
            break
        for stream in streams:
            os.close(stream)
    channel.sendall(json.dumps(answer).encode() + b"\\n")

(what, *arguments), folder, environment = asked
channel.close()
os.setsid()
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests are in the background
signal.alarm({SECONDS})
os.chdir(folder)
os.environ.clear()
os.environ.update(environment)
for number, stream in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
    os.dup2(stream, number)
    os.close(stream)
sys.stdin = os.fdopen(0)
if what == "-m":
    sys.argv = ["", *arguments[1:]]
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
elif what == "-c":
    sys.argv = [what, *arguments[1:]]
    exec(arguments[0])
else:
    sys.argv, sys.path[0] = [what, *arguments], os.path.dirname(what)
    runpy.run_path(what, run_name="__main__")
"""


class ForkServer:
    """Starts ``python`` some seconds faster: in a copy of a process that has imported torch and all of poolsearch.

    The server itself computes nothing, so that it has no threads that a copy would lack; a copy has one of
    torch's. Each copy is in a process group of its own, as a terminal starts a command.
    """

    def __init__(self) -> None:
        self._channel: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def start(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: int, errors: int
    ) -> int:
        """Begin ``python`` with arguments ``-m MODULE``, ``-c CODE`` or a script, and its own; its process id."""
        asked = (arguments, str(folder), dict(environment) | _ONE_THREAD)
        socket.send_fds(self._connected(), [b" "], [output, errors])  # with a byte, since not all may be sent at once
        return self._answer_to(asked)

    def status(self, pid: int) -> int | None:
        """The exit status of a process, negative for a signal; None while it runs. To be asked for until it is told."""
        return self._answer_to(pid)

    def close(self) -> None:
        """End the server."""
        if self._channel is not None and self._server is not None:
            self._channel.close()
            self._server.wait()

    def _connected(self) -> socket.socket:
        if self._channel is None:
            self._channel, theirs = socket.socketpair()
            self._server = subprocess.Popen(
                [sys.executable, "-c", _SERVER, str(theirs.fileno())], pass_fds=[theirs.fileno()],
                env=os.environ | _ONE_THREAD | _SAFE, start_new_session=True
            )  # fmt: skip
            theirs.close()
        return self._channel

    def _answer_to(self, asked: object) -> Any:
        channel = self._connected()
        channel.sendall(json.dumps(asked).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            part = channel.recv(_PIECE)
            assert part, "the server has ended"
            answer += part
        return json.loads(answer)


class Forked:
    """A process that such a server has started, with its output and errors in one pipe: as ``subprocess.Popen``."""

    def __init__(
        self, server: ForkServer, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        self._server = server
        self._output, writer = os.pipe()
        self.pid = server.start(arguments, folder, environment, writer, writer)
        self.returncode: int | None = None
        os.close(writer)

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        if self.returncode is None:
            self.returncode = self._server.status(self.pid)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Where it runs still."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """By SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = SECONDS) -> str:
        """Wait for its end and for that of all who have its output, such as its workers; what they wrote."""
        end = time.monotonic() + timeout
        parts: list[bytes] = []
        with open(self._output, "rb", buffering=0) as output:
            while not parts or parts[-1]:
                assert select.select([output], [], [], max(0, end - time.monotonic()))[0], b"".join(parts).decode()
                parts.append(output.read(1 << 16))
        while self.poll() is None:
            assert time.monotonic() < end, "it has closed its output and runs still"
            time.sleep(0.01)
        return b"".join(parts).decode()


def run(
    server: ForkServer, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """As ``subprocess.run([sys.executable, *arguments])``, with output and errors apart."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        pid = server.start(arguments, folder, environment, output.fileno(), errors.fileno())
        while (status := server.status(pid)) is None:
            time.sleep(0.01)
        for stream in (output, errors):
            stream.seek(0)
        return subprocess.CompletedProcess(list(arguments), status, output.read(), errors.read())
