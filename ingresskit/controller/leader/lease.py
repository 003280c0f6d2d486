"""One Lease on the API server: read, created, and written only if it has not changed in between."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

from ingresskit.errors import ConfigurationError, NotFound, TransportError
from ingresskit.kube import ResourceKind, Transport
from ingresskit.models import ObjectKey

__all__ = ["LEASES", "Lease", "LeaseLock", "micro_time"]

LEASES = ResourceKind(api_version="coordination.k8s.io/v1", resource="leases", kind="Lease")

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A Lease as it was read. The times are text, and only ever compared for being the same.

    Attributes:
        holder: Whose it is; empty for nobody's.
        duration: What its holder asks the others to wait; ``None`` when it does not say.
        transitions: How often it has changed hands.
        tree: The whole object, to be written back with what we do not know left as it is.
    """

    holder: str
    duration: timedelta | None
    acquire_time: str
    renew_time: str
    transitions: int
    tree: Mapping[str, object]

    @classmethod
    def read(cls, body: bytes) -> Lease:
        """Read a response of the API server.

        Raises:
            TransportError: It is not a Lease.
        """
        try:
            tree: object = json.loads(body)
        except ValueError as exc:
            raise TransportError(f"the response for a Lease is not JSON: {exc}") from exc
        if not isinstance(tree, dict) or not isinstance(cast("_Tree", tree).get("metadata"), dict):
            raise TransportError("the response for a Lease is not a Lease")
        known = cast("_Tree", tree)
        spec = _map(known.get("spec"))
        seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
        return cls(
            holder=_text(spec.get("holderIdentity")),
            # Ten years at most: a timedelta holds no more than a few million of them.
            duration=timedelta(seconds=min(seconds, 315_360_000)) if isinstance(seconds, int) else None,
            acquire_time=_text(spec.get("acquireTime")),
            renew_time=_text(spec.get("renewTime")),
            transitions=transitions if isinstance(transitions, int) else 0,
            tree=known,
        )

    @property
    def record(self) -> tuple[object, ...]:
        """What a renewal changes. Whoever sees it change knows that the holder was alive.

        The resource version is in it, for a wall clock that is set back may write the same time twice; the
        rest is too, for a restored database may give the same resource version twice.
        """
        version = _text(_map(self.tree.get("metadata")).get("resourceVersion"))
        return (version, self.holder, self.duration, self.acquire_time, self.renew_time, self.transitions)


_Tree = Mapping[str, object]


class LeaseLock:
    """The Lease with one name."""

    def __init__(self, transport: Transport, key: ObjectKey) -> None:
        """Ask nothing yet.

        Raises:
            ConfigurationError: No object can have that name.
        """
        for part in key:
            if not _NAME.fullmatch(part):
                raise ConfigurationError(f"{str(key)!r} cannot be the namespace and name of a Lease")
        self.key = key
        self._transport = transport
        self._path = LEASES.path(key.namespace, key.name)

    async def get(self) -> Lease | None:
        """The Lease as it is, or ``None`` when there is none.

        Raises:
            ApiError: The server refused.
            TransportError: There was no usable answer.
        """
        try:
            response = await self._transport.request("GET", self._path)
        except NotFound:
            return None
        return Lease.read(response.body)

    async def create(self, spec: Mapping[str, object]) -> Lease:
        """Make it.

        Raises:
            Conflict: There is one by now.
            ApiError: The server refused.
            TransportError: There was no usable answer.
        """
        tree = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self.key.name, "namespace": self.key.namespace},
            "spec": dict(spec),
        }
        path = LEASES.path(self.key.namespace)
        return Lease.read((await self._transport.request("POST", path, body=_dump(tree))).body)

    async def update(self, lease: Lease, spec: Mapping[str, object]) -> Lease:
        """Write these fields, provided that the Lease is still as *lease* has it.

        Raises:
            Conflict: It is not.
            NotFound: It is gone.
            ApiError: The server refused.
            TransportError: There was no usable answer.
        """
        tree = {**lease.tree, "spec": {**_map(lease.tree.get("spec")), **spec}}
        return Lease.read((await self._transport.request("PUT", self._path, body=_dump(tree))).body)


def micro_time(moment: datetime, *, unlike: str) -> str:
    """*moment* as the API writes it in a Lease, at least a microsecond away from *unlike*.

    A renewal must change the Lease, whatever the wall clock does: one that stood still would write the
    same again, which the API server does not even count as a change, and the others would see a holder
    that is silent.
    """
    text = _micro(moment)
    return text if text != unlike else _micro(moment + timedelta(microseconds=1))


def _micro(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def _map(value: object) -> Mapping[str, object]:
    return cast("_Tree", value) if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _dump(tree: object) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()
