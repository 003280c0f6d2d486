"""The messages between the controller and the delegate on the delegate's control socket.

A frame is four octets of length, big-endian, and so many octets. The controller sends pickled values: tables
are Python values, and the delegate believes its own user. The delegate sends JSON: it works on what
strangers send, and whoever took it over should gain nothing in the controller.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final, cast

from ingresskit.graph import BackendKey, Termination
from ingresskit.render.access import AccessRecord
from ingresskit.render.delegate.settings import DelegateSettings
from ingresskit.render.inprocess import RoutingTable
from ingresskit.traffic import EndpointHealth

__all__ = [
    "PROTOCOL",
    "Count",
    "DelegateCounts",
    "Follow",
    "Hello",
    "Order",
    "Serve",
    "Settle",
    "frame",
    "pack",
    "pack_pickled",
    "read_counts",
    "read_key",
    "read_order",
    "read_pickled",
    "read_record",
    "write_record",
]

PROTOCOL: Final = 1
"""The version of these messages. A delegate of another one is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Asks what runs here. The one message that every release understands: it is not pickled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """Serve a table from now on; keep the routes of the previous one that it lacks until `Settle`.

    Attributes:
        version: Counts up; acknowledged once the table is served.
        owner: A word that the controller chose for itself.
    """

    version: int
    owner: str
    table: RoutingTable
    settings: DelegateSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """The program in front no longer chooses routes that the table with this version, and later ones, lack."""

    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Asks for the counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """From now on this connection gets a record of each request."""


_HELLO: Final = b"hello"

Order = Hello | Serve | Settle | Count | Follow
"""What the controller sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegateCounts:
    """Counts of one delegate process since it began, in the words of `ingresskit.proxy.Statistics`.

    Attributes:
        backends: Requests, failures and requests under way, by backend.
        unwell: As `ingresskit.traffic.ProxyStatistics.unwell_endpoints`.
        ejections: As `ingresskit.traffic.ProxyStatistics.ejections_in_use`.
    """

    requests: Mapping[str, Mapping[int, int]] = field(default_factory=dict[str, Mapping[int, int]])
    terminations: Mapping[Termination, int] = field(default_factory=dict[Termination, int])
    upstream_failures: Mapping[Termination, int] = field(default_factory=dict[Termination, int])
    upstream_failed: int = 0
    shadowed: Mapping[str, int] = field(default_factory=dict[str, int])
    retries: int = 0
    connections_open: int = 0
    tunnels_open: int = 0
    backends: Mapping[BackendKey, tuple[int, int, int]] = field(
        default_factory=dict[BackendKey, tuple[int, int, int]]
    )
    unwell: Mapping[str, EndpointHealth] = field(default_factory=dict[str, EndpointHealth])
    ejections: int = 0


def frame(payload: bytes) -> bytes:
    """*payload* with its length in front."""
    return len(payload).to_bytes(4, "big") + payload


def pack(order: Order) -> bytes:
    """*order* as a frame."""
    return frame(_HELLO) if isinstance(order, Hello) else pack_pickled(order)


def read_order(payload: bytes) -> Order:
    """The message in a frame of the controller, which must be who sent it.

    Raises:
        ValueError: It is none.
    """
    if payload == _HELLO:
        return Hello()
    found = read_pickled(payload)
    if not isinstance(found, Order):
        raise ValueError("not a message for a delegate")
    return found


def pack_pickled(value: object) -> bytes:
    """*value* as a frame."""
    return frame(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def read_pickled(payload: bytes) -> object:
    """What `pack_pickled` packed. The sender must be a controller of this user.

    Raises:
        ValueError: It cannot be read, since a module that it needs is not there, most likely.
    """
    try:
        return cast(object, pickle.loads(payload))  # noqa: S301 - of this user's own controller; see the module
    except Exception as exc:
        raise ValueError(f"a message that cannot be read: {exc}") from exc


def write_record(record: AccessRecord) -> dict[str, object]:
    """*record* as a JSON object."""
    return {item.name: value for item in fields(record) if (value := getattr(record, item.name)) is not None}


def read_record(found: Mapping[str, object]) -> AccessRecord:
    """The record in what `write_record` made.

    Raises:
        ValueError: It is none.
    """
    try:
        values = dict(found)
        key = values.get("backend")
        values["backend"] = read_key(key) if key is not None else None
        if (reason := values.get("termination")) is not None:
            values["termination"] = Termination(cast(str, reason))
        for name in ("tried", "shadow"):
            values[name] = tuple(map(str, cast("list[object]", values.get(name, []))))
        return AccessRecord(**cast("dict[str, str]", values))  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as exc:
        raise ValueError("not a record of a request") from exc


def read_counts(payload: bytes) -> DelegateCounts:
    """The counts in the response to `Count`.

    Raises:
        ValueError: It has none.
    """
    try:
        found = cast("dict[str, object]", json.loads(payload))
        classes = cast("dict[str, dict[str, int]]", found["requests"])
        rows = cast("list[tuple[object, int, int, int]]", found["backends"])
        return DelegateCounts(
            requests={
                host: {int(digit): int(n) for digit, n in item.items()} for host, item in classes.items()
            },
            terminations=_reasons(found["terminations"]),
            upstream_failures=_reasons(found["upstream_failures"]),
            upstream_failed=int(cast(int, found["upstream_failed"])),
            unwell={
                str(name): EndpointHealth(health)
                for name, health in cast("dict[str, str]", found["unwell"]).items()
            },
            ejections=int(cast(int, found["ejections"])),
            shadowed={stage: int(n) for stage, n in cast("dict[str, int]", found["shadowed"]).items()},
            retries=int(cast(int, found["retries"])),
            connections_open=int(cast(int, found["connections_open"])),
            tunnels_open=int(cast(int, found["tunnels_open"])),
            backends={read_key(key): (int(a), int(b), int(c)) for key, a, b, c in rows},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise ValueError("not the counts of a delegate") from exc


def read_key(found: object) -> BackendKey:
    """The key in what JSON makes of one.

    Raises:
        TypeError: It is none; so ValueError.
    """
    namespace, service, port, protocol, policies = cast("list[object]", found)
    return BackendKey(str(namespace), str(service), int(cast(int, port)), str(protocol), str(policies))


def _reasons(found: object) -> dict[Termination, int]:
    return {Termination(name): int(count) for name, count in cast("dict[str, int]", found).items()}
