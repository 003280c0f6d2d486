"""Where requests go beside their backend: pages of errors, and copies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from typing_extensions import override

from ingresskit.policies.base import Policy, Risk, annotated
from ingresskit.policies.values import parse_authority, parse_boolean, parse_integer, parse_path_prefix

__all__ = [
    "AccessLog",
    "FallbackService",
    "Mirror",
    "MirrorUrl",
    "NamedService",
    "parse_mirror",
    "parse_mirror_url",
    "parse_service",
    "parse_statuses",
]

_SERVICE: Final = re.compile(r"([a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)(?::([A-Za-z0-9-]{1,15}))?")
_PORT_NAME: Final = re.compile(r"(?=.*[a-z])[a-z0-9](?:-?[a-z0-9])*")
_MOST_STATUSES: Final = 64
_URL: Final = re.compile(r"(https?)://([^/]{1,300})(/.*)?", re.DOTALL)

_parse_port = parse_integer(1, 65535)
_parse_status = parse_integer(400, 599)


class NamedService(NamedTuple):
    """A port of a Service of the namespace in which it is named.

    Attributes:
        name: Of the Service.
        port: Its number or name; ``0``: the first one.
    """

    name: str
    port: str | int = 0

    def __str__(self) -> str:
        return f"{self.name}:{self.port}" if self.port else self.name


def parse_service(text: str) -> NamedService:
    """A Service, and a port of it by number or name: ``errors``, ``errors:80``, ``errors:http``."""
    rule = "must be the name of a Service, or name:port with the number or name of a port"
    found = _SERVICE.fullmatch(text.strip())
    if found is None:
        raise ValueError(rule)
    name, port = found[1], found[2]
    if port is None:
        return NamedService(name)
    if _PORT_NAME.fullmatch(port):
        return NamedService(name, port)
    try:
        return NamedService(name, _parse_port(port))
    except ValueError:
        raise ValueError(rule) from None


def parse_statuses(text: str) -> tuple[int, ...]:
    """Statuses of errors separated by commas, sorted, each once: ``404, 502, 503``."""
    rule = f"must be statuses from 400 to 599 separated by commas, {_MOST_STATUSES} at most"
    parts = text.split(",")
    if len(parts) > _MOST_STATUSES:
        raise ValueError(rule)
    try:
        return tuple(sorted({_parse_status(part) for part in parts}))
    except ValueError:
        raise ValueError(rule) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackService(Policy):
    """A Service that stands in for the backend: while that has no endpoint, and for the pages of errors.

    A response of an endpoint with one of the statuses is not sent to the client. The Service is asked for
    ``/`` instead, and the client gets what it sends, with the status of the error: a page never turns an
    error into a success. The same holds for 502, 503 and 504 of the proxy itself, when no endpoint responded.
    The Service gets the header fields ``X-Code`` (the status), ``X-Format`` (what the client accepts),
    ``X-Original-URI``, ``X-Namespace``, ``X-Ingress-Name``, ``X-Service-Name``, ``X-Service-Port`` and
    ``X-Request-ID``, and neither cookies nor credentials. Where it does not respond, or fails itself, the
    client gets the error of the proxy with that status. What the proxy refuses by itself, such as a client
    that is not let in, has no page.

    While the backend has no endpoint, the Service gets the requests themselves, as clients send them.

    Attributes:
        service: ``None`` is none.
        errors: The statuses that get a page, sorted. Without a Service, the default backend of the controller
            makes them, if it has one.
    """

    service: NamedService | None = annotated(
        "fallback-service",
        parse_service,
        default=None,
        grammar="the name of a Service of the same namespace, or `name:port`; without a port, its first",
        summary="The Service that gets requests while the backend has no endpoint, and makes pages of errors.",
        risk=Risk.MEDIUM,
    )
    errors: tuple[int, ...] = annotated(
        "error-pages",
        parse_statuses,
        default=(),
        grammar="statuses from 400 to 599, separated by commas",
        summary="Statuses whose pages fallback-service makes, or else the controller's default backend.",
    )


class MirrorUrl(NamedTuple):
    """Where copies go that go to no Service of the namespace.

    Attributes:
        secure: Over TLS; the certificate must be valid for the host.
        authority: Host and port, as sent.
        path: In normal form; ``/`` is none.
        whole: *path* is the path of every copy; otherwise that of the request stands behind it.
    """

    secure: bool
    authority: str
    path: str = "/"
    whole: bool = False

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.path}"


def parse_mirror_url(text: str) -> MirrorUrl:
    """An ``http`` or ``https`` URL without query."""
    found = _URL.fullmatch(text.strip())
    if found is None:
        raise ValueError("must be an http or https URL")
    try:
        return MirrorUrl(found[1] == "https", parse_authority(found[2]), parse_path_prefix(found[3] or "/"))
    except ValueError as exc:
        raise ValueError(f"must be an http or https URL whose parts are read: it {exc}") from None


def parse_mirror(text: str) -> NamedService | MirrorUrl:
    """A Service of the namespace, as `parse_service`, or an ``http`` or ``https`` URL."""
    if "://" in text:
        return parse_mirror_url(text)
    try:
        return parse_service(text)
    except ValueError:
        raise ValueError(
            "must be the name of a Service, name:port, or an http or https URL without query"
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror(Policy):
    """Send a copy of each request to a second place, and forget the response.

    Copies are sent beside the request: they neither slow it down nor make it fail. They have all its header
    fields, cookies and credentials too. A request gets a copy when it was received whole, if its body has 64
    KiB at most; 64 copies are under way at a time in one process, and requests beyond that have none. Requests
    that are refused, and those that switch protocols, have none.

    Attributes:
        target: Where copies go; ``None``: there are none.
        host: What copies have as ``Host``; empty: the host of the URL, or of the request where a Service gets
            them.
        body: Whether copies have the body.
    """

    target: NamedService | MirrorUrl | None = annotated(
        "mirror-to",
        parse_mirror,
        default=None,
        grammar="the name of a Service of the same namespace, `name:port`, or an http or https URL",
        summary="Where a copy of each request goes; the path of the request stands behind that of a URL.",
        risk=Risk.HIGH,
    )
    host: str = annotated(
        "mirror-host",
        parse_authority,
        default="",
        grammar="a host, optionally with a port",
        summary="What copies have as `Host`.",
        risk=Risk.HIGH,
    )
    body: bool = annotated(
        "mirror-body",
        parse_boolean,
        default=True,
        grammar="`true` or `false`",
        summary="Whether copies have the body of the request.",
    )

    @classmethod
    @override
    def build(cls, values: Mapping[str, object]) -> Self:
        if values.get("target") is None:
            raise ValueError("mirror-host and mirror-body need mirror-to too")
        # `slots=True` makes the class anew, so that `super()` alone would speak of the one before.
        return super(Mirror, cls).build(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLog(Policy):
    """Leave requests out of the access log. They count in the metrics all the same.

    Attributes:
        enabled: Whether the log has the requests of the route.
        skipped: Those of these targets, as clients send them, with the query, are left out; sorted.
    """

    enabled: bool = annotated(
        "access-log",
        parse_boolean,
        default=True,
        grammar="`true` or `false`",
        summary="Whether the access log has the requests.",
    )
    skipped: tuple[str, ...] = ()

    def has(self, target: bytes) -> bool:
        """Whether the log has a request with this target."""
        return self.enabled and not (self.skipped and target.decode("latin-1") in self.skipped)
