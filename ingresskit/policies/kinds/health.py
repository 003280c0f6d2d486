"""Which endpoints are well: what requests show, what checks show, and how one that returns begins."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar, Final, Self

from typing_extensions import override

from ingresskit.policies.base import Policy, PolicyScope, Risk, annotated
from ingresskit.policies.values import parse_duration, parse_integer

__all__ = [
    "FailureKind",
    "HealthCheck",
    "PassiveHealth",
    "SlowStart",
    "parse_check_path",
    "parse_failure_kinds",
    "parse_percent",
    "parse_statuses",
]

_DURATION: Final = "a duration: `500ms`, `5s`, `1m`, `1h`"
_PERCENT: Final = re.compile(r"(0|[1-9][0-9]{0,2})%")
_STATUS: Final = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_CHECK_PATH: Final = re.compile(r"/[\x21\x22\x24-\x7e]{0,1023}")
_MOST_STATUSES: Final = 16
_SHORTEST_INTERVAL: Final = timedelta(seconds=1)


def parse_percent(low: int, high: int) -> Callable[[str], int]:
    """A parser of whole percentages from *low* to *high*, such as ``50%``."""

    def parse(text: str) -> int:
        found = _PERCENT.fullmatch(text)
        if found is None or not low <= int(found[1]) <= high:
            raise ValueError(f"must be a percentage from {low}% to {high}%, such as {max(low, high // 2)}%")
        return int(found[1])

    return parse


class FailureKind(StrEnum):
    """What counts as a failure of an endpoint. Values are stable.

    Attributes:
        ERROR: No connection, none in time, or it ended before its response was complete.
        TIMEOUT: It was silent for too long.
        MALFORMED: What it sent is no response.
        SERVER_ERROR: A response with a status from 500 to 599.
    """

    ERROR = "error"
    TIMEOUT = "timeout"
    MALFORMED = "malformed"
    TOO_MANY = "429"
    INTERNAL = "500"
    BAD_GATEWAY = "502"
    UNAVAILABLE = "503"
    GATEWAY_TIMEOUT = "504"
    SERVER_ERROR = "5xx"


def parse_failure_kinds(text: str) -> tuple[FailureKind, ...]:
    """Kinds of failures, separated by commas; each once, in the order of `FailureKind`."""
    found = {part.strip() for part in text.split(",")}
    if not found <= set(FailureKind):
        raise ValueError(f"must be words out of {', '.join(FailureKind)}, separated by commas")
    return tuple(kind for kind in FailureKind if kind in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassiveHealth(Policy):
    """Eject endpoints that fail requests, for a while.

    An ejected endpoint gets no requests while another one is there. When its time is over, one request probes
    it: a response that is no failure brings it back, a failure ejects it again for twice as long. Each proxy
    judges by the requests that it sent.

    Attributes:
        failures: Failures in a row that eject; 0: no number does.
        ratio: Share of failures within *window* that ejects, in per cent; 0: none does.
        on: What counts as a failure; each once, in the order of `FailureKind`.
        window: In which *ratio* is taken.
        requests: The least requests within *window* for *ratio* to say anything.
        time: How long the first ejection lasts; each further one twice as long as the last.
        longest: No ejection lasts longer. An endpoint that is well for so long begins with *time* again.
        limit: The most endpoints that may be ejected at a time, in per cent, rounded down; but one always may,
            and never all.
    """

    scope: ClassVar[PolicyScope] = PolicyScope.BACKEND

    failures: int = annotated(
        "ejection-failures",
        parse_integer(0, 1000),
        default=0,
        grammar="a whole number, 0 (never) to 1000",
        summary="Eject an endpoint after so many failures in a row.",
    )
    ratio: int = annotated(
        "ejection-ratio",
        parse_percent(1, 100),
        default=0,
        grammar="a percentage, `1%` to `100%`",
        summary="Eject an endpoint when so many of its requests fail.",
    )
    on: tuple[FailureKind, ...] = annotated(
        "ejection-on",
        parse_failure_kinds,
        default=(
            FailureKind.ERROR,
            FailureKind.TIMEOUT,
            FailureKind.MALFORMED,
            FailureKind.BAD_GATEWAY,
            FailureKind.UNAVAILABLE,
            FailureKind.GATEWAY_TIMEOUT,
        ),
        grammar="words separated by commas: `error`, `timeout`, `malformed`, `429`, `500`, `502`, `503`, `504`,"
        " `5xx`",
        summary="What counts as a failure of an endpoint.",
    )
    window: timedelta = annotated(
        "ejection-window",
        parse_duration,
        default=timedelta(seconds=10),
        grammar=_DURATION,
        summary="The time in which the share of failures is taken.",
    )
    requests: int = annotated(
        "ejection-requests",
        parse_integer(1, 100_000),
        default=10,
        grammar="a whole number, 1 to 100000",
        summary="The least requests within that time for the share of failures to count.",
    )
    time: timedelta = annotated(
        "ejection-time",
        parse_duration,
        default=timedelta(seconds=10),
        grammar=_DURATION,
        summary="How long an endpoint is ejected for the first time; then twice as long each time.",
    )
    longest: timedelta = annotated(
        "ejection-longest-time",
        parse_duration,
        default=timedelta(minutes=5),
        grammar=_DURATION,
        summary="The longest that an endpoint is ejected.",
    )
    limit: int = annotated(
        "ejection-limit",
        parse_percent(1, 100),
        default=50,
        grammar="a percentage, `1%` to `100%`",
        summary="The most endpoints of a Service that are ejected at a time; one always may be, never all.",
    )

    @property
    def enabled(self) -> bool:
        """Whether anything ejects."""
        return bool(self.on) and bool(self.failures or self.ratio)

    @classmethod
    @override
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`; something must eject, and no ejection is longer than the longest."""
        if values.get("failures") is None and values.get("ratio") is None:
            raise ValueError("needs ejection-failures or ejection-ratio too")
        built = super(PassiveHealth, cls).build(values)
        if built.time > built.longest:
            raise ValueError("ejection-time must not be longer than ejection-longest-time")
        return built


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowStart(Policy):
    """Let endpoints that are new, or back from an ejection, take requests by and by.

    The share of such an endpoint grows evenly from a tenth of what it would get to all of it. It does nothing
    where a hash or a cookie of the client leads to an endpoint, nor while all endpoints are new.

    Attributes:
        window: How long that takes; 0 turns it off.
    """

    scope: ClassVar[PolicyScope] = PolicyScope.BACKEND

    window: timedelta = annotated(
        "slow-start",
        parse_duration,
        default=timedelta(0),
        grammar=_DURATION,
        summary="How long the share of a new endpoint grows until it is that of the others.",
    )


def parse_check_path(text: str) -> str:
    """Path and query of a health check, or ``tcp``, which is the empty text, for no request at all."""
    if text == "tcp":
        return ""
    if not _CHECK_PATH.fullmatch(text):
        raise ValueError("must be tcp, or a path that begins with /, of printable ASCII, 1024 at most")
    return text


def parse_statuses(text: str) -> tuple[tuple[int, int], ...]:
    """Statuses and ranges of them, separated by commas, 16 at most: ``200-299, 401``."""
    found: list[tuple[int, int]] = []
    for part in text.split(","):
        matched = _STATUS.fullmatch(part.strip())
        first = int(matched[1]) if matched else 0
        last = int(matched[2] or first) if matched else 0
        if not first or last < first or len(found) == _MOST_STATUSES:
            raise ValueError("must be statuses or ranges separated by commas, 16 at most, such as 200-299, 401")
        found.append((first, last))
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck(Policy):
    """Ask each endpoint regularly whether it is well. One that is not gets no requests while another one is.

    An endpoint counts as well until its checks fail. Each proxy checks by itself.

    Attributes:
        path: What is asked for by GET; empty: only a connection is made; ``None``: there are no checks.
        interval: Between two checks of an endpoint, give or take a tenth; 1 s at least.
        timeout: How long a check may take.
        failures: Checks in a row that must fail until the endpoint is not well.
        successes: Checks in a row that must succeed until it is well again.
        statuses: The statuses of a success: ranges, first and last; sorted.
    """

    scope: ClassVar[PolicyScope] = PolicyScope.BACKEND

    path: str | None = annotated(
        "health-check",
        parse_check_path,
        default=None,
        grammar="a path, or `tcp` for connections alone",
        summary="Ask endpoints regularly whether they are well.",
        risk=Risk.MEDIUM,
    )
    interval: timedelta = annotated(
        "health-check-interval",
        parse_duration,
        default=timedelta(seconds=10),
        grammar=_DURATION,
        summary="How long it is from one check of an endpoint to the next, 1s at least.",
    )
    timeout: timedelta = annotated(
        "health-check-timeout",
        parse_duration,
        default=timedelta(seconds=2),
        grammar=_DURATION,
        summary="How long a check may take.",
    )
    failures: int = annotated(
        "health-check-failures",
        parse_integer(1, 100),
        default=3,
        grammar="a whole number, 1 to 100",
        summary="How many checks in a row must fail until an endpoint gets no requests.",
    )
    successes: int = annotated(
        "health-check-successes",
        parse_integer(1, 100),
        default=2,
        grammar="a whole number, 1 to 100",
        summary="How many checks in a row must succeed until it gets requests again.",
    )
    statuses: tuple[tuple[int, int], ...] = annotated(
        "health-check-statuses",
        parse_statuses,
        default=((200, 399),),
        grammar="statuses or ranges separated by commas: `200-299, 401`",
        summary="The statuses by which an endpoint says that it is well.",
    )

    @classmethod
    @override
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`; the times of checks need a path, and endpoints are not asked all the time."""
        if values.get("path") is None:
            raise ValueError("needs health-check too")
        built = super(HealthCheck, cls).build(values)
        if built.interval < _SHORTEST_INTERVAL:
            raise ValueError("health-check-interval must be at least 1s")
        return built
