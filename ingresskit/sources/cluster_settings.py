"""Settings of a cluster source, and its statistics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from ingresskit._checks import check_settings
from ingresskit.cache import ReflectorSettings, ReflectorState
from ingresskit.errors import ConfigurationError
from ingresskit.traffic import MetricFamily, MetricKind, counter, labelled

__all__ = ["CacheStatistics", "ClusterSettings", "ClusterStatistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """How a cluster is followed, and how often a snapshot is made of what was seen.

    Attributes:
        quiet: How long after a change the snapshot is made, so that what came together is in one.
        interval: While changes keep coming, one snapshot is made in this time.
        burst: So many snapshots may be made at once after a time without changes: a single change need
            not wait, and a storm of them costs no more than *interval* says.
        look_again: How often it is looked for what no object tells: that a right went or came back.
        silence_limit: An open watch that has brought nothing for longer, not even a bookmark, should have
            been given up long before; see `ClusterSource.silent`.
        page_size: Objects per page of a list.
        watch_list: ``"auto"`` has the first state of a kind streamed by its watch, and lists where that fails;
            ``"never"`` always lists. For API servers, or proxies before them, that take long to refuse.
        reflector: The times of lists and watches.

    Raises:
        ConfigurationError: A time or number that must be positive is not, or *silence_limit* is not
            longer than a watch may be silent.
    """

    quiet: timedelta = timedelta(milliseconds=2)
    interval: timedelta = timedelta(milliseconds=500)
    burst: int = 4
    look_again: timedelta = timedelta(seconds=1)
    silence_limit: timedelta = timedelta(minutes=3)
    page_size: int = 500
    watch_list: Literal["auto", "never"] = "auto"
    reflector: ReflectorSettings = field(default_factory=ReflectorSettings)

    def __post_init__(self) -> None:
        check_settings(self, {"quiet": timedelta(0)})
        if self.watch_list not in ("auto", "never"):
            raise ConfigurationError(f"watch_list is 'auto' or 'never', not {self.watch_list!r}")
        if self.silence_limit <= self.reflector.idle_timeout:
            raise ConfigurationError(
                f"a silence limit of {self.silence_limit} would be over before a watch is given up,"
                f" which is after {self.reflector.idle_timeout}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatistics:
    """How following one kind goes.

    Attributes:
        kind: The kind, ``"Ingress"``.
        state: What is being done; of several namespaces the one that is worst off.
        synced: Whether everything of it was known once.
        objects: How many are known.
        undecodable: How many are there and cannot be read.
        last_contact: How long ago the API server last said anything about it; ``None`` for never.
        namespaces: Which ones are followed; empty for all, and for kinds that have none.
        error: Why it is not followed now; empty when it is.
        lists: Lists begun since the start, streamed ones too.
        watches: Watches begun.
        events: Events taken, bookmarks too.
        failures: Requests and watches that failed.
    """

    kind: str
    state: ReflectorState
    synced: bool
    objects: int
    undecodable: int
    last_contact: timedelta | None
    namespaces: tuple[str, ...]
    error: str
    lists: int
    watches: int
    events: int
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatistics:
    """How following a cluster goes.

    Attributes:
        caches: By kind, in the order of their names.
        snapshots: How many were made.
    """

    caches: dict[str, CacheStatistics]
    snapshots: int

    def families(self) -> Iterator[MetricFamily]:
        """The metrics, by kind."""
        caches = self.caches
        if caches:
            objects = {kind: float(item.objects) for kind, item in caches.items()}
            text = "Objects known, by the kind that is followed."
            yield labelled("cache_objects", text, "cache", objects, kind=MetricKind.GAUGE)
            unread = {kind: float(item.undecodable) for kind, item in caches.items()}
            text = "Objects that are there and cannot be read, by kind."
            yield labelled("cache_undecodable", text, "cache", unread, kind=MetricKind.GAUGE)
            lists = {kind: float(item.lists) for kind, item in caches.items()}
            yield labelled("cache_lists", "Lists begun, by kind.", "cache", lists)
            watches = {kind: float(item.watches) for kind, item in caches.items()}
            yield labelled("cache_watches", "Watches begun, by kind.", "cache", watches)
            events = {kind: float(item.events) for kind, item in caches.items()}
            yield labelled("cache_events", "Events taken, by kind.", "cache", events)
            failures = {kind: float(item.failures) for kind, item in caches.items()}
            text = "Requests and watches that failed, by kind."
            yield labelled("cache_failures", text, "cache", failures)
        contacts = {
            kind: item.last_contact.total_seconds()
            for kind, item in caches.items()
            if item.last_contact is not None
        }
        if contacts:
            text = "Seconds since the API server last said anything, by kind."
            yield labelled("cache_last_contact_seconds", text, "cache", contacts, kind=MetricKind.GAUGE)
        yield counter("snapshots", "Snapshots made of the cluster.", self.snapshots)
