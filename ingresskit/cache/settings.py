"""What a reflector can be doing, and the times it goes by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from ingresskit.errors import ConfigurationError

__all__ = ["ReflectorSettings", "ReflectorState"]


class ReflectorState(StrEnum):
    """What a reflector is doing."""

    IDLE = "idle"
    """It does not run."""
    LISTING = "listing"
    STREAMING = "streaming"
    """It receives the whole state by a watch."""
    WATCHING = "watching"
    BACKING_OFF = "backing_off"
    FORBIDDEN = "forbidden"
    """A right is missing; it tries again now and then."""
    MISSING = "missing"
    """The server does not serve this kind; it tries again now and then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectorSettings:
    """The times a reflector goes by. The defaults suit a controller on any cluster.

    Attributes:
        watch_timeout: Between which two lengths the server is asked to keep a watch open. Ends spread so that
            not all watches are opened at once. API servers send a bookmark once a minute and two seconds
            before the end, and of a quiet kind only if etcd tells them how far it is (kubeadm has it do so):
            seen with Kubernetes 1.36. So nothing may depend on bookmarks; but a connection that died is found
            within *idle_timeout* without cutting healthy ones, since these have ended before.
        idle_timeout: A watch silent for longer is dead. More than *watch_timeout*.
        initial_silence: The same for a watch that has yet to deliver the whole state.
        initial_deadline: How long delivering it may take altogether.
        stale_after: Without contact for longer, the state is listed rather than trusted.
        compare_every: So often the state is listed and compared by content whatever the watches say, at
            the end of the watch that is open then.
        impatience: Until the first state is held, no pause is longer than this (unless the server asks).
        initial_pause: The first pause after a failure; see `Backoff`.
        longest_pause: The longest; see `Backoff`.

    Raises:
        ConfigurationError: The times contradict one another.
    """

    watch_timeout: tuple[timedelta, timedelta] = (timedelta(seconds=40), timedelta(seconds=50))
    idle_timeout: timedelta = timedelta(seconds=55)
    initial_silence: timedelta = timedelta(seconds=10)
    initial_deadline: timedelta = timedelta(seconds=60)
    stale_after: timedelta = timedelta(minutes=5)
    compare_every: timedelta = timedelta(minutes=9)
    impatience: timedelta = timedelta(seconds=8)
    initial_pause: timedelta = timedelta(milliseconds=800)
    longest_pause: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        shortest, longest = self.watch_timeout
        if not timedelta(seconds=1) <= shortest <= longest < self.idle_timeout:
            raise ConfigurationError(
                f"watches of {shortest} to {longest} and an idle time-out of {self.idle_timeout} do not go"
                " together: at least a second, in this order, and the last the longest"
            )
