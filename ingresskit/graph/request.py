"""A request, as a graph is asked about it. Nothing is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ingresskit.errors import ConfigurationError

__all__ = ["JudgedRequest", "Request"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LACKS_SCHEME = re.compile(r"[A-Za-z0-9*_.-]+(?::[0-9]+)?(?:[/?].*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to be explained; nothing is sent.

    Attributes:
        scheme: ``"http"`` or ``"https"``.
        host: As a client would send it, with or without port.
        path: As a client would send it, without the query.
        query: As a client would send it, with the question mark; empty without one.
        headers: Header fields, names in lower case.
        client: The client's address; ``None`` when it does not matter.
    """

    scheme: str = "http"
    host: str = ""
    path: str = "/"
    query: str = ""
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    client: str | None = None

    @classmethod
    def of(
        cls,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        client: str | None = None,
        cookies: Mapping[str, str] | None = None,
    ) -> Request:
        """The request that a client makes for *url*. A ``host`` header replaces the URL's host.

        Args:
            url: An http or https URL.
            method: In upper case, as methods are.
            headers: Header fields.
            client: The client's address; ``None`` when it does not matter.
            cookies: Go into the field ``Cookie``, after those of *headers*.

        Raises:
            ConfigurationError: *url* is not an http or https URL with a host and a port that there can be,
                or *method* is none.
        """
        try:
            parts = urlsplit(url)
            netloc = parts.netloc.rpartition("@")[2]
            port = parts.port
        except ValueError as exc:
            raise ConfigurationError(f"{url!r} is not a URL: {exc}") from None
        if parts.scheme not in ("http", "https") or not netloc:
            meant = f"; did you mean http://{url}?" if "://" not in url and _LACKS_SCHEME.fullmatch(url) else ""
            raise ConfigurationError(f"{url!r} is not an http or https URL with a host{meant}")
        if port == 0:
            raise ConfigurationError(f"{url!r} is not a URL: ports are from 1 to 65535")
        if not _TOKEN.fullmatch(method):
            raise ConfigurationError(f"{method!r} is not a method, such as GET")
        fields = {name.lower(): value for name, value in (headers or {}).items()}
        if cookies:
            pairs = [f"{name}={value}" for name, value in cookies.items()]
            fields["cookie"] = "; ".join([*([fields["cookie"]] if fields.get("cookie") else []), *pairs])
        return cls(
            scheme=parts.scheme,
            host=fields.get("host", netloc),
            path=parts.path or "/",
            query=f"?{parts.query}" if parts.query else "",
            method=method,
            headers=fields,
            client=client,
        )


class JudgedRequest:
    """A `Request` as conditions see it: a `ingresskit.policies.Judged`."""

    __slots__ = ("request",)

    def __init__(self, request: Request) -> None:
        self.request: Request = request

    @property
    def method(self) -> bytes:
        """As sent."""
        return self.request.method.encode("latin-1", "replace")

    @property
    def query(self) -> bytes:
        """As sent, with the question mark; empty without one."""
        return self.request.query.encode("latin-1", "replace")

    def field(self, name: bytes) -> bytes | None:
        """The value of a header field, *name* in lower case; ``None`` without one."""
        value = self.request.headers.get(name.decode("latin-1"))
        return None if value is None else value.encode("latin-1", "replace")
