"""``python`` that need not import anything: a server has imported it all, and is copied for each call."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

SECONDS = 240  # then the process is ended by SIGALRM
_SERVER = """
import json, os, runpy, signal, sys

import altair, sklearn.datasets, torch._dynamo  # what is imported late
import poolsearch.perform, poolsearch.pipeline, poolsearch.reports

for line in sys.stdin:
    (what, *arguments), folder, environment, output, errors, seconds = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.alarm(seconds)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for path, stream in ((os.devnull, 0), (output, 1), (errors, 2)):
            os.dup2(os.open(path, os.O_RDWR), stream)
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
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class ForkServer:
    """Runs ``python`` some seconds faster, in a copy of a process that has imported torch and all of poolsearch.

    The server itself computes nothing, so that it has no threads that a copy would lack.
    """

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """As ``subprocess.run([sys.executable, *arguments])``: ``-m MODULE``, ``-c CODE`` or a script, and its own."""
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        server = self._server
        assert server.stdin is not None and server.stdout is not None
        with tempfile.NamedTemporaryFile("r") as output, tempfile.NamedTemporaryFile("r") as errors:
            asked = (arguments, str(folder), dict(environment), output.name, errors.name, SECONDS)
            print(json.dumps(asked), file=server.stdin, flush=True)
            status = int(server.stdout.readline())
            return subprocess.CompletedProcess(list(arguments), status, output.read(), errors.read())

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.communicate()
