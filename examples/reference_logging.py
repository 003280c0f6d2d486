"""What the reference controller writes: its own log, and a line for each request.

One record is one line, whatever is in it: control characters of what somebody else wrote (a path, a
name in a manifest) are escaped, so that nobody can forge a line.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import anyio
import anyio.to_thread
from typing_extensions import override

from ingresskit.proxy import AccessRecord

__all__ = ["AccessLog", "log_handler", "set_up_logging"]

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
            "message": record.getMessage(),
            **_facts(self, record),
        }
        return json.dumps(line, default=str)


class _TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.000Z info ingresskit.controller.loop: configuration live revision=3``."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        facts = "".join(f" {name}={_quoted(str(value))}" for name, value in _facts(self, record).items())
        head = f"{_time(record.created)} {record.levelname.lower()} {record.name}: "
        return head + _printable(record.getMessage()) + facts


def _facts(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, object]:
    facts = {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS}
    if record.exc_info:
        facts["exception"] = formatter.formatException(record.exc_info)
    return facts


def _quoted(text: str) -> str:
    plain = text.isprintable() and text and not set(text) & set(' "=')
    return text if plain else f'"{_printable(text.replace(chr(34), chr(39)))}"'


def _printable(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class AccessLog:
    """A JSON line for each request, in the order in which they ended.

    `record` only remembers; `run` writes, in a thread, so that a slow disk delays no request. When the
    disk cannot follow at all, lines are dropped and a later line says how many.
    """

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self._waiting: list[str] = []
        self._dropped = 0

    @classmethod
    def open(cls, where: str, stack: ExitStack) -> AccessLog:
        """Append to the file *where*, which *stack* closes; ``-`` is the standard output.

        Raises:
            OSError: The file cannot be written.
        """
        if where == "-":
            return cls(sys.stdout)
        return cls(stack.enter_context(Path(where).open("a", encoding="utf-8")))

    def record(self, request: AccessRecord) -> None:
        """Remember a request."""
        if len(self._waiting) >= _MOST_WAITING:
            self._dropped += 1
            return
        line: dict[str, object] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "client": request.client,
            "method": request.method,
            "host": request.host,
            "path": request.path,
            "status": request.status,
            "sentBytes": request.sent_bytes,
            "durationMs": round(request.duration * 1000, 3),
            "ruleHost": request.rule_host,
            "backend": None if request.backend is None else str(request.backend),
            "endpoint": request.endpoint,
            "attempts": request.attempts,
            "requestId": request.request_id,
        }
        self._waiting.append(json.dumps(line))

    async def run(self) -> None:
        """Write until cancelled, and then the rest."""
        try:
            while True:
                await anyio.sleep(_INTERVAL)
                await anyio.to_thread.run_sync(self._write)
        finally:
            self._write()

    def _write(self) -> None:
        lines, self._waiting = self._waiting, []
        dropped, self._dropped = self._dropped, 0
        if dropped:
            lines.append(json.dumps({"dropped": dropped}))
        if lines:
            self._target.write("\n".join(lines) + "\n")
            self._target.flush()
