"""What the reference controller writes: its own log, and a line for each request.

One record is one line, whatever is in it: control characters of what somebody else wrote (a path, a
name in a manifest) are escaped, so that nobody can forge a line.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from io import RawIOBase
from pathlib import Path
from typing import TextIO

import anyio
import anyio.to_thread
from typing_extensions import override

from ingresskit.app.access_lines import ACCESS_FORMATS
from ingresskit.facts import FactMessage, fact_logger, fact_text
from ingresskit.proxy import AccessRecord

__all__ = ["AccessLog", "log_handler", "set_up_logging"]

_logger = fact_logger(__name__)

_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MOST_WAITING = 100_000
_INTERVAL = 0.2


def set_up_logging(form: str, level: str) -> None:
    """Write log records to the error output, as ``text`` or ``json``."""
    logging.basicConfig(handlers=[log_handler(form, sys.stderr)], level=level.upper())


def log_handler(form: str, stream: TextIO) -> logging.Handler:
    """What writes records to *stream*, as ``text`` or ``json``."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    return handler


class _JsonFormatter(logging.Formatter):
    """``{"time": …, "level": …, "logger": …, "message": …}``, and the facts of the record beside them."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _words(record),
            **_facts(self, record),
        }
        return json.dumps(line, default=str)


class _TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.000Z info ingresskit.controller.loop: configuration live revision=3``."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        head = f"{_time(record.created)} {record.levelname.lower()} {record.name}: "
        return head + _printable(_words(record)) + fact_text(_facts(self, record))


def _words(record: logging.LogRecord) -> str:
    """The message without its facts: these stand beside it."""
    message: object = record.msg
    return message.words if isinstance(message, FactMessage) else record.getMessage()


def _facts(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, object]:
    facts = {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS}
    if record.exc_info:
        facts["exception"] = formatter.formatException(record.exc_info)
    return facts


def _printable(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class AccessLog:
    """A line for each request, in the order in which they ended.

    `record` only remembers; `run` writes, in a thread, so that a slow disk delays no request. When the
    disk cannot follow, or is full, lines are left out and a later line says how many; in the format of
    ingress-nginx, which has none for that, the program's own log does.
    """

    def __init__(self, target: RawIOBase, path: Path | None = None, *, form: str = "json") -> None:
        self._target = target
        self._path = path
        self._line = ACCESS_FORMATS[form]
        self._json = form == "json"
        self._waiting: list[tuple[float, AccessRecord]] = []
        self._dropped = 0
        self._failing = False

    @classmethod
    def open(cls, where: str, stack: ExitStack, *, form: str = "json") -> AccessLog:
        """Append to the file *where*, which *stack* closes; ``-`` is the standard output.

        Args:
            where: A path.
            stack: What ends with the program.
            form: One of `ACCESS_FORMATS`.

        Raises:
            OSError: The file cannot be written.
        """
        # Without a buffer: what a full disk refused must not be tried again for ever.
        if where == "-":
            return cls(
                stack.enter_context(open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)), form=form
            )
        target = Path(where).open("ab", buffering=0)  # noqa: SIM115 - `reopen` closes it
        log = cls(target, Path(where), form=form)
        stack.callback(lambda: log._target.close())
        return log

    def reopen(self) -> None:
        """Write to a new file under the same name from now on: the old one was moved away.

        Where that cannot be opened, the old one is written on.
        """
        if self._path is None:
            return
        self._write()
        try:
            target = self._path.open("ab", buffering=0)
        except OSError as exc:
            _logger.warning("access log cannot be reopened", extra={"reason": exc.strerror})
            return
        self._target.close()
        self._target = target

    def record(self, request: AccessRecord) -> None:
        """Remember a request."""
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append((time.time(), request))
        else:
            self._dropped += 1

    def drop(self, count: int) -> None:
        """Requests that are left out, since their records were too many; a later line says how many."""
        self._dropped += count

    async def run(self) -> None:
        """Write until cancelled, and then the rest."""
        try:
            while True:
                await anyio.sleep(_INTERVAL)
                await anyio.to_thread.run_sync(self._write)
        finally:
            self._write()

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        dropped, self._dropped = self._dropped, 0
        lines = [self._line(*item) for item in waiting]
        if dropped and self._json:
            lines.append(json.dumps({"dropped": dropped}))
        data = "".join(f"{line}\n" for line in lines).encode()
        try:
            while data:
                data = data[self._target.write(data) or 0 :]
            self._failing = False
            if dropped and not self._json:
                # The format has no line for it.
                _logger.warning("lines left out of the access log", extra={"count": dropped})
        except OSError as exc:
            self._dropped += len(waiting) + dropped
            if not self._failing:
                _logger.warning("access log cannot be written", extra={"reason": exc.strerror})
            self._failing = True
