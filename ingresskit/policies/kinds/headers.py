"""Header fields set and removed, in both directions, and what a host promises to browsers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from typing_extensions import override

from ingresskit.policies.base import Policy, PolicyScope, Risk, annotated
from ingresskit.policies.order import Stage
from ingresskit.policies.values import (
    HeaderField,
    parse_boolean,
    parse_header_names,
    parse_headers,
    parse_integer,
)

__all__ = ["Hsts", "RequestHeaders", "ResponseHeaders"]

_HEADERS = "lines of `Name: value`, 64 and 8,192 characters at most"
_HEADER_NAMES = "header names separated by commas, 64 at most"


_LONGEST_SECONDS = 10 * 365 * 86400
_PRELOAD_SECONDS = 365 * 86400  # the least that the preload list of browsers takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Hsts(Policy):
    """Browsers use the host over TLS only, for a time (HTTP Strict Transport Security, RFC 6797).

    Responses of endpoints carry ``Strict-Transport-Security`` in place of what the endpoint says; over plain
    HTTP they carry none.

    Attributes:
        max_age: For how many seconds; 0 tells browsers to forget it; ``None``: the endpoint decides.
        include_subdomains: The names below the host are included.
        preload: The host agrees to be in the lists that browsers come with.
    """

    scope: ClassVar[PolicyScope] = PolicyScope.HOST
    stage: ClassVar[Stage] = Stage.HEADERS

    max_age: int | None = annotated(
        "hsts",
        parse_integer(0, _LONGEST_SECONDS),
        default=None,
        grammar="a number of seconds, 315360000 at most",
        summary="Browsers use the host over TLS only, for so long.",
        risk=Risk.MEDIUM,
    )
    include_subdomains: bool = annotated(
        "hsts-include-subdomains",
        parse_boolean,
        default=False,
        grammar="`true` or `false`",
        summary="The same holds for all names below the host.",
        risk=Risk.HIGH,
    )
    preload: bool = annotated(
        "hsts-preload",
        parse_boolean,
        default=False,
        grammar="`true` or `false`",
        summary="The host may be in the lists that browsers come with.",
        risk=Risk.HIGH,
    )

    @override
    @classmethod
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`.

        Raises:
            ValueError: There is no time, or the lists of browsers would not take the host.
        """
        made = super(Hsts, cls).build(values)
        if made.max_age is None:
            raise ValueError("needs hsts too")
        if made.preload and not (made.include_subdomains and made.max_age >= _PRELOAD_SECONDS):
            raise ValueError(
                f"needs hsts of {_PRELOAD_SECONDS} or more and hsts-include-subdomains for preload"
            )
        return made

    @property
    def value(self) -> str:
        """The value of the header field; empty where the endpoint decides."""
        if self.max_age is None:
            return ""
        subdomains = "; includeSubDomains" if self.include_subdomains else ""
        return f"max-age={self.max_age}{subdomains}{'; preload' if self.preload else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHeaders(Policy):
    """Header fields of the request on its way to the endpoint.

    Attributes:
        set: These replace what the client sent under the same names.
        remove: These are taken out.
    """

    stage: ClassVar[Stage] = Stage.HEADERS

    set: tuple[HeaderField, ...] = annotated(
        "request-headers-set",
        parse_headers,
        default=(),
        grammar=_HEADERS,
        summary="Set these header fields of the request.",
        secret=True,
        risk=Risk.MEDIUM,
    )
    remove: tuple[str, ...] = annotated(
        "request-headers-remove",
        parse_header_names,
        default=(),
        grammar=_HEADER_NAMES,
        summary="Remove these header fields of the request.",
        risk=Risk.MEDIUM,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseHeaders(Policy):
    """Header fields of the response on its way to the client.

    Attributes:
        set: These replace what the endpoint sent under the same names.
        remove: These are taken out.
    """

    stage: ClassVar[Stage] = Stage.HEADERS

    set: tuple[HeaderField, ...] = annotated(
        "response-headers-set",
        parse_headers,
        default=(),
        grammar=_HEADERS,
        summary="Set these header fields of the response.",
        secret=True,
        risk=Risk.MEDIUM,
    )
    remove: tuple[str, ...] = annotated(
        "response-headers-remove",
        parse_header_names,
        default=(),
        grammar=_HEADER_NAMES,
        summary="Remove these header fields of the response.",
        risk=Risk.MEDIUM,
    )
