"""Requests as lines of an access log: JSON, or the text that ingress-nginx writes by default."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from ingresskit.graph import BackendKey
from ingresskit.proxy import AccessRecord

__all__ = ["ACCESS_FORMATS", "AccessLine"]

AccessLine = Callable[[float, AccessRecord], str]
"""A line without its end, of a request and of when it ended, in seconds since 1970."""

_MONTHS: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def _json_line(ended: float, request: AccessRecord) -> str:
    line: dict[str, object] = {
        "time": datetime.fromtimestamp(ended, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "client": request.client,
        "method": request.method,
        "host": request.host,
        "path": request.path,
        "status": request.status,
        "sentBytes": request.sent_bytes,
        "durationMs": _milliseconds(request.duration),
        "ruleHost": request.rule_host,
        "backend": None if request.backend is None else str(request.backend),
        "endpoint": request.endpoint,
        "attempts": request.attempts,
        "requestId": request.request_id,
        "termination": request.termination,
        "detail": request.detail,
        "tried": request.tried,
        "connectMs": _milliseconds(request.connect_time),
        "firstByteMs": _milliseconds(request.first_byte_time),
        "upstreamStatus": request.upstream_status,
    }
    if request.protocol:
        line["protocol"] = request.protocol
    if request.shadow:
        line["shadow"] = request.shadow
    return json.dumps(line)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _upstreaminfo_line(ended: float, request: AccessRecord) -> str:
    """The fields of ingress-nginx's ``log-format-upstream`` in their places; ``-`` for what is not recorded.

    User, referrer, user agent, the query and the length of the upstream response are not; the length of the
    request is ``0``, as readers of the format want a number. The time of the upstream ends with its
    first octet.

    Source: the documentation of ingress-nginx, "Log format".
    """
    at = datetime.fromtimestamp(ended, UTC)
    time_local = f"{at:%d}/{_MONTHS[at.month - 1]}/{at:%Y:%H:%M:%S} +0000"
    head = " ".join((request.method, request.path, request.protocol or "HTTP/1.1")) if request.method else ""
    endpoints = (*request.tried, *([request.endpoint] if request.endpoint else []))
    # What was tried before the last one gave no status.
    statuses = ["-"] * (len(endpoints) - 1)
    statuses.append("-" if request.upstream_status is None else str(request.upstream_status))
    first_byte = request.first_byte_time
    times = [*["-"] * (len(endpoints) - 1), "-" if first_byte is None else f"{first_byte:.3f}"]
    return " ".join(
        (
            request.client or "-",
            "-",
            "-",
            f"[{time_local}]",
            f'"{_escaped(head)}"',
            str(request.status),
            str(request.sent_bytes),
            '"-"',
            '"-"',
            "0",
            f"{request.duration:.3f}",
            f"[{_upstream_name(request.backend)}]",
            "[]",
            ", ".join(endpoints) or "-",
            "-",
            ", ".join(times),
            ", ".join(statuses),
            request.request_id or "-",
        )
    )


def _upstream_name(backend: BackendKey | None) -> str:
    return "-" if backend is None else f"{backend.namespace}-{backend.service}-{backend.port}"


def _escaped(text: str) -> str:
    """As nginx escapes a variable: what could end the field or the line, and all that is not ASCII."""
    return "".join(
        character if " " <= character <= "~" and character not in '"\\' else _escape(character)
        for character in text
    )


def _escape(character: str) -> str:
    return "".join(f"\\x{octet:02X}" for octet in character.encode())


ACCESS_FORMATS: Final[Mapping[str, AccessLine]] = {"json": _json_line, "ingress-nginx": _upstreaminfo_line}
"""How a request may be written, by the name that the command line has for it."""
