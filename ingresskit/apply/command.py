"""Running a command of a proxy to its end, or to ours."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import anyio

from ingresskit.errors import ApplyError

__all__ = ["Ended", "run_command"]

_MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        status: Its exit status; negative when a signal ended it.
        output: What it wrote to both streams, at most 1 MiB of it, without white space around it.
    """

    status: int
    output: str


async def run_command(what: str, words: Sequence[str], *, limit: timedelta) -> Ended:
    """Run a command that reads nothing, in a session of its own.

    Args:
        what: A word for it in messages: ``"check"``.
        words: The program and its arguments.
        limit: How long it may take; then the command and all that it started are killed.

    Raises:
        ApplyError: It could not be run, or took too long.
    """
    try:
        process = await anyio.open_process(
            words, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as exc:
        raise ApplyError(f"the {what}, {words[0]}, could not be run: {exc.strerror or exc}") from exc
    output = bytearray()
    try:
        with anyio.fail_after(limit.total_seconds()):
            assert process.stdout is not None  # noqa: S101 - it is piped
            async for part in process.stdout:
                output += part[: _MOST_BYTES - len(output)]
            await process.wait()
    except TimeoutError:
        raise ApplyError(f"the {what}, {words[0]}, took longer than {limit.total_seconds():g} s") from None
    finally:
        # Whatever the command left behind, too.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.aclose()
    return Ended(process.returncode or 0, output.decode("utf-8", "replace").strip())
