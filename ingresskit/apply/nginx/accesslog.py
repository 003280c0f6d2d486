"""The access log, request by request: nginx sends each line as a datagram and never waits.

What nobody reads in time the system drops, and nginx goes on; so no reader can slow a request down.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, cast

import anyio

from ingresskit.diagnostics import printable
from ingresskit.graph import BackendKey, Termination
from ingresskit.render.access import AccessRecord

__all__ = ["read_record", "receive_records"]

# ``<190>Jan  1 12:00:00 nginx: `` stands before each line. Source: ngx_syslog_add_header.
_HEADER: Final = re.compile(r"<[0-9]{1,3}>[A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8} nginx: ")
_LONGEST: Final = 16384
_MOST_TRIED: Final = 10
# Between tries, and where nginx began anew with another upstream.
_TRIES: Final = re.compile(r", | : ")

# What nginx decided by itself, where no program says why.
_OWN: Final = {
    403: Termination.DENIED,
    404: Termination.NO_ROUTE,
    408: Termination.CLIENT_TIMEOUT,
    413: Termination.BODY_TOO_LARGE,
    499: Termination.CLIENT_LEFT,
    500: Termination.INTERNAL,
    503: Termination.NO_ENDPOINT,
}
_BAD_REQUESTS: Final = frozenset({400, 405, 411, 414, 417, 431, 501, 505})


async def receive_records(
    path: Path,
    record: Callable[[AccessRecord], None],
    key: Callable[[str], BackendKey | None],
) -> NoReturn:
    """Call *record* with each request that is over, until cancelled; lines that cannot be read are left out.

    Args:
        path: The socket; made with mode 0600, and instead of one that is there already.
        record: Must not block, nor raise.
        key: The backend for a name in a line, ``None`` for one that is gone.

    Raises:
        OSError: The socket cannot be made.
    """
    async with await anyio.create_unix_datagram_socket(local_path=path, local_mode=0o600) as socket:
        while True:
            data, _ = await socket.receive()
            if (found := read_record(data.decode("utf-8", "replace"), key)) is not None:
                record(found)


def read_record(line: str, key: Callable[[str], BackendKey | None]) -> AccessRecord | None:
    """The request of a line of `ingresskit.render.nginx.logline`; ``None`` when the line is not one.

    Args:
        line: With or without what syslog puts before it.
        key: As for `receive_records`.
    """
    header = _HEADER.match(line)
    try:
        members = json.loads(line[header.end() :] if header else line)
    except ValueError:
        return None
    if not isinstance(members, dict):
        return None
    values = cast("dict[str, object]", members)

    def text(name: str) -> str:
        value = printable(str(values.get(name, "")), _LONGEST)
        return "" if value == "-" else value

    status = _whole(text("status")) or 0
    endpoints = _tries(text("upstream"))
    connect, header_time = _last_time(text("upstreamConnect")), _last_time(text("upstreamHeader"))
    said = text("reason")
    termination = Termination(said) if said in _TERMINATIONS else _termination(text, status, endpoints)
    return AccessRecord(
        client=text("client"),
        method=text("method"),
        host=text("host"),
        path=text("path"),
        rule_host=_rule_host(text("rule")),
        status=status,
        sent_bytes=_whole(text("sent")) or 0,
        duration=_time(text("seconds")) or 0.0,
        backend=key(text("backend")) if endpoints else None,
        endpoint=endpoints[-1] if endpoints else "",
        attempts=len(endpoints),
        request_id=text("id") if endpoints else "",
        termination=termination,
        detail=_detail(termination, said),
        tried=tuple(endpoints[:-1][-_MOST_TRIED:]),
        connect_time=connect,
        first_byte_time=header_time,
        upstream_status=_whole(_last(text("upstreamStatus"))) if header_time is not None else None,
    )


_TERMINATIONS: Final = frozenset(Termination)


def _termination(text: Callable[[str], str], status: int, endpoints: list[str]) -> Termination | None:
    """Why a request of the static mode failed, as far as nginx's variables tell."""
    if not endpoints or status in (413, 499):
        return Termination.BAD_REQUEST if status in _BAD_REQUESTS else _OWN.get(status)
    connected = _last_time(text("upstreamConnect")) is not None
    if _last_time(text("upstreamHeader")) is None:
        if status == 504:
            return Termination.UPSTREAM_READ_TIMEOUT if connected else Termination.UPSTREAM_CONNECT_TIMEOUT
        if not connected:
            return Termination.UPSTREAM_REFUSED
        nothing = _last(text("upstreamReceived")) in ("", "0")
        return Termination.UPSTREAM_CLOSED if nothing else Termination.UPSTREAM_MALFORMED
    if status == 101:
        return None
    if not text("complete"):
        return Termination.CLIENT_LEFT  # an endpoint that breaks off completes a request, in nginx's eyes
    whole, came = _whole(text("length")) or 0, _whole(_last(text("upstreamLength"))) or 0
    if came < whole and status != 304 and text("method") != "HEAD":
        return Termination.UPSTREAM_TRUNCATED
    return None


def _detail(termination: Termination | None, said: str) -> str:
    if termination is Termination.NO_ENDPOINT and not said:
        return "or the route is closed; nginx does not distinguish the two"
    return ""


def _rule_host(name: str) -> str:
    """The rule host for the name of a server in nginx's files, or what the program says itself."""
    if name == "_":
        return "*"
    if name.startswith("~^[^.]+"):
        return "*" + name[len("~^[^.]+") : -1].replace("\\", "")
    return name


def _tries(list_: str) -> list[str]:
    return [item for item in _TRIES.split(list_) if item and ":" in item]


def _last(list_: str) -> str:
    return _TRIES.split(list_)[-1]


def _last_time(list_: str) -> float | None:
    return _time(_last(list_))


def _time(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else None


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
