"""Sends the subrequests of filters: one request on a connection of its own, of whose response the head counts.

The body is not read, so no response can take more room than a head does. Whatever goes wrong is a reply
with status 0, which every filter must treat as a refusal.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from ingresskit.facts import fact_logger
from ingresskit.filters import HeaderEdit, SubrequestReply
from ingresskit.proxy.h1.heads import ResponseReader
from ingresskit.proxy.message.head import BadResponse
from ingresskit.proxy.upstreams.destinations import DestinationRefused, permitted_address

if TYPE_CHECKING:
    from ingresskit.filters import Subrequest
    from ingresskit.proxy.settings import ProxySettings

__all__ = ["send_subrequest"]

_logger = fact_logger(__name__)

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_METHOD: Final = re.compile(rb"[A-Z]{1,32}")
_MOST_INTERIM: Final = 16


async def send_subrequest(subrequest: Subrequest, settings: ProxySettings) -> SubrequestReply:
    """The response to a subrequest; status 0 when there was none in time, or none to be trusted."""
    try:
        async with asyncio.timeout(subrequest.timeout.total_seconds()):
            return await _send(subrequest, settings)
    except TimeoutError:
        fault = "no response in time"
    except (ValueError, BadResponse, DestinationRefused) as exc:
        fault = str(exc)
    except (OSError, EOFError, asyncio.LimitOverrunError) as exc:
        fault = type(exc).__name__
    _logger.warning("a subrequest failed", extra={"url": subrequest.url, "fault": fault})
    return SubrequestReply(status=0)


async def _send(subrequest: Subrequest, settings: ProxySettings) -> SubrequestReply:
    url, data = _encoded(subrequest)
    host, secure = url.hostname or "", url.scheme == "https"
    port = url.port or (443 if secure else 80)
    context = await asyncio.to_thread(ssl.create_default_context) if secure else None
    reader, writer = await asyncio.open_connection(
        await permitted_address(host, port, settings.destination_fault),
        port,
        ssl=context,
        server_hostname=host if secure else None,
        limit=settings.max_response_header_bytes,
    )
    try:
        writer.write(data)
        heads = ResponseReader(settings)
        for _ in range(_MOST_INTERIM):
            head = heads.read(await reader.readuntil(b"\r\n\r\n"))
            if head.status >= 200:
                return SubrequestReply(status=head.status, fields=_fields(head.fields))
        raise BadResponse("flood of interim responses")
    finally:
        # Its body may still be coming.
        writer.transport.abort()


def _encoded(subrequest: Subrequest) -> tuple[SplitResult, bytes]:
    """The parts of the URL, and the request.

    Raises:
        ValueError: It cannot be sent.
    """
    url = urlsplit(subrequest.url)
    if url.scheme not in ("http", "https") or not url.hostname or not _PRINTABLE.fullmatch(subrequest.url):
        raise ValueError("the URL is not an absolute http or https URL")
    if not _METHOD.fullmatch(subrequest.method):
        raise ValueError("the method cannot be sent")
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    authority = url.netloc.rpartition("@")[2]
    length = b"Content-Length: 0\r\n" if subrequest.method in (b"POST", b"PUT", b"PATCH") else b""
    data = b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%bConnection: close\r\n\r\n" % (
        subrequest.method,
        path.encode("ascii"),
        authority.encode("ascii"),
        HeaderEdit(fields=subrequest.fields).lines,
        length,
    )
    return url, data


def _fields(lines: bytes) -> tuple[tuple[bytes, bytes], ...]:
    found: list[tuple[bytes, bytes]] = []
    for line in lines.splitlines():
        name, _, value = line.partition(b":")
        found.append((name.lower(), value.strip(b" \t")))
    return tuple(found)
