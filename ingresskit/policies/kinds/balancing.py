"""Which endpoint takes the requests of a client: affinity by a cookie, and hashes of what requests say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar, Final, Self

from typing_extensions import override

from ingresskit.policies.base import Policy, PolicyScope, Risk, annotated
from ingresskit.policies.values import (
    parse_boolean,
    parse_choice,
    parse_duration,
    parse_header_names,
    parse_integer,
)

__all__ = [
    "Affinity",
    "AffinityCanary",
    "AffinityMode",
    "EndpointLimit",
    "HashBy",
    "HashPart",
    "HashSource",
    "SameSite",
    "SecureCookie",
    "parse_cookie_domain",
    "parse_cookie_name",
    "parse_cookie_path",
    "parse_hash",
]

# A token of RFC 9110, less what a cookie of another name could be mistaken for.
_COOKIE: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_COOKIE_PATH: Final = re.compile(r"/[\x21-\x3a\x3c-\x7e]{0,255}")
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_COOKIE_DOMAIN: Final = re.compile(rf"\.?{_LABEL}(?:\.{_LABEL})*")
_QUERY_NAME: Final = re.compile(r"[A-Za-z0-9_.~-]{1,128}")
_LONGEST_DOMAIN: Final = 253
_MOST_PARTS: Final = 8
_MOST_OF_SUBSET: Final = 100
_MOST_REQUESTS: Final = 100_000
_MOST_WAITING: Final = 10_000


def parse_cookie_name(text: str) -> str:
    """The name of a cookie: a token of 64 characters at most (RFC 6265, 4.1.1)."""
    if not _COOKIE.fullmatch(text):
        raise ValueError("must be a cookie name: letters, digits and !#$%&'*+.^_`|~-, 64 at most")
    return text


def parse_cookie_path(text: str) -> str:
    """The path of a cookie, 256 characters at most."""
    if not _COOKIE_PATH.fullmatch(text):
        raise ValueError("must be a path that begins with /, without spaces and ;, 256 characters at most")
    return text


def parse_cookie_domain(text: str) -> str:
    """The domain of a cookie, in lower case; one dot at its beginning means nothing (RFC 6265, 5.2.3)."""
    domain = text.lower()
    if len(domain) > _LONGEST_DOMAIN or not _COOKIE_DOMAIN.fullmatch(domain):
        raise ValueError("must be a domain such as shop.test")
    return domain.removeprefix(".")


class HashSource(StrEnum):
    """What a part of a hash comes from."""

    CLIENT = "client"
    """The client's address, behind trusted proxies."""
    HOST = "host"
    """The host of the request, without port."""
    URI = "uri"
    """Path and query as the client sent them."""
    PATH = "path"
    """The path in normal form."""
    QUERY = "query"
    """One parameter of the query, or without a name all of it."""
    HEADER = "header"
    """A header field."""
    COOKIE = "cookie"
    """A cookie."""
    METHOD = "method"
    SCHEME = "scheme"
    """``http`` or ``https``, as the client used it."""
    TEXT = "text"
    """Always the same text."""


_NAMED: Final = frozenset({HashSource.HEADER, HashSource.COOKIE, HashSource.QUERY})


@dataclass(frozen=True, slots=True)
class HashPart:
    """A part of what is hashed.

    Attributes:
        source: Where it comes from.
        name: Of the header field (lower case), cookie or parameter; the text of `HashSource.TEXT`.
    """

    source: HashSource
    name: str = ""

    def __str__(self) -> str:
        return f"{self.source}:{self.name}" if self.name else str(self.source)


_HASH_RULE: Final = (
    "must be client, host, uri, path, query, method, scheme, header:NAME, cookie:NAME or query:NAME,"
    " or up to 8 of them separated by spaces"
)


def parse_hash(text: str) -> tuple[HashPart, ...]:
    """What is hashed, parts separated by spaces: ``client``, ``header:X-Tenant``, ``cookie:session``."""
    words = text.split()
    if not 0 < len(words) <= _MOST_PARTS:
        raise ValueError(_HASH_RULE)
    return tuple(map(_hash_part, words))


def _hash_part(word: str) -> HashPart:
    kind, colon, name = word.partition(":")
    try:
        source = HashSource(kind)
    except ValueError:
        raise ValueError(_HASH_RULE) from None
    if source is HashSource.TEXT or bool(colon) != bool(name):
        raise ValueError(_HASH_RULE)
    if not name:
        if source in _NAMED and source is not HashSource.QUERY:
            raise ValueError(_HASH_RULE)
        return HashPart(source)
    match source:
        case HashSource.HEADER:
            (name,) = parse_header_names(name)
            return HashPart(source, name.lower())
        case HashSource.COOKIE:
            return HashPart(source, parse_cookie_name(name))
        case HashSource.QUERY if _QUERY_NAME.fullmatch(name):
            return HashPart(source, name)
        case _:
            raise ValueError(_HASH_RULE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HashBy(Policy):
    """Choose the endpoint by a hash, so that requests which say the same reach the same one.

    When an endpoint comes, the keys that it takes over move, and no others; when one goes, its own. It goes
    before `LoadBalancing`, and behind `Affinity`.

    Attributes:
        parts: What is hashed, one after the other; empty: nothing is.
        subset: How many endpoints each key is spread over; 1: one endpoint.
    """

    scope: ClassVar[PolicyScope] = PolicyScope.BACKEND

    parts: tuple[HashPart, ...] = annotated(
        "hash-by",
        parse_hash,
        default=(),
        grammar=(
            "`client`, `host`, `uri`, `path`, `query`, `method`, `scheme`, `header:NAME`, `cookie:NAME` or"
            " `query:NAME`, up to 8 separated by spaces"
        ),
        summary="Choose the endpoint by a hash of this, so that few requests move when endpoints come.",
    )
    subset: int = annotated(
        "hash-by-subset",
        parse_integer(1, _MOST_OF_SUBSET),
        default=1,
        grammar="a whole number, 1 to 100",
        summary="How many endpoints the requests with one hash are spread over.",
    )

    @classmethod
    @override
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`; a subset needs a hash."""
        if not values.get("parts"):
            raise ValueError("needs hash-by too")
        return super(HashBy, cls).build(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointLimit(Policy):
    """At most so many requests at a time at each endpoint.

    An endpoint that has them gets no more until one ends: others do. When all have them, requests wait, the
    first one first, as far as the queue has room; the others, and those that waited in vain, get 503.

    Attributes:
        requests: How many; 0 is no limit. Each proxy counts its own.
        queue: How many requests may wait; 0: none.
        queue_timeout: How long each may wait.
    """

    scope: ClassVar[PolicyScope] = PolicyScope.BACKEND

    requests: int = annotated(
        "endpoint-max-requests",
        parse_integer(0, _MOST_REQUESTS),
        default=0,
        grammar="a whole number, 0 (no limit) to 100000",
        summary="The most requests that each endpoint gets at a time.",
    )
    queue: int = annotated(
        "endpoint-queue",
        parse_integer(0, _MOST_WAITING),
        default=0,
        grammar="a whole number, 0 (none) to 10000",
        summary="How many requests wait while all endpoints have as many as they may.",
    )
    queue_timeout: timedelta = annotated(
        "endpoint-queue-timeout",
        parse_duration,
        default=timedelta(seconds=5),
        grammar="a duration: `500ms`, `5s`, `1m`, `1h`",
        summary="How long a request may wait for an endpoint.",
    )

    @classmethod
    @override
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`; a queue needs a limit."""
        if not values.get("requests") and (values.get("queue") or "queue_timeout" in values):
            raise ValueError("needs endpoint-max-requests too")
        return super(EndpointLimit, cls).build(values)


class AffinityMode(StrEnum):
    """Whether clients move when endpoints come."""

    BALANCED = "balanced"
    """Some do, so that a new endpoint gets its share."""
    PERSISTENT = "persistent"
    """None does, for as long as its endpoint is there."""


class AffinityCanary(StrEnum):
    """What the cookie means where a canary takes a part of the requests."""

    STICKY = "sticky"
    """A client stays with the canary, or with the main backend."""
    LEGACY = "legacy"
    """Each request is shared out anew."""


class SameSite(StrEnum):
    """Whether other sites' pages may send the cookie."""

    NONE = "None"
    LAX = "Lax"
    STRICT = "Strict"


class SecureCookie(StrEnum):
    """Whether clients send the cookie over TLS only."""

    AUTO = "auto"
    """If they got it over TLS."""
    TRUE = "true"
    FALSE = "false"


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity(Policy):
    """Keep a client at one endpoint by a cookie.

    The value is a digest with a key that only proxies have, for one Service port: clients cannot make one up,
    and learn no address from it. The proxies of one cluster accept each other's cookies where they have the
    same key.

    Attributes:
        cookie: Its name; empty: there is no affinity.
        path: ``None``: that of the route; ``/`` for a regular expression.
        domain: ``None``: the host of the request alone.
        max_age: How long clients keep it; ``None``: until they end.
        expires: The same as a date, for old browsers.
        samesite: ``None``: the attribute is not sent.
        conditional_samesite_none: ``SameSite=None`` is not sent to browsers that take it for ``Strict``.
        change_on_failure: A client whose endpoint fails stays with the one that responded instead.
    """

    scope: ClassVar[PolicyScope] = PolicyScope.BACKEND

    cookie: str = annotated(
        "affinity-cookie",
        parse_cookie_name,
        default="",
        grammar="a name",
        summary="Keep a client at one endpoint by a cookie of this name.",
        risk=Risk.MEDIUM,
    )
    mode: AffinityMode = annotated(
        "affinity-mode",
        parse_choice(AffinityMode),
        default=AffinityMode.BALANCED,
        grammar="`balanced` or `persistent`",
        summary="Whether some clients move when endpoints come.",
    )
    canary: AffinityCanary = annotated(
        "affinity-canary",
        parse_choice(AffinityCanary),
        default=AffinityCanary.STICKY,
        grammar="`sticky` or `legacy`",
        summary="Whether the cookie holds a client in a canary, or out of it.",
    )
    path: str | None = annotated(
        "affinity-cookie-path",
        parse_cookie_path,
        default=None,
        grammar="a path",
        summary="The path of the affinity cookie.",
        risk=Risk.MEDIUM,
    )
    domain: str | None = annotated(
        "affinity-cookie-domain",
        parse_cookie_domain,
        default=None,
        grammar="a domain",
        summary="The domain of the affinity cookie.",
        risk=Risk.MEDIUM,
    )
    max_age: timedelta | None = annotated(
        "affinity-cookie-max-age",
        parse_duration,
        default=None,
        grammar="a duration: `500ms`, `5s`, `1m`, `1h`",
        summary="How long clients keep the affinity cookie.",
    )
    expires: timedelta | None = annotated(
        "affinity-cookie-expires",
        parse_duration,
        default=None,
        grammar="a duration: `500ms`, `5s`, `1m`, `1h`",
        summary="How long old browsers keep the affinity cookie.",
    )
    secure: SecureCookie = annotated(
        "affinity-cookie-secure",
        parse_choice(SecureCookie),
        default=SecureCookie.AUTO,
        grammar="`auto`, `true` or `false`",
        summary="Whether clients send the affinity cookie over TLS only.",
    )
    samesite: SameSite | None = annotated(
        "affinity-cookie-samesite",
        parse_choice(SameSite),
        default=None,
        grammar="`None`, `Lax` or `Strict`",
        summary="The SameSite attribute of the affinity cookie.",
    )
    conditional_samesite_none: bool = annotated(
        "affinity-cookie-conditional-samesite-none",
        parse_boolean,
        default=False,
        grammar="`true` or `false`",
        summary="No SameSite=None for old browsers that take it for Strict.",
    )
    change_on_failure: bool = annotated(
        "affinity-change-on-failure",
        parse_boolean,
        default=False,
        grammar="`true` or `false`",
        summary="A client whose endpoint failed stays with the one that responded instead.",
    )

    @classmethod
    @override
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`; the attributes of a cookie need its name."""
        if not values.get("cookie"):
            raise ValueError("needs affinity-cookie too")
        return super(Affinity, cls).build(values)
