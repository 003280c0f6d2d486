"""Two edges asked the same: which requests are sent, and how what they answered differs. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final
from urllib.parse import urljoin, urlsplit

from ingresskit.graph import Request
from ingresskit.migrate.expectations import Expectation
from ingresskit.migrate.prove import Agreement
from ingresskit.models import ObjectRef

__all__ = [
    "SAFE_METHODS",
    "LiveComparison",
    "LivePlan",
    "LiveProof",
    "Seen",
    "answers_differ",
    "live_plan",
    "live_proof",
]

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, 9.2.1)."""

_LARGEST_BODY: Final = 16 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What an edge answered.

    Attributes:
        status: The status; 0 where no response came.
        location: As sent; empty without one.
        backend: What names the backend, by the marker that was asked for; empty without it.
        fields: The header fields that were asked for, in that order; empty text: not sent.
        failure: Why no response came: ``"no response in 10 seconds"``; empty where one did.
    """

    status: int = 0
    location: str = ""
    backend: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    failure: str = ""

    def __str__(self) -> str:
        """For people: ``"308 to https://shop.test/"``, ``"200 of web-1"``."""
        if self.failure:
            return self.failure
        target = f" to {self.location}" if self.location else ""
        backend = f" of {self.backend}" if self.backend else ""
        shown = "; ".join(f"{name}: {value}" if value else f"no {name}" for name, value in self.fields)
        return f"{self.status}{target}{backend}{f'; {shown}' if shown else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlan:
    """What is sent.

    Attributes:
        sent: The requests, those of all hosts in turn, of each the plainest first.
        unsent: Why others are not sent, and how many.
    """

    sent: tuple[Expectation, ...] = ()
    unsent: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveComparison:
    """A request that two edges answer differently.

    Attributes:
        expected: The request, and what the model and the graph expect.
        agreement: `Agreement.DIFFERENT`, `Agreement.LOST` or `Agreement.VARIES`.
        old: What the old edge answered.
        new: What the new one did.
        why: How they differ, a clause.
        reason: What is reported that may explain it; empty: nothing is.
    """

    expected: Expectation
    agreement: Agreement
    old: Seen
    new: Seen
    why: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveProof:
    """What came of the requests that were sent.

    Attributes:
        asked: How many there were.
        same: How many both edges answered alike.
        differences: The others, of each host, Ingress and kind of difference the smallest request.
        by_ingress: For each Ingress that takes a request at the old edge, how many are the same, and not.
        unsent: Why other requests were not sent, and how many.
    """

    asked: int = 0
    same: int = 0
    differences: tuple[LiveComparison, ...] = ()
    by_ingress: Mapping[ObjectRef, tuple[int, int]] = field(default_factory=dict[ObjectRef, tuple[int, int]])
    unsent: Mapping[str, int] = field(default_factory=dict[str, int])


def live_plan(
    expected: Iterable[Expectation],
    *,
    schemes: frozenset[str] = frozenset({"http", "https"}),
    every_method: bool = False,
    most: int = 1000,
) -> LivePlan:
    """Choose what is sent.

    Args:
        expected: What could be.
        schemes: Those that both edges have an address for.
        every_method: Also requests that may change something.
        most: How many at most.
    """
    unsent: Counter[str] = Counter()
    by_host: dict[str, list[Expectation]] = {}
    for item in expected:
        why = _obstacle(item.request, schemes, every_method=every_method)
        if why:
            unsent[why] += 1
        else:
            by_host.setdefault(item.request.host, []).append(item)
    ordered = [item for row in zip_longest(*by_host.values()) for item in row if item is not None]
    if len(ordered) > most:
        unsent[f"more than {most}"] += len(ordered) - most
    return LivePlan(sent=tuple(ordered[:most]), unsent=dict(unsent))


def _obstacle(request: Request, schemes: frozenset[str], *, every_method: bool) -> str:
    if request.scheme not in schemes:
        return f"no address for {request.scheme}"
    if request.client is not None:
        return "from a client address, which cannot be chosen"
    if request.method not in SAFE_METHODS and not every_method:
        return "a method that may change something"
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _LARGEST_BODY:
        return "a body of more than 16 MiB"
    return ""


def live_proof(
    seen: Iterable[tuple[Expectation, tuple[Seen, ...], tuple[Seen, ...]]], unsent: Mapping[str, int]
) -> LiveProof:
    """Compare what two edges answered.

    Args:
        seen: Of each request what the old edge answered and what the new one did, each once or, where the
            first answers differ, several times.
        unsent: Of the plan.
    """
    asked = same = 0
    counts: dict[ObjectRef, tuple[int, int]] = {}
    found: dict[tuple[object, ...], LiveComparison] = {}
    for expected, old, new in seen:
        asked += 1
        compared = _compared(expected, old, new)
        ingress = expected.there.ingress
        if ingress is not None:
            alike, other = counts.get(ingress, (0, 0))
            counts[ingress] = (alike + (compared is None), other + (compared is not None))
        if compared is None:
            same += 1
            continue
        key = (expected.request.host, ingress, compared.agreement, compared.old.status, compared.new.status)
        known = found.get(key)
        if known is None or _size(expected.request) < _size(known.expected.request):
            found[key] = compared
    return LiveProof(
        asked=asked, same=same, differences=tuple(found.values()), by_ingress=counts, unsent=unsent
    )


def answers_differ(request: Request, old: Seen, new: Seen) -> str:
    """How two answers to *request* differ, a clause; empty where they do not."""
    if old.failure or new.failure:
        alike = bool(old.failure) == bool(new.failure)
        return "" if alike else f"{old.failure or old.status} there, {new.failure or new.status} here"
    if old.status != new.status:
        return f"{old.status} there, {new.status} here"
    if _target(request, old) != _target(request, new):
        return f"to {old.location or 'nowhere'} there, to {new.location or 'nowhere'} here"
    if old.backend != new.backend:
        return f"{old.backend or 'no marker'} there, {new.backend or 'no marker'} here"
    for (name, one), (_, other) in zip(old.fields, new.fields, strict=True):
        if one != other:
            return f"the header {name} {one!r} there, {other!r} here"
    return ""


def _compared(expected: Expectation, old: tuple[Seen, ...], new: tuple[Seen, ...]) -> LiveComparison | None:
    """``None``: both answer alike, as far as shares of canaries allow."""
    why = answers_differ(expected.request, old[0], new[0])
    if not why:
        return None
    reason = expected.reason or _limited(expected, old, new)
    if any(not answers_differ(expected.request, one, other) for one in old for other in new):
        if expected.there.shares:
            return None
        agreement, why = Agreement.VARIES, f"answers vary: {why} at first, and the same later"
    else:
        refused = not new[0].status or new[0].status >= 400
        lost = 0 < old[0].status < 400 and refused
        agreement = Agreement.LOST if lost else Agreement.DIFFERENT
    return LiveComparison(
        expected=expected, agreement=agreement, old=old[0], new=new[0], why=why, reason=reason
    )


def _limited(expected: Expectation, old: tuple[Seen, ...], new: tuple[Seen, ...]) -> str:
    """What explains a refusal by a limit that these very requests have reached."""
    statuses = {item.status for item in expected.there.limits}
    statuses |= {item.status for verdict in expected.here for item in verdict.limits}
    if any(item.status in statuses for item in (*old, *new)):
        return "a limit counts these requests: send fewer a second (--rate)"
    return ""


def _target(request: Request, seen: Seen) -> str:
    """Where a redirect leads, as a whole URL without the usual port."""
    if not seen.location:
        return ""
    target = urljoin(f"{request.scheme}://{request.host}{request.path}", seen.location)
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError:
        return target
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    netloc = (parts.hostname or "") + ("" if port in (None, usual) else f":{port}")
    return parts._replace(netloc=netloc, path=parts.path or "/").geturl()


def _size(request: Request) -> tuple[int, int, int]:
    more = bool(request.query) + (request.method != "GET")
    return (len(request.headers) + more, request.path.count("/"), len(request.path))
