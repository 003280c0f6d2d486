"""Faults, scripted: what goes wrong, for which requests, how often and for how long.

    server.faults.add(Fault(action=Answer(status=429, retry_after=1), match=Match(verbs=["list"]), count=3))

Faults add up. Of all that match a request, delays are added, the first answer in the order of adding is
given, and those for streams are applied one after the other. Faults for streams also reach watches that
are open already, which is how a test makes a watch go silent in the middle.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ingresskit.testing.apiserver.log import RequestRecord
from ingresskit.testing.apiserver.manifests import encode
from ingresskit.testing.apiserver.statuses import StatusError
from ingresskit.testing.apiserver.watch import WatchEvent

__all__ = [
    "Action",
    "ActiveFault",
    "Answer",
    "CloseWatch",
    "Cut",
    "Delay",
    "Disconnect",
    "DropEvents",
    "Fault",
    "Faults",
    "HalfOpen",
    "Match",
    "ReorderEvents",
    "RepeatEvents",
    "SendLines",
]

_CHANGES = frozenset({"ADDED", "MODIFIED", "DELETED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which requests a fault is for: those that meet everything that is given.

    Attributes:
        verbs: ``"list"``, ``"watch"``, …; none means all, here as below.
        resources: ``"ingresses"``, ``"ingresses/status"``.
        namespaces: Empty text stands for requests across namespaces.
        names: Names of objects in the path.
        users: Who asks.
        paths: Beginnings of the path.
        where: Any further condition. It is called from the server's thread.
    """

    verbs: Sequence[str] = ()
    resources: Sequence[str] = ()
    namespaces: Sequence[str] = ()
    names: Sequence[str] = ()
    users: Sequence[str] = ()
    paths: Sequence[str] = ()
    where: Callable[[RequestRecord], bool] | None = None

    def matches(self, record: RequestRecord) -> bool:
        """Whether the fault is for this request."""
        resource = f"{record.resource}/{record.subresource}" if record.subresource else record.resource
        wanted = (
            (self.verbs, record.verb),
            (self.resources, resource),
            (self.namespaces, record.namespace),
            (self.names, record.name),
            (self.users, record.user),
        )
        return (
            all(not allowed or value in allowed for allowed, value in wanted)
            and (not self.paths or record.path.startswith(tuple(self.paths)))
            and (self.where is None or self.where(record))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Answer something else, and do nothing.

    Attributes:
        status: The HTTP status; also 200, for bodies that lie.
        body: The body; a fitting ``Status`` object when ``None``.
        content_type: Of *body*.
        reason: The ``reason`` of the ``Status``.
        message: Its message.
        retry_after: Seconds for the ``Retry-After`` header; ``None`` sends none.
        headers: Further headers.
    """

    status: int
    body: bytes | None = None
    content_type: str = "application/json"
    reason: str = ""
    message: str = "injected by the test"
    retry_after: int | None = None
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, error: StatusError) -> Answer:
        """The answer the server itself gives for *error*, ``Answer.of(expired("too old"))``."""
        return cls(status=error.code, body=encode(error.manifest()), retry_after=error.retry_after)

    @classmethod
    def html(cls, status: int, *, retry_after: int | None = None) -> Answer:
        """A page of a proxy that stands before the server."""
        page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\n"
        return cls(status=status, body=page.encode(), content_type="text/html", retry_after=retry_after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """Wait *seconds* before doing anything; the request is lost if the client goes meanwhile."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnect:
    """Close the connection without an answer; with *reset* by a TCP reset."""

    reset: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Close the connection inside the body, which is then incomplete.

    Attributes:
        after: How many octets of the body are sent at most.
        inside: ``"line"`` cuts a watch in the middle of its next line, ``"character"`` cuts any body
            inside the first character of several octets; both from octet *after* on.
        reset: By a TCP reset instead of an orderly end.
    """

    after: int = 0
    inside: Literal["", "line", "character"] = ""
    reset: bool = False

    def place(self, sent: int, data: bytes) -> int | None:
        """How many octets of *data* still go out when *sent* have, or ``None`` for all of it."""
        start = max(0, self.after - sent)
        if self.inside == "character":
            place = next((at for at in range(start, len(data)) if data[at] >= 0xC0), None)
            return None if place is None else place + 1
        if start >= len(data):
            return None
        if self.inside == "line":
            end = data.find(b"\n", start)
            return start + max(1, (end if end >= 0 else len(data)) - start) // 2
        return start


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfOpen:
    """Send nothing more on a watch, and do not close it either.

    Attributes:
        after_events: How many events still go out, counted from the first that this fault sees.
    """

    after_events: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseWatch:
    """End watches in good order.

    Attributes:
        after_seconds: When, counted from the start of the watch; ``None`` for no such limit.
        after_events: After how many events; ``None`` for no such limit.
    """

    after_seconds: float | None = None
    after_events: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DropEvents:
    """Leave events out.

    Attributes:
        types: Of which types; changes only, if not said.
        names: Of which objects; none means all.
        count: How many at most, over all watches; ``None`` for all.
    """

    types: Sequence[str] = tuple(sorted(_CHANGES))
    names: Sequence[str] = ()
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatEvents:
    """Send changes several times, *times* in all."""

    times: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ReorderEvents:
    """Hold changes back until there are *window* of them, then send those in reverse."""

    window: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SendLines:
    """Send lines of your own on a watch, once on each.

    Attributes:
        lines: They, with their line ends, if any.
        after_events: After how many events of the server.
        then: Whether the watch goes on, or ends in good order.
    """

    lines: tuple[bytes, ...]
    after_events: int = 0
    then: Literal["go on", "close"] = "go on"

    @classmethod
    def error(cls, error: StatusError, *, after_events: int = 0) -> SendLines:
        """An ERROR event, after which the watch ends, ``SendLines.error(expired("too old"))``."""
        return cls(lines=(WatchEvent.error(error).line,), after_events=after_events, then="close")

    @classmethod
    def event(cls, event_type: str, manifest: dict[str, object], *, after_events: int = 0) -> SendLines:
        """An event of any type, also one that does not exist."""
        return cls(lines=(WatchEvent(event_type, encode(manifest)).line,), after_events=after_events)


Action: TypeAlias = (
    Answer
    | Delay
    | Disconnect
    | Cut
    | HalfOpen
    | CloseWatch
    | DropEvents
    | RepeatEvents
    | ReorderEvents
    | SendLines
)
"""What goes wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        action: What.
        match: For which requests.
        skip: How many of them are spared at first.
        count: How many are hit after that; ``None`` for all.
        seconds: For how long, from adding it; ``None`` for ever.
    """

    action: Action
    match: Match = field(default_factory=Match)
    skip: int = 0
    count: int | None = None
    seconds: float | None = None


class ActiveFault:
    """A fault that was added to a server.

    Attributes:
        fault: It.
        hits: How many requests it has hit.
        events: How many events it has dropped.
    """

    def __init__(self, fault: Fault, ends: float | None) -> None:
        self.fault = fault
        self.hits: int = 0
        self.events = 0
        self._seen: dict[int, bool] = {}
        self._ends = ends

    def hit(self, record: RequestRecord, now: float) -> bool:
        """Whether *record* is hit; the first question about a request counts it."""
        if (self._ends is not None and now >= self._ends) or not self.fault.match.matches(record):
            return False
        known = self._seen.get(record.number)
        if known is None:
            passed = len(self._seen) >= self.fault.skip
            known = passed and (self.fault.count is None or self.hits < self.fault.count)
            self._seen[record.number] = known
            self.hits += known
        return known


class Faults:
    """The faults of one server. All methods may be called from any thread."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._active: list[ActiveFault] = []
        self._changed = changed

    def add(self, fault: Fault) -> ActiveFault:
        """Let it go wrong from now on; the result counts, and is what `remove` takes."""
        ends = None if fault.seconds is None else time.monotonic() + fault.seconds
        active = ActiveFault(fault, ends)
        with self._lock:
            self._active.append(active)
        self._changed()
        return active

    def remove(self, active: ActiveFault) -> None:
        """Let it go right again; what is not there is no error. A watch gone silent stays silent."""
        with self._lock:
            if active in self._active:
                self._active.remove(active)
        self._changed()

    def clear(self) -> None:
        """Let everything go right again."""
        with self._lock:
            self._active.clear()
        self._changed()

    def __len__(self) -> int:
        return len(self._active)

    def for_request(self, record: RequestRecord) -> Iterator[Answer | Delay | Disconnect]:
        """What happens to a request before it is looked at: delays, then at most one end."""
        now = time.monotonic()
        with self._lock:
            delays = [
                action
                for active in self._active
                if isinstance(action := active.fault.action, Delay) and active.hit(record, now)
            ]
            ends = (
                action
                for active in self._active
                if isinstance(action := active.fault.action, Answer | Disconnect) and active.hit(record, now)
            )
            end = next(ends, None)
        yield from delays
        if end is not None:
            yield end

    def for_body(self, record: RequestRecord) -> Cut | None:
        """Where the body of an answer is cut, if it is."""
        now = time.monotonic()
        with self._lock:
            for active in self._active:
                if isinstance(active.fault.action, Cut) and active.hit(record, now):
                    return active.fault.action
        return None

    def for_stream(self, record: RequestRecord) -> list[ActiveFault]:
        """The faults that the events of a watch go through now, in the order of adding."""
        now = time.monotonic()
        kinds = HalfOpen | CloseWatch | DropEvents | RepeatEvents | ReorderEvents | SendLines
        with self._lock:
            return [
                active
                for active in self._active
                if isinstance(active.fault.action, kinds) and active.hit(record, now)
            ]
