"""The reference controller as a process of its own, and requests to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self, cast

from ingresskit.testing import pace

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEADLINE = pace.within(20.0)

_FREE_PORTS = ("--http=127.0.0.1:0", "--https=127.0.0.1:0", "--admin=127.0.0.1:0")


class Reply(NamedTuple):
    status: int
    text: str

    @property
    def json(self) -> dict[str, object]:
        return cast("dict[str, object]", json.loads(self.text))


class Lines:
    """What a stream of a process said so far; somebody may wait for a line."""

    def __init__(self, stream: IO[str]) -> None:
        self.seen: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, args=[stream])
        self._thread.start()

    def wait_for(self, text: str) -> str:
        """The first line that holds *text*."""

        def found() -> str | None:
            return next((line for line in self.seen if text in line), None)

        with self._news:
            self._news.wait_for(lambda: found() is not None or self._ended, timeout=DEADLINE)
            line = found()
        assert line is not None, f"no line with {text!r} among {self.seen}"
        return line

    def join(self) -> None:
        self._thread.join(DEADLINE)

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._news:
                    self.seen.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


class ReferenceController:
    """The controller, started on free ports, logging JSON; ended when the context is left.

    *within* is a command that becomes the one that follows, in another network or as another user, say.
    """

    def __init__(self, *flags: str | Path, within: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            [
                *within,
                sys.executable,
                str(EXAMPLES / "reference_controller.py"),
                *_FREE_PORTS,
                "--log-format=json",
            ]
            + [str(flag) for flag in flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.output = Lines(self.process.stdout)
        self.log = Lines(self.process.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        proxies = self._children()
        self.process.kill()
        self.wait()
        # A proxy outlives a controller that is killed; each has a session, and so a group, of its own.
        for pid in proxies:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _children(self) -> list[int]:
        try:
            return [
                int(pid)
                for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
                .read_text()
                .split()
            ]
        except OSError:
            return []

    def wait(self) -> int:
        """The exit status, once it has ended."""
        status = self.process.wait(DEADLINE)
        self.output.join()
        self.log.join()
        return status

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait_record(self, message: str) -> dict[str, object]:
        """The first record of the log with that message."""
        return cast("dict[str, object]", json.loads(self.log.wait_for(f'"message": "{message}"')))

    def wait_ready(self) -> Self:
        """Return once readiness is reported; the listeners are open then."""
        self.wait_record("serving")
        wait_until(lambda: self.admin("/readyz").status == 200)
        return self

    @property
    def http_port(self) -> int:
        return int(str(self.wait_record("serving")["http"]).rpartition(":")[2])

    @property
    def admin_port(self) -> int:
        return int(str(self.wait_record("admin server listens")["port"]))

    def admin(self, path: str) -> Reply:
        """What the admin server answers."""
        return get(self.admin_port, path)

    def get(self, host: str, path: str = "/") -> Reply:
        """What the proxy answers over plain HTTP."""
        return get(self.http_port, path, host)


def get(port: int, path: str, host: str = "localhost") -> Reply:
    connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        return Reply(response.status, response.read().decode())
    finally:
        connection.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once *condition* holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)
