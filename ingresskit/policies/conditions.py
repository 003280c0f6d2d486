"""Conditions on a request beyond its host and path, and the requests that a variant of a route takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol, Self, assert_never
from urllib.parse import unquote_plus

from ingresskit.errors import ConfigurationError
from ingresskit.policies.patterns import Pattern

__all__ = [
    "EVERY_REQUEST",
    "AnyValue",
    "Condition",
    "CookieCondition",
    "ExactValue",
    "HeaderCondition",
    "Judged",
    "MethodCondition",
    "PatternValue",
    "QueryCondition",
    "Selection",
    "Share",
    "ValueMatch",
    "Variant",
    "cookie_value",
]


class Judged(Protocol):
    """What conditions may know of a request."""

    @property
    def method(self) -> bytes:
        """As sent."""
        ...

    @property
    def query(self) -> bytes:
        """As sent, with the question mark; empty without one."""
        ...

    def field(self, name: bytes) -> bytes | None:
        """The value of a header field; several are joined by commas, cookies by semicolons.

        ``None`` without one.

        Args:
            name: In lower case.
        """
        ...


@dataclass(frozen=True, slots=True)
class ExactValue:
    """The value is *text*, letter by letter."""

    text: str

    def holds(self, value: str) -> bool:
        """Whether *value* is the text."""
        return value == self.text

    def __str__(self) -> str:
        return f"is {self.text!r}"


@dataclass(frozen=True, slots=True)
class AnyValue:
    """There is a value, maybe an empty one."""

    def holds(self, value: str) -> bool:
        """Always true."""
        return True

    def __str__(self) -> str:
        return "is present"


@dataclass(frozen=True, slots=True)
class PatternValue:
    """The value begins with a match of *pattern*."""

    pattern: Pattern

    def holds(self, value: str) -> bool:
        """Whether the pattern matches."""
        return self.pattern.matches(value)

    def __str__(self) -> str:
        return f"matches {self.pattern.text!r}"


ValueMatch = ExactValue | AnyValue | PatternValue
"""What a value must be. Closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderCondition:
    """On a header field; several of one name count as one, joined by a comma and a space.

    Attributes:
        name: In any case; kept in lower case.
        negated: It holds where the condition without it would not, also where there is no such field.
    """

    name: str
    value: ValueMatch = AnyValue()
    negated: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name.lower())

    def holds(self, request: Judged) -> bool:
        """Whether *request* fulfils it."""
        found = request.field(self.name.encode("latin-1"))
        return (found is not None and self.value.holds(found.decode("latin-1").strip())) is not self.negated

    def __str__(self) -> str:
        return _sentence(f"header {self.name} {self.value}", negated=self.negated)


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieCondition:
    """On a cookie; the first of its name counts, as it was sent.

    Attributes:
        name: Letter by letter.
        negated: As `HeaderCondition.negated`.
    """

    name: str
    value: ValueMatch = AnyValue()
    negated: bool = False

    def holds(self, request: Judged) -> bool:
        """Whether *request* fulfils it."""
        found = cookie_value(request.field(b"cookie"), self.name)
        held = found is not None and self.value.holds(found.decode("latin-1"))
        return held is not self.negated

    def __str__(self) -> str:
        return _sentence(f"cookie {self.name} {self.value}", negated=self.negated)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryCondition:
    """On a query parameter; the first of its name counts, name and value decoded as forms are.

    Attributes:
        name: Letter by letter.
        negated: As `HeaderCondition.negated`.
    """

    name: str
    value: ValueMatch = AnyValue()
    negated: bool = False

    def holds(self, request: Judged) -> bool:
        """Whether *request* fulfils it."""
        found = _parameter(request.query, self.name)
        return (found is not None and self.value.holds(found)) is not self.negated

    def __str__(self) -> str:
        return _sentence(f"query parameter {self.name} {self.value}", negated=self.negated)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCondition:
    """On the method of a request, letter by letter."""

    method: str
    negated: bool = False

    def holds(self, request: Judged) -> bool:
        """Whether *request* fulfils it."""
        return (request.method == self.method.encode("latin-1")) is not self.negated

    def __str__(self) -> str:
        return _sentence(f"method is {self.method}", negated=self.negated)


Condition = HeaderCondition | CookieCondition | QueryCondition | MethodCondition
"""On a request. Closed: who handles the four ends with ``assert_never``."""


class Share(NamedTuple):
    """A part of the requests: *weight* of *total*, each drawn by itself.

    Attributes:
        weight: 0 to *total*.
        total: At least 1.
    """

    weight: int
    total: int = 100

    @property
    def probability(self) -> float:
        """From 0 to 1."""
        return self.weight / self.total

    def __str__(self) -> str:
        return f"{self.weight} of {self.total} requests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Requests that a variant takes.

    Attributes:
        conditions: All must hold.
        share: The part of those that fulfil them; ``None``: all.

    Raises:
        ConfigurationError: The share is not between nothing and everything.
    """

    conditions: tuple[Condition, ...] = ()
    share: Share | None = None

    def __post_init__(self) -> None:
        if self.share is not None and not 0 <= self.share.weight <= self.share.total > 0:
            raise ConfigurationError(f"a share of {self.share.weight} in {self.share.total} is none")

    @property
    def precedence(self) -> tuple[int, ...]:
        """A sort key: what is asked first of several on one path.

        The method, then what demands more header fields, then more cookies, then more query parameters;
        then shares; then what demands nothing. Negated conditions do not count.

        Source: Gateway API, ``HTTPRouteRule.matches``; the order of ingress-nginx's canaries (header,
        cookie, weight) is the same.
        """
        if not self.conditions:
            return (2,) if self.share is None else (1,)
        counts = [0, 0, 0, 0]
        for condition in self.conditions:
            counts[_rank(condition)] -= not condition.negated
        return (0, *counts) if any(counts) else (1,)

    def __bool__(self) -> bool:
        """Whether it demands anything."""
        return bool(self.conditions) or self.share is not None

    def __str__(self) -> str:
        """As the end of ``"requests whose …"``."""
        parts = [str(item) for item in self.conditions]
        if self.share is not None:
            parts.append(str(self.share))
        return " and ".join(parts)


EVERY_REQUEST: Final = Selection()
"""What a route that is no variant takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The requests of a path that another object holds which this object takes: a canary.

    Attributes:
        selections: It takes the requests of each. Where several objects have variants of a path,
            `Selection.precedence` says whose are asked first, and then the age of the object.
    """

    selections: tuple[Selection, ...] = field(default=())

    @classmethod
    def canary(
        cls,
        *,
        header: str = "",
        header_value: ValueMatch | None = None,
        cookie: str = "",
        weight: int = 0,
        total: int = 100,
    ) -> Self:
        """A canary as ingress-nginx has it: by header, else by cookie, else by weight.

        Args:
            header: A header field: requests in which it is ``always`` are taken, those in which it is
                ``never`` are not, whatever else holds. Empty: none.
            header_value: In place of both: the value with which requests are taken.
            cookie: The same for a cookie, ``always`` and ``never``.
            weight: Of *total*, how many of the requests that neither decides are taken.
            total: At least 1.

        Source: ingress-nginx, ``rootfs/etc/nginx/lua/balancer.lua``, route_to_alternative_balancer.
        """
        selections: list[Selection] = []
        unless: list[Condition] = []
        if header:
            value = header_value or ExactValue("always")
            selections.append(Selection(conditions=(HeaderCondition(name=header, value=value),)))
            if header_value is None:
                unless.append(HeaderCondition(name=header, value=ExactValue("never"), negated=True))
        if cookie:
            always = CookieCondition(name=cookie, value=ExactValue("always"))
            selections.append(Selection(conditions=(always, *unless)))
            unless.append(CookieCondition(name=cookie, value=ExactValue("never"), negated=True))
        if weight:
            selections.append(Selection(conditions=tuple(unless), share=Share(min(weight, total), total)))
        return cls(selections=tuple(selections))


def _rank(condition: Condition) -> int:
    match condition:
        case MethodCondition():
            return 0
        case HeaderCondition():
            return 1
        case CookieCondition():
            return 2
        case QueryCondition():
            return 3
        case _:
            assert_never(condition)


def _sentence(text: str, *, negated: bool) -> str:
    return f"not ({text})" if negated else text


def cookie_value(header: bytes | None, name: str) -> bytes | None:
    """The value of the first cookie of a ``Cookie`` field with that name; ``None`` without one.

    Args:
        header: The value of the field; ``None`` without one.
        name: Letter by letter.
    """
    wanted = name.encode("latin-1")
    for pair in (header or b"").split(b";"):
        key, mark, value = pair.partition(b"=")
        if mark and key.strip() == wanted:
            return value.strip()
    return None


def _parameter(query: bytes, name: str) -> str | None:
    for pair in query[1:].decode("latin-1").split("&"):
        key, _, value = pair.partition("=")
        if pair and unquote_plus(key) == name:
            return unquote_plus(value)
    return None
