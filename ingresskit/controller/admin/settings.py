"""Settings of the admin server: limits, and whose requests it serves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ingresskit._checks import check_settings
from ingresskit.controller.admin.access import Authenticator

__all__ = ["AdminSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings:
    """Limits of the admin server. The defaults let a thousand idle clients do no harm.

    Attributes:
        max_connections: Connections at a time. One more ends the connection that has waited longest
            for its client's next request; when none waits, the new one is closed.
        max_streams: Of these, how many may be event streams; one more gets 503.
        max_head_bytes: A longer request head gets 431.
        head_timeout: A client has this long, from connecting or from the last response, to send a
            whole request head.
        write_timeout: A client has this long to take 64 KiB of a response.
        heartbeat: An event stream on which nothing happens says so this often.
        allowed_hosts: Names that a request may give as its host beside ``localhost`` and addresses,
            lower case. A page whose name was pointed at the server's address must not read what it
            says; ``/healthz`` and ``/readyz`` respond to every name.
        authenticator: Who may read more than health and metrics. ``None``: clients on a loopback
            address, and no others.

    Raises:
        ConfigurationError: A limit is not positive.
    """

    max_connections: int = 64
    max_streams: int = 16
    max_head_bytes: int = 16 * 1024
    head_timeout: timedelta = timedelta(seconds=30)
    write_timeout: timedelta = timedelta(seconds=10)
    heartbeat: timedelta = timedelta(seconds=15)
    allowed_hosts: frozenset[str] = frozenset()
    authenticator: Authenticator | None = None

    def __post_init__(self) -> None:
        check_settings(self)
