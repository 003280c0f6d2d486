"""From the bytes of a watch to its lines.

Our own, because a line of a watch is a whole object: readers made for text lines give up at a few
kilobytes or megabytes (aiohttp's raises above twice its buffer), or keep what never ends.
"""

from __future__ import annotations

from collections import deque
from datetime import timedelta

import anyio
import anyio.lowlevel

from ingresskit.errors import IdleTimeout, TransportError
from ingresskit.kube.transport import ByteStream

__all__ = ["LineReader", "LineSplitter"]

# etcd refuses objects above 1.5 MB; as JSON, with everything in it escaped, that can grow several times.
MAX_LINE_BYTES = 16 * 1024 * 1024
# Lines given out before others may run: some 5 ms of decoding.
_UNINTERRUPTED_BYTES = 256 * 1024


class LineSplitter:
    """Cuts bytes into lines wherever the chunks of a network happen to end.

    A multi-byte character cut in two is not noticed: a line feed is never part of one.
    """

    __slots__ = ("_max_line_bytes", "_parts", "_size")

    def __init__(self, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def pending_bytes(self) -> int:
        """The size of the line that has begun and not ended."""
        return self._size

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that *chunk* completes, in order, without their line ends; blank ones are left out.

        Raises:
            TransportError: A line is longer than allowed. Nothing more can be read.
        """
        *whole, rest = chunk.split(b"\n")
        lines: list[bytes] = []
        if whole and self._parts:
            whole[0] = b"".join((*self._parts, whole[0]))
            self._parts.clear()
            self._size = 0
        for line in whole:
            self._check(len(line))
            if line.strip():
                lines.append(line)
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
            self._check(self._size)
        return lines

    def _check(self, size: int) -> None:
        if size > self._max_line_bytes:
            raise TransportError(f"a line of the watch is longer than {self._max_line_bytes} bytes")


class LineReader:
    """Reads an open watch line by line, and notices when it has died without saying so."""

    __slots__ = ("_budget", "_lines", "_splitter", "_stream", "heard", "idle_timeout")

    heard: float
    """When bytes last arrived, on the clock of the event loop; when it was made, before the first."""

    idle_timeout: timedelta
    """How long the watch may be silent. May be changed between two lines."""

    def __init__(
        self, stream: ByteStream, *, idle_timeout: timedelta, max_line_bytes: int = MAX_LINE_BYTES
    ) -> None:
        """Wrap *stream*.

        Args:
            stream: What to read. The caller closes it.
            idle_timeout: How long it may be silent. Longer than the time the server was asked to keep the
                watch open, else healthy watches of quiet kinds are cut.
            max_line_bytes: More in one line is an error; 16 MiB unless given.
        """
        self._stream = stream
        self._splitter = LineSplitter(max_line_bytes=max_line_bytes)
        self._lines: deque[bytes] = deque()
        self._budget = _UNINTERRUPTED_BYTES
        self.idle_timeout = idle_timeout
        self.heard = anyio.current_time()

    async def line(self) -> bytes:
        """The next line, never a blank one. Lets others run now and then, also if many lines are there.

        Raises:
            anyio.EndOfStream: The server ended the stream after a whole line.
            IdleTimeout: Nothing arrived for too long.
            TransportError: The connection broke, a line was cut by the end, or is too long. All whole lines
                before were given out before.
        """
        while not self._lines:
            self._lines.extend(self._splitter.feed(await self._chunk()))
        line = self._lines.popleft()
        self._budget -= len(line)
        if self._budget < 0:
            self._budget = _UNINTERRUPTED_BYTES
            self._lines.appendleft(line)  # kept if this is where we are cancelled
            await anyio.lowlevel.checkpoint()
            self._lines.popleft()
        return line

    async def _chunk(self) -> bytes:
        try:
            with anyio.fail_after(self.idle_timeout.total_seconds()):
                chunk = await self._stream.receive()
        except TimeoutError:
            raise IdleTimeout(f"the watch was silent for {self.idle_timeout.total_seconds():g} s") from None
        except anyio.EndOfStream:
            if self._splitter.pending_bytes:
                raise TransportError("the watch ended in the middle of a line") from None
            raise
        self.heard = anyio.current_time()
        return chunk
