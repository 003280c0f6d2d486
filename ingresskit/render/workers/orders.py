"""The messages of a controller to a worker process.

They travel as the delegate's do, in frames of pickled values in one direction, of JSON in the other: see
`ingresskit.render.delegate.control`.

Descriptors travel beside them, on a socket of their own: a message that needs some says how many.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from ingresskit.render.delegate.control import Count, read_pickled
from ingresskit.render.inprocess import TableChange

__all__ = [
    "SEATS",
    "Accept",
    "Begin",
    "Change",
    "Count",
    "Drain",
    "Free",
    "Release",
    "WorkerOrder",
    "read_worker_order",
]

SEATS: Final = 128
"""How many worker processes of one controller there may be at a time, those that drain among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """The first message: what kind of proxy to be. Descriptors of shared memory and for records come with it.

    Attributes:
        settings: `ingresskit.proxy.ProxySettings` without an access log.
        seat: The number of the worker among those that run, less than `SEATS`.
        secret: What keys of shared limits are digested with.
        records: Whether to send a record of each request.
        grace: How long requests may take after the controller has ended without a word.
    """

    settings: object
    seat: int
    secret: bytes = field(repr=False)
    records: bool
    grace: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Serve another table from the next request on. Acknowledged once it is served.

    Attributes:
        version: Of that table.
        base: The version that it was made of; 0 is the empty table. A worker that serves another refuses.
    """

    version: int
    base: int
    change: TableChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """Take connections from a group of listening sockets too, whose descriptors come with the message.

    Attributes:
        group: Its number.
        tls: For each socket, whether clients speak TLS there.
    """

    group: int
    tls: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Take no more connections from a group: another worker does."""

    group: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """The process of *seat* has ended: what it held of shared limits is free."""

    seat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Take no more connections, end those that there are, respond with the last counts, and end.

    Attributes:
        grace: How long requests may take.
        linger: How long an idle connection may bring one more request.
    """

    grace: timedelta
    linger: timedelta


WorkerOrder = Begin | Change | Accept | Release | Free | Drain | Count
"""What a controller sends to a worker."""


def read_worker_order(payload: bytes) -> WorkerOrder:
    """The message in a frame.

    Raises:
        ValueError: It is none.
    """
    found = read_pickled(payload)
    if not isinstance(found, WorkerOrder):
        raise ValueError("not a message for a worker")
    return found
