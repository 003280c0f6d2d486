"""Single requests to an API server, for tests and for setting servers up: no client, no retries, no cache."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import cast

from ingresskit.testing.apiserver.contract import AnyApiServer
from ingresskit.testing.apiserver.manifests import Manifest

__all__ = ["Answered", "call", "opened"]

_MERGE = "application/merge-patch+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came back.

    Attributes:
        status: The HTTP status.
        body: The body as it was sent.
        headers: By lower-case name.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def json(self) -> Manifest:
        """The body as an object.

        Raises:
            ValueError: It is none.
        """
        return cast(Manifest, json.loads(self.body))


@contextmanager
def opened(server: AnyApiServer, *, timeout: float = 10.0) -> Generator[http.client.HTTPConnection]:
    """A connection to *server*, whose certificate is checked."""
    scheme, _, rest = server.url.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme == "https":
        context = ssl.create_default_context(cadata=server.ca.decode())
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, int(port), context=context, timeout=timeout
        )
    else:
        connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
    with closing(connection):
        yield connection


def call(
    server: AnyApiServer,
    method: str,
    path: str,
    body: object = None,
    *,
    content_type: str = "",
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,
) -> Answered:
    """Ask *server* one thing.

    Args:
        server: Whom.
        method: The HTTP method.
        path: The path with the query.
        body: What is sent as JSON; bytes as they are; ``None`` for nothing.
        content_type: Of the body; merge patches for PATCH, JSON for the rest, if not said.
        token: Of whom; the administrator's, if not said. Empty for nobody's.
        headers: Further headers.
        timeout: Seconds without an octet after which to give up.

    Raises:
        OSError: The connection failed.
        http.client.HTTPException: What came is no HTTP, or not all of it.
    """
    token = server.token if token is None else token
    sent = {"Content-Type": content_type or (_MERGE if method == "PATCH" else "application/json")}
    if token:
        sent["Authorization"] = f"Bearer {token}"
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    with opened(server, timeout=timeout) as connection:
        connection.request(method, path, data, {**sent, **(headers or {})})
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answered(status=answer.status, body=answer.read(), headers=found)
