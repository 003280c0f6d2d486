"""HAProxy's access log: a datagram for each request, which HAProxy drops rather than wait for us."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn, cast

import anyio
import anyio.lowlevel

from ingresskit.apply.haproxy.terminations import reset_status, termination_of
from ingresskit.graph import BackendKey
from ingresskit.render.access import AccessRecord

__all__ = ["AccessLogSocket"]

_MOST_BYTES: Final = 65536
_BUFFER_BYTES: Final = 4 * 1024 * 1024
_AT_A_TIME: Final = 200
# HAProxy writes it where it has nothing to say, and for the status of a request that was given up.
_NOTHING: Final = ("-", "")
_GIVEN_UP: Final = 499


class AccessLogSocket:
    """Reads what HAProxy sends, and hands on a record for each request.

    Args:
        path: The socket; what is there is replaced.
        keys: By the id of a backend, what it is a backend of.
        record: Called for each request, on the event loop: it must not block or raise.
    """

    def __init__(
        self,
        path: Path,
        *,
        keys: Callable[[str], BackendKey | None],
        record: Callable[[AccessRecord], None],
    ) -> None:
        self.path = path
        self._keys = keys
        self._record = record
        self._socket: socket.socket | None = None
        self.unreadable: int = 0

    def open(self) -> None:
        """Make the socket.

        Raises:
            OSError: That cannot be done.
        """
        self.path.unlink(missing_ok=True)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            made.bind(str(self.path))
            self.path.chmod(0o600)
        except BaseException:
            made.close()
            raise
        self._socket = made

    def close(self) -> None:
        """Read what is there still, and close it."""
        if self._socket is not None:
            self._read(self._socket, most=None)
            self._socket.close()
            self._socket = None
            with suppress(OSError):
                self.path.unlink()

    async def run(self) -> NoReturn:
        """Read until cancelled."""
        assert self._socket is not None, "open() it first"  # noqa: S101 - ours
        while True:
            await anyio.wait_readable(self._socket)
            # In portions: a flood of requests must not keep the event loop from all else.
            self._read(self._socket, most=_AT_A_TIME)
            await anyio.lowlevel.checkpoint()

    def _read(self, source: socket.socket, *, most: int | None) -> None:
        left = most
        while left is None or left > 0:
            try:
                data = source.recv(_MOST_BYTES)
            except BlockingIOError:
                return
            if left is not None:
                left -= 1
            if not data.startswith(b"{"):
                continue  # a notice of HAProxy's own: a worker stops, a server is down
            try:
                request = read_record(data, self._keys)
            except (ValueError, KeyError, TypeError):
                self.unreadable += 1
            else:
                self._record(request)


def read_record(data: bytes, keys: Callable[[str], BackendKey | None]) -> AccessRecord:
    """The record that HAProxy sent as *data*.

    Raises:
        ValueError: It is not one; also `KeyError` and `TypeError`.
    """
    text = data.decode("ascii").strip()
    said = json.loads(text)
    if not isinstance(said, dict):
        raise ValueError("not an object")
    fields = {
        name: "" if value in _NOTHING else value for name, value in cast("Mapping[str, str]", said).items()
    }
    status = int(fields["sent"] or fields["status"] or 0)
    endpoint, upstream = fields["endpoint"], _number(fields["upstream"])
    served = bool(endpoint) and not endpoint.startswith("-") and fields["backend"] != ""
    termination, detail = termination_of(
        fields["ended"],
        status=status,
        upstream=upstream,
        kind=fields["route"],
        endpoint=served,
        error=int(fields["error"] or 0),
    )
    status = reset_status(fields["ended"], status, upstream)
    return AccessRecord(
        client=fields["client"],
        method=fields["method"] if fields["method"] != "<BADREQ>" else "",
        host=fields["host"],
        path=fields["path"],
        rule_host=fields["rule_host"] if fields["route"] else "",
        status=status if status > 0 else _GIVEN_UP,
        sent_bytes=int(fields["sent_bytes"] or 0),
        duration=max(int(fields["milliseconds"] or 0), 0) / 1000,
        backend=keys(fields["backend"]) if served or str(termination).startswith("upstream") else None,
        endpoint=endpoint if served else "",
        attempts=int((fields["retries"] or "0").lstrip("+")) + 1 if served else 0,
        request_id=fields["request_id"] if served else "",
        termination=termination,
        detail=detail,
        # HAProxy counts whole milliseconds, and 0 for a pooled connection.
        connect_time=_seconds(fields["connected"]) or None if served else None,
        first_byte_time=_first_byte(fields) if served and upstream is not None else None,
        upstream_status=upstream,
    )


def _number(text: str) -> int | None:
    return int(text) if text else None


def _seconds(text: str) -> float:
    """A time of HAProxy's in seconds: -1 stands for what did not come to pass."""
    return max(int(text or 0), 0) / 1000


def _first_byte(fields: Mapping[str, str]) -> float:
    return sum(_seconds(fields[name]) for name in ("waited", "connected", "responded"))
