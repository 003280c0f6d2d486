"""What was asked of the server: for tests that count, and that check how often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["RequestLog", "RequestRecord"]


@dataclass(slots=True, kw_only=True, eq=False)
class RequestRecord:
    """One request.

    Attributes:
        number: Counts up from 1 in the order of arrival.
        time: When it came, in seconds of the monotonic clock.
        method: The HTTP method.
        verb: As RBAC has it: ``list``, ``watch``, …
        path: Without the query.
        query: The parameters.
        group: The API group.
        resource: Empty for paths that are no resource.
        subresource: ``"status"``, or empty.
        namespace: Empty for cluster-wide objects and across namespaces.
        name: Of the object in the path.
        user: Who asked; empty when nobody knows.
        user_agent: As the client calls itself.
        status: The HTTP status answered; ``None`` while there is none, and when the connection was closed
            instead.
        ended: When the answer was complete, or the watch over; ``None`` before.
        events: How many lines of a watch have been sent.
    """

    number: int
    time: float
    method: str
    verb: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    user: str = ""
    user_agent: str = ""
    status: int | None = None
    ended: float | None = None
    events: int = 0


class RequestLog:
    """The requests of one server, oldest first. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._records: list[RequestRecord] = []

    def __iter__(self) -> Iterator[RequestRecord]:
        with self._changed:
            return iter(tuple(self._records))

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: RequestRecord) -> None:
        """Note a request."""
        with self._changed:
            self._records.append(record)
            self._changed.notify_all()

    def touch(self) -> None:
        """Tell those who wait that a record has changed."""
        with self._changed:
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget all of them."""
        with self._changed:
            self._records.clear()

    def select(
        self,
        *,
        verb: str = "",
        resource: str = "",
        namespace: str | None = None,
        name: str = "",
        user: str = "",
        status: int | None = None,
        open_only: bool = False,
        since: float = 0.0,
    ) -> list[RequestRecord]:
        """The requests that meet everything that is given.

        Args:
            verb: ``"list"``, ``"watch"``, …
            resource: ``"ingresses"``.
            namespace: Empty text for requests across namespaces.
            name: Of the object.
            user: Who asked.
            status: What was answered.
            open_only: Those only that are not over.
            since: Those only that came at this time of the monotonic clock, or later.
        """
        return [
            record
            for record in self
            if (not verb or record.verb == verb)
            and (not resource or record.resource == resource)
            and (namespace is None or record.namespace == namespace)
            and (not name or record.name == name)
            and (not user or record.user == user)
            and (status is None or record.status == status)
            and (not open_only or record.ended is None)
            and record.time >= since
        ]

    def peak(self, *, verb: str = "", resource: str = "") -> int:
        """How many of these requests were under way at once, at most."""
        marks = sorted(
            mark
            for record in self.select(verb=verb, resource=resource)
            for mark in ((record.time, 1), (record.ended if record.ended is not None else float("inf"), -1))
        )
        most = now = 0
        for _, step in marks:
            now += step
            most = max(most, now)
        return most

    def busiest(self, seconds: float, *, verb: str = "", resource: str = "") -> int:
        """How many of these requests came within any *seconds*, at most: the rate a test bounds."""
        times = [record.time for record in self.select(verb=verb, resource=resource)]
        first = most = 0
        for place, moment in enumerate(times):
            while moment - times[first] > seconds:
                first += 1
            most = max(most, place - first + 1)
        return most

    def wait_for(self, condition: Callable[[RequestLog], bool], *, timeout: float = 10.0) -> None:
        """Block this thread until *condition* holds for the log; asked whenever a request comes or changes.

        Not for the thread in which the server runs.

        Raises:
            TimeoutError: It did not within *timeout* seconds.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while not condition(self):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"still not so after {timeout} s and {len(self._records)} requests")
                self._changed.wait(left)
