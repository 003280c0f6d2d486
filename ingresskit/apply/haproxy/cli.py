"""One command, one response: the command line that a HAProxy master offers on a socket.

Every command has a connection of its own. Its response then ends where the connection does, so that no
text in a response can be taken for the end of one, and nothing that went wrong with one command is left
for the next. It costs 0.1 ms (HAProxy 2.6, November 2026).

Two rules keep texts from becoming commands. A command is words of a closed alphabet, without ``;``,
which HAProxy reads as the end of a command, and which the master, even worse, carries out by itself.
Whatever else has to get there goes as payload: lines that HAProxy takes as they are, up to the first
empty one.

Source: HAProxy management guide, 9.3 and 9.4; measured on 2.6, 3.0 and 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import anyio

from ingresskit.diagnostics import printable
from ingresskit.errors import ApplyError

__all__ = ["MAX_PAYLOAD_BYTES", "Cli", "CommandRefused", "Unreachable", "chunks"]

MAX_PAYLOAD_BYTES: Final = 12_000
"""The largest payload: HAProxy 2.6 drops, without a word, one that does not fit into its buffer of 16 KiB."""

_WORD: Final = re.compile(r"[A-Za-z0-9_.:/@*,#=!()\[\]-]{1,1000}")
_LINE: Final = re.compile(r"[\x20-\x7e]+")
_LONGEST_PATH: Final = 107  # sockaddr_un(7)


class Unreachable(ApplyError):
    """Raised when no response came: no process listens, or it did not respond in time."""


class CommandRefused(ApplyError):
    """Raised when HAProxy responded that it did not carry the command out.

    Attributes:
        command: The words of the command, without payload.
        answer: The response of HAProxy, printable, at most 500 characters.
    """

    def __init__(self, command: str, answer: str) -> None:
        self.command = command
        self.answer: str = printable(answer.strip(), 500)
        super().__init__(f"HAProxy refused {command!r}: {self.answer or 'empty response'}")


class Cli:
    """The command line of a master, and through it of the worker that serves now.

    Args:
        path: The master's socket.
        timeout: How long one command may take.

    Raises:
        ApplyError: The path is longer than a socket's may be.
    """

    def __init__(self, path: Path, *, timeout: timedelta = timedelta(seconds=5)) -> None:
        if len(str(path).encode()) > _LONGEST_PATH:
            raise ApplyError(f"{path} is too long for a socket: {_LONGEST_PATH} bytes; choose a shorter folder")
        self._path = path
        self._timeout = timeout

    async def master(self, *words: str) -> str:
        """The master's response to a command; may be empty.

        Raises:
            ValueError: A word has a character outside the closed alphabet.
            Unreachable: There was none.
        """
        return await self._exchange(_command(words) + "\n")

    async def worker(self, *words: str, payload: Sequence[str] | None = None) -> str:
        """The response of the newest worker, without white space around it; may be empty.

        Args:
            words: The command.
            payload: Lines of printable ASCII, not empty; `MAX_PAYLOAD_BYTES` at most, line ends included.

        Raises:
            ValueError: A word or a line is not as described; nothing was sent.
            CommandRefused: The master knows no worker.
            Unreachable: There was no response, or an empty one.
        """
        command = _command(words)
        text = f"@1 {command}\n"
        if payload is not None:
            text = f"@1 {command} <<\n{_payload(payload)}\n"
        answer = await self._exchange(text)
        if not answer:
            raise Unreachable(f"HAProxy's worker went away during {command!r}")
        if answer.startswith("Can't find the target"):
            raise CommandRefused(command, answer)
        return answer.strip()

    async def expect(self, success: str, *words: str, payload: Sequence[str] | None = None) -> str:
        """As `worker`; *success* is a regular expression that the whole response must match.

        Raises:
            ValueError: As `worker`.
            CommandRefused: The response does not match.
            Unreachable: As `worker`.
        """
        answer = await self.worker(*words, payload=payload)
        if not re.fullmatch(success, answer, re.DOTALL):
            raise CommandRefused(_command(words), answer)
        return answer

    async def _exchange(self, text: str) -> str:
        try:
            with anyio.fail_after(self._timeout.total_seconds()):
                async with await anyio.connect_unix(self._path) as stream:
                    await stream.send(text.encode("ascii"))
                    # Without it the master waits for another command, and its answer has no end.
                    await stream.send_eof()
                    received = [part async for part in stream]
        except TimeoutError:
            seconds = self._timeout.total_seconds()
            raise Unreachable(
                f"HAProxy did not respond to {text.partition(chr(10))[0]!r} within {seconds:g} s"
            ) from None
        except (OSError, anyio.BrokenResourceError) as exc:
            raise Unreachable(f"HAProxy's master cannot be reached at {self._path}: {exc}") from exc
        return b"".join(received).decode("utf-8", "replace")


def chunks(lines: Iterable[str], most: int = MAX_PAYLOAD_BYTES) -> Iterator[list[str]]:
    """*lines* in order, in groups that fit into one payload each; none is empty."""
    group: list[str] = []
    size = 0
    for line in lines:
        if group and size + len(line) + 1 > most:
            yield group
            group, size = [], 0
        group.append(line)
        size += len(line) + 1
    if group:
        yield group


def _command(words: Sequence[str]) -> str:
    for word in words:
        if not _WORD.fullmatch(word):
            raise ValueError(f"{word!r} is not a word of a command")
    return " ".join(words)


def _payload(lines: Sequence[str]) -> str:
    if not lines:
        raise ValueError("a payload must not be empty: HAProxy would wait for it")
    for line in lines:
        if not _LINE.fullmatch(line):
            raise ValueError(f"{line[:100]!r} is not a line of a payload")
    text = "".join(f"{line}\n" for line in lines)
    if len(text) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a payload of {len(text)} bytes is more than HAProxy takes")
    return text
