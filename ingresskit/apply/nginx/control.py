"""Talking to a running nginx over its private socket: what is live, and new rows.

Each question has a connection of its own: after a reload, old workers answer on connections they hold,
and what is asked here is what fresh ones get.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import anyio

from ingresskit.errors import ApplyError

__all__ = ["Control", "Row", "Served", "encode_rows"]

Row = tuple[str, bytes | None]
"""A key and its text; ``None`` removes it."""

_SECONDS = 10.0
# Of one part of a push. While nginx reads one, it serves nothing else with that worker.
_PART_BYTES = 1024 * 1024
_PART_ROWS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The tables that nginx serves by.

    Attributes:
        generation: Of the last push that came to its end.
        highest: Of any push; the next one needs a higher one.
        state: The name that push gave to what it led to.
        free: Bytes left for rows, roughly.
    """

    generation: int
    highest: int
    state: str
    free: int


class Control:
    """The private socket of one nginx.

    Args:
        path: As `NginxSettings.status_socket`.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    async def generation(self) -> str:
        """The digest of the configuration that is live.

        Raises:
            ApplyError: nginx does not respond; so in the other methods.
        """
        _, body = await self._ask(_get("/generation"))
        return body.decode("ascii", "replace").strip()

    async def served(self) -> Served:
        """What is served by the tables of the dynamic mode."""
        found = await self._json("/state")
        try:
            return Served(
                generation=int(cast(int, found["generation"])),
                highest=int(cast(int, found["highest"])),
                state=str(found["state"]),
                free=int(cast(int, found["free"])),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise ApplyError(f"the state that nginx reports cannot be read: {found!r}") from exc

    async def counts(self) -> dict[str, object]:
        """The counts of the dynamic mode, as `lua/ingresskit/statistics.lua` names them."""
        return await self._json("/statistics")

    async def status(self) -> str:
        """The text of ``stub_status``."""
        _, body = await self._ask(_get("/status"))
        return body.decode("ascii", "replace")

    async def push(self, rows: Sequence[Row], *, generation: int, base: str, state: str) -> None:
        """Serve *rows* instead of what is served under their keys: all of them at once, or none.

        Args:
            rows: In any order.
            generation: Higher than `Served.highest`.
            base: The state that *rows* lead away from; ``"-"``: *rows* are all there shall be.
            state: The name of what they lead to; no spaces.

        Raises:
            ApplyError: nginx refused, or did not respond: then it may serve either of the two.
        """
        parts = [*_parts(rows)]
        for number, part in enumerate(parts, 1):
            body = encode_rows(part)
            fields = {
                "X-Generation": str(generation),
                "X-Base": base,
                "X-Part": str(number),
                "X-Rows": str(len(part)),
                "X-Checksum": f"{zlib.crc32(body):08x}",
            }
            if number == len(parts):
                fields["X-State"] = state
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            request = f"POST /push HTTP/1.1\r\nHost: ingresskit\r\n{head}Content-Length: {len(body)}\r\n"
            status, answer = await self._ask(request.encode("ascii") + b"Connection: close\r\n\r\n" + body)
            if status != 200:
                reason = answer.decode("utf-8", "replace").strip()[:300]
                raise ApplyError(f"nginx refused new tables ({status}): {reason}")

    async def _json(self, path: str) -> dict[str, object]:
        _, body = await self._ask(_get(path))
        try:
            found = json.loads(body)
        except ValueError as exc:
            raise ApplyError(f"the response of nginx to {path} is not JSON") from exc
        return cast("dict[str, object]", found) if isinstance(found, dict) else {}

    async def _ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and read its response to the end; returns status and body."""
        try:
            with anyio.fail_after(_SECONDS):
                async with await anyio.connect_unix(self._path) as stream:
                    await stream.send(request)
                    received = bytearray()
                    try:
                        while True:
                            received += await stream.receive()
                    except anyio.EndOfStream:
                        pass
        except TimeoutError:
            raise ApplyError(f"nginx did not respond at {self._path} within {_SECONDS:g} s") from None
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            raise ApplyError(f"nginx does not respond at {self._path}: {exc}") from exc
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        line = head.split(b"\r\n", 1)[0].split(b" ")
        if len(line) < 2 or not line[1].isdigit():
            raise ApplyError(f"nginx sent no response at {self._path}")
        return int(line[1]), _unchunked(body) if b"\r\nTransfer-Encoding: chunked" in head else body


def encode_rows(rows: Iterable[Row]) -> bytes:
    """Rows as `lua/ingresskit/push.lua` reads them, from the socket and from the disk."""
    return b"".join(
        key.encode("ascii") + (b"\n" if text is None else b"\t" + text + b"\n") for key, text in rows
    )


def _parts(rows: Sequence[Row]) -> Iterable[Sequence[Row]]:
    """At least one part; none much larger than the limits."""
    start, size = 0, 0
    for index, (_, text) in enumerate(rows):
        if index > start and (size > _PART_BYTES or index - start >= _PART_ROWS):
            yield rows[start:index]
            start, size = index, 0
        size += len(text or b"")
    yield rows[start:]


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: ingresskit\r\nConnection: close\r\n\r\n".encode("ascii")


def _unchunked(body: bytes) -> bytes:
    whole = bytearray()
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0] or b"0", 16)
        if length == 0:
            break
        whole += body[:length]
        body = body[length + 2 :]
    return bytes(whole)
