"""Another service decides which requests are let in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final, Self

from typing_extensions import override

from ingresskit.models import ConfigMap, Secret
from ingresskit.policies.authorities import (
    Authorities,
    load_authorities,
    load_authorities_of_config_map,
)
from ingresskit.policies.base import Policy, Risk, annotated, annotated_object
from ingresskit.policies.order import Stage
from ingresskit.policies.values import parse_boolean, parse_duration, parse_integer
from ingresskit.policies.variables import (
    NO_TEXT,
    RequestText,
    parse_request_text,
    parse_request_url,
)

__all__ = [
    "DEFAULT_KEPT",
    "ExternalAuth",
    "KeptVerdicts",
    "OpenPaths",
    "parse_auth_headers",
    "parse_auth_method",
    "parse_auth_names",
    "parse_kept_verdicts",
    "parse_parameter_name",
]

_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PARAMETER: Final = re.compile(r"[A-Za-z0-9_.~-]{1,64}")
_MOST_NAMES: Final = 64
_MOST_STATUSES: Final = 64
_KEPT: Final = re.compile(r"((?:[0-9]{3} +)*)([0-9]{1,9})(ms|s|m|h|d|w|M|y)")
_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "M": timedelta(days=30),
    "y": timedelta(days=365),
}
_LONGEST_KEPT: Final = timedelta(days=365)
# nginx' own, where a time has no status.
_USUAL_STATUSES: Final = (200, 301, 302)
# Framing, and what the proxy says about the client: an endpoint must get these from the proxy alone.
_OWNED: Final = frozenset(
    {
        *("connection", "content-length", "expect", "forwarded", "host", "http2-settings", "keep-alive"),
        *("ingresskit-delegate", "proxy-authenticate", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade", "via", "x-forwarded-for", "x-forwarded-host"),
        *("x-forwarded-port", "x-forwarded-proto", "x-real-ip", "x-request-id"),
    }
)
_URL: Final = "an http or https URL, maybe with variables such as `$host` or `$escaped_request_uri`"
_LINES: Final = "lines of `Name: value`, maybe with variables, 64 at most"


def parse_auth_method(text: str) -> str:
    """A method of HTTP, in upper case."""
    if text.strip() not in _METHODS:
        raise ValueError(f"must be one of {', '.join(sorted(_METHODS))}")
    return text.strip()


def parse_auth_names(text: str) -> tuple[str, ...]:
    """Names of header fields separated by commas, each once; empty ones do not count.

    ``X-Forwarded-User`` and the like may be named, what the proxy itself says about clients may not.
    """
    names = dict.fromkeys(_auth_name(part.strip()) for part in text.split(",") if part.strip())
    if len(names) > _MOST_NAMES:
        raise ValueError(f"must name at most {_MOST_NAMES} headers")
    return tuple(names)


def parse_auth_headers(
    text: str, constants: Mapping[str, str] | None = None
) -> tuple[tuple[str, RequestText], ...]:
    """Header fields with variables in their values, one ``Name: value`` a line, none twice."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) > _MOST_NAMES:
        raise ValueError(f"must name at most {_MOST_NAMES} headers")
    fields: dict[str, tuple[str, RequestText]] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError("must be lines of the form Name: value")
        read = _auth_name(name.strip()), parse_request_text(value, constants or {})
        if fields.setdefault(name.strip().lower().replace("_", "-"), read) is not read:
            raise ValueError("must name each header once")
    return tuple(fields.values())


def _auth_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("must hold header names of letters, digits, - and _")
    if name.lower().replace("_", "-") in _OWNED:
        raise ValueError(f"must not name {name}: that header belongs to the proxy")
    return name


def parse_parameter_name(text: str) -> str:
    """The name of a parameter of a URL."""
    if not _PARAMETER.fullmatch(text.strip()):
        raise ValueError("must be a name of letters, digits, -, ., _ and ~")
    return text.strip()


@dataclass(frozen=True, slots=True)
class KeptVerdicts:
    """For how long a response of a service is kept, by its status.

    Attributes:
        times: Of each status that is kept; none twice.
    """

    times: tuple[tuple[int, timedelta], ...] = ()

    def __str__(self) -> str:
        return ", ".join(f"{status} {time.total_seconds():g}s" for status, time in self.times)


DEFAULT_KEPT: Final = KeptVerdicts(tuple((status, timedelta(minutes=5)) for status in (200, 202, 401)))
"""Five minutes, where a service lets requests in or asks for credentials."""


def parse_kept_verdicts(text: str) -> KeptVerdicts:
    """Statuses and times separated by commas: ``200 202 10m, 401 1m``; the first time of a status counts."""
    times: dict[int, timedelta] = {}
    for part in text.split(","):
        found = _KEPT.fullmatch(part.strip())
        if not found:
            raise ValueError("must be statuses and a time, separated by commas, such as 200 202 10m, 401 1m")
        statuses, number, unit = found.groups()
        time = min(int(number) * _UNITS[unit], _LONGEST_KEPT) if int(number) < 10**6 else _LONGEST_KEPT
        for status in map(int, statuses.split()) if statuses else _USUAL_STATUSES:
            times.setdefault(status, time)
    if len(times) > _MOST_STATUSES:
        raise ValueError(f"must name at most {_MOST_STATUSES} statuses")
    return KeptVerdicts(tuple(times.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalAuth(Policy):
    """Another service is asked before each request: 2xx lets it in.

    A 401 or 403 of the service goes to the client, a 401 as a redirect to *signin* where there is one. All
    else, and no response in time, is a 500: the route is never open without the service. It gets the header
    fields of the request, but no body, and what it has to know in ``X-Original-URL``, ``X-Original-URI``,
    ``X-Original-Method``, ``X-Sent-From``, ``X-Real-IP``, ``X-Forwarded-For``, ``X-Auth-Request-Redirect``,
    ``X-Scheme`` and ``X-Request-ID``.
    The certificate of an https service is verified, against the authorities of the system or those given here:
    who speaks for the service decides who gets in.

    Attributes:
        url: Of the service. Empty: nobody is let in. Another dialect may give it.
        method: Of the question.
        signin: Where a client without credentials is sent; empty: it gets the 401.
        signin_parameter: The parameter of *signin* that holds the URL of the request. Where *signin* has it
            already, it stays as it is.
        request_redirect: For ``X-Auth-Request-Redirect``; empty: path and query of the request.
        response_headers: What endpoints get of the service's header fields. The client's fields of these
            names, in any spelling, never reach an endpoint.
        request_headers: Further header fields of the question.
        always_set_cookie: The service's cookies also go with errors; otherwise with responses below 400.
        cache_key: Verdicts are kept under it; empty: none is kept. It must have a variable that tells clients
            apart.
        cache_times: For how long, by status. Cookies, and what the service says in ``Cache-Control``,
            ``Expires`` and ``Vary``, shorten that.
        keepalive: How many connections to the service are kept open.
        keepalive_requests: Questions on one of them.
        keepalive_timeout: How long one is kept open unused.
        timeout: For the whole question.
        authorities: Who must have signed the certificate of the service, instead of those of the system.
        bundle: The same, from a ConfigMap; it counts where *authorities* has none.
        forwarded_fields: The question also has ``X-Forwarded-Method``, ``-Proto``, ``-Host`` and ``-Uri``, and
            the port of *url* in ``Host``; ingress-nginx does neither.
    """

    protects: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    url: RequestText = annotated(
        "external-auth-url",
        parse_request_url,
        default=NO_TEXT,
        grammar=_URL,
        summary="Ask this service before each request; 2xx lets it in, 401 and 403 go to the client.",
        risk=Risk.HIGH,
    )
    method: str = annotated(
        "external-auth-method",
        parse_auth_method,
        default="GET",
        grammar="a method, in upper case",
        summary="The method of that question.",
    )
    signin: RequestText = annotated(
        "external-auth-signin",
        lambda text: parse_request_url(text, absolute=False),
        default=NO_TEXT,
        grammar=f"{_URL}; or a path",
        summary="Redirect clients without credentials there, with the way back in a parameter.",
        risk=Risk.HIGH,
    )
    signin_parameter: str = annotated(
        "external-auth-signin-parameter",
        parse_parameter_name,
        default="rd",
        grammar="a name",
        summary="The name of that parameter.",
        risk=Risk.MEDIUM,
    )
    request_redirect: RequestText = annotated(
        "external-auth-request-redirect",
        parse_request_text,
        default=NO_TEXT,
        grammar="text, maybe with variables",
        summary="What the service gets as X-Auth-Request-Redirect instead of the path.",
        risk=Risk.MEDIUM,
    )
    response_headers: tuple[str, ...] = annotated(
        "external-auth-response-headers",
        parse_auth_names,
        default=(),
        grammar="header names separated by commas, 64 at most",
        summary="Header fields of the service's response that endpoints get; clients cannot send them.",
        risk=Risk.MEDIUM,
    )
    request_headers: tuple[tuple[str, RequestText], ...] = annotated(
        "external-auth-request-headers",
        parse_auth_headers,
        default=(),
        grammar=_LINES,
        summary="Further header fields for the service.",
        secret=True,
        risk=Risk.MEDIUM,
    )
    always_set_cookie: bool = annotated(
        "external-auth-always-set-cookie",
        parse_boolean,
        default=False,
        grammar="`true` or `false`",
        summary="The service's cookies also go to the client with errors.",
    )
    cache_key: RequestText = annotated(
        "external-auth-cache-key",
        parse_request_text,
        default=NO_TEXT,
        grammar="text with a variable that tells clients apart: `$cookie_session`, `$http_authorization`",
        summary="Keep what the service says under this key.",
        risk=Risk.MEDIUM,
    )
    cache_times: KeptVerdicts = annotated(
        "external-auth-cache-times",
        parse_kept_verdicts,
        default=DEFAULT_KEPT,
        grammar="statuses and times: `200 202 10m, 401 1m`",
        summary="For how long it is kept, by its status.",
        risk=Risk.MEDIUM,
    )
    keepalive: int = annotated(
        "external-auth-keepalive",
        parse_integer(0, 1000),
        default=8,
        grammar="a whole number, 0 to 1000",
        summary="How many connections to the service are kept open.",
    )
    keepalive_requests: int = annotated(
        "external-auth-keepalive-requests",
        parse_integer(1, 1_000_000),
        default=1000,
        grammar="a whole number, 1 to 1000000",
        summary="How many questions one of them carries.",
    )
    keepalive_timeout: timedelta = annotated(
        "external-auth-keepalive-timeout",
        parse_duration,
        default=timedelta(seconds=60),
        grammar="a duration: `500ms`, `5s`, `1m`, `1h`",
        summary="How long one of them is kept open unused.",
    )
    timeout: timedelta = annotated(
        "external-auth-timeout",
        parse_duration,
        default=timedelta(seconds=5),
        grammar="a duration: `500ms`, `5s`, `1m`, `1h`",
        summary="How long the service may take.",
    )
    authorities: Authorities = annotated_object(
        "external-auth-ca-secret",
        Secret,
        load_authorities,
        default=Authorities(),
        grammar="the name of a Secret with `ca.crt`, and maybe `ca.crl`",
        summary="The CA that must have signed the certificate of the service.",
    )
    bundle: Authorities = annotated_object(
        "external-auth-ca-config-map",
        ConfigMap,
        load_authorities_of_config_map,
        default=Authorities(),
        grammar="the name of a ConfigMap with `ca.crt`, and maybe `ca.crl`",
        summary="The same from a ConfigMap.",
    )
    forwarded_fields: bool = True

    @override
    @classmethod
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`.

        Raises:
            ValueError: A kept verdict would hold for all clients.
        """
        made = super(ExternalAuth, cls).build(values)
        if made.cache_key and not made.cache_key.tells_clients_apart:
            raise ValueError(
                "needs a variable in external-auth-cache-key that tells clients apart, such as $cookie_NAME"
            )
        return made

    @property
    def trusted(self) -> Authorities:
        """Who must have signed the certificate of the service; without certificates: those of the system."""
        return self.authorities or self.bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPaths(Policy):
    """Rules for which nobody is authenticated, by whatever policy; settings of an operator name them.

    Attributes:
        paths: Rules whose own path is at or below one of these are open. What a request asks for does not
            matter: a rule for ``/`` authenticates all of its requests. Without a slash at the end.
    """

    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    paths: tuple[str, ...] = ()
