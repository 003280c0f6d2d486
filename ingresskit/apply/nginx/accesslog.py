"""The access log, line by line: nginx sends each as a datagram and waits for nobody.

What nobody reads in time the system drops, and nginx goes on; so no reader can slow a request down.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import anyio

from ingresskit.diagnostics import printable

__all__ = ["receive_lines"]

# ``<190>Jan  1 12:00:00 nginx: `` stands before each line. Source: ngx_syslog_add_header.
_HEADER = re.compile(r"<[0-9]{1,3}>[A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8} nginx: ")
_LONGEST = 16384


async def receive_lines(path: Path, line: Callable[[str], None]) -> NoReturn:
    """Call *line* with each line of the access log, printable and without a line end, until cancelled.

    Args:
        path: The socket; made with mode 0600, and instead of one that is there already.
        line: Must not block, nor raise.

    Raises:
        OSError: The socket cannot be made.
    """
    async with await anyio.create_unix_datagram_socket(local_path=path, local_mode=0o600) as socket:
        while True:
            data, _ = await socket.receive()
            text = data.decode("utf-8", "replace")
            header = _HEADER.match(text)
            line(printable(text[header.end() :] if header else text, _LONGEST))
