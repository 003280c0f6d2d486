"""What has to change in a running HAProxy, so that it serves another artifact. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ingresskit.apply.haproxy.cli import MAX_PAYLOAD_BYTES
from ingresskit.apply.haproxy.slots import Slots
from ingresskit.errors import Subject
from ingresskit.models import ObjectKey
from ingresskit.policies import Origin
from ingresskit.render.haproxy import (
    Block,
    Bundle,
    HaproxyArtifact,
    Identity,
    Needs,
    Pointer,
    Server,
    ServerNames,
    SlotBackend,
)

__all__ = ["ReloadReason", "RuntimeChanges", "ServerChange", "changes_between", "reload_reasons"]

_LONGEST_NAMES: Final = MAX_PAYLOAD_BYTES - 200


class ReloadReason(NamedTuple):
    """Why a change needs a reload, and what asked for it."""

    reason: str
    origins: tuple[Origin, ...] = ()
    services: frozenset[ObjectKey] = frozenset()
    """The Services that need a slot; where there are none, the subjects of *origins* ask."""

    @property
    def namespaces(self) -> frozenset[str]:
        """The namespaces whose objects ask for it."""
        return frozenset(namespace for _, (namespace, _) in self.subjects)

    @property
    def subjects(self) -> frozenset[Subject]:
        """The objects that ask for it."""
        if self.services:
            return frozenset(("Service", (key.namespace, key.name)) for key in self.services)
        return frozenset((item.kind, (item.key.namespace, item.key.name)) for item, _ in self.origins)


class ServerChange(NamedTuple):
    """The servers of one backend that come and go."""

    backend: str
    added: tuple[Server, ...]
    removed: tuple[Server, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeChanges:
    """From one artifact to another; every part sorted as its plane is.

    Attributes:
        placed: Backends that get a slot: new ones, and those one of whose servers became another under
            the same name.
        vacated: The ids of backends that leave the slot they have; some of them are also in *placed*.
        servers: Of backends that stay where they are.
        blocks: Those to be loaded.
        pointed: Pointers to be added, with their values.
        moved: Pointers to be set to another value.
        dropped: Pointers to be taken out.
        issued: New certificates.
        renewed: Certificates with another content; the default one is not among them.
        withdrawn: The certificates to be forgotten.
        default: The default certificate in PEM when it becomes another one.
        listed: Lines to be added to the list of certificates.
        unlisted: Lines to be taken out of it.
        identities: New certificates that servers are shown.
    """

    placed: tuple[SlotBackend, ...] = ()
    vacated: tuple[str, ...] = ()
    servers: tuple[ServerChange, ...] = ()
    blocks: tuple[Block, ...] = ()
    pointed: tuple[tuple[Pointer, str], ...] = ()
    moved: tuple[tuple[Pointer, str], ...] = ()
    dropped: tuple[Pointer, ...] = ()
    issued: tuple[Bundle, ...] = ()
    renewed: tuple[Bundle, ...] = ()
    withdrawn: tuple[Bundle, ...] = ()
    default: bytes | None = None
    listed: tuple[ServerNames, ...] = ()
    unlisted: tuple[ServerNames, ...] = ()
    identities: tuple[Identity, ...] = ()

    @property
    def summary(self) -> str:
        """What changes, for people: ``"2 hosts, 14 backends"``; empty when nothing does."""
        counts = {
            "hosts": len(self.pointed) + len(self.moved) + len(self.dropped),
            "backends": len({item.id for item in self.placed} | set(self.vacated)) + len(self.servers),
            "certificates": len(self.identities)
            + len(self.issued)
            + len(self.renewed)
            + len(self.withdrawn)
            + (self.default is not None),
            "lists of server names": 0
            if self.issued or self.withdrawn
            else max(len(self.listed), len(self.unlisted)),
        }
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)

    def without_certificates(self) -> RuntimeChanges:
        """The same, leaving certificates and their list as they are."""
        return replace(self, issued=(), renewed=(), withdrawn=(), default=None, listed=(), unlisted=())

    def __bool__(self) -> bool:
        return any(
            (
                self.placed,
                self.vacated,
                self.servers,
                self.blocks,
                self.pointed,
                self.moved,
                self.dropped,
                self.issued,
                self.renewed,
                self.withdrawn,
                self.default is not None,
                self.listed,
                self.unlisted,
                self.identities,
            )
        )


def changes_between(
    old: HaproxyArtifact, new: HaproxyArtifact, *, loaded: Mapping[str, Block], own: bytes
) -> RuntimeChanges:
    """What has to change for *new* where *old* is served.

    What is the same object in both costs nothing, and what is equal little.

    Args:
        old: What is served.
        new: What should be.
        loaded: The blocks whose rows are in the maps, also those that *old* does not lead to any more.
        own: The default certificate for artifacts that have none.
    """
    placed, vacated, servers = _backends(old, new)
    issued, renewed, withdrawn = _certificates(old, new)
    pointed, moved, dropped = _pointers(old, new)
    listed: tuple[ServerNames, ...] = ()
    unlisted: tuple[ServerNames, ...] = ()
    if old.server_names is not new.server_names:
        before, after = set(old.server_names), set(new.server_names)
        listed, unlisted = tuple(sorted(after - before)), tuple(sorted(before - after))
    default = _default(new, own)
    return RuntimeChanges(
        placed=placed,
        vacated=vacated,
        servers=servers,
        blocks=tuple(new.blocks[item] for item in sorted(item for item in new.blocks if item not in loaded))
        if old.blocks is not new.blocks
        else (),
        pointed=pointed,
        moved=moved,
        dropped=dropped,
        issued=issued,
        renewed=renewed,
        withdrawn=withdrawn,
        default=default if default != _default(old, own) else None,
        listed=listed,
        unlisted=unlisted,
        identities=tuple(item for key, item in new.identities.items() if key not in old.identities)
        if old.identities is not new.identities
        else (),
    )


def _default(artifact: HaproxyArtifact, own: bytes) -> bytes:
    chosen = artifact.default_certificate
    return own if chosen is None else artifact.certificates[chosen].pem


def _backends(
    old: HaproxyArtifact, new: HaproxyArtifact
) -> tuple[tuple[SlotBackend, ...], tuple[str, ...], tuple[ServerChange, ...]]:
    if old.backends is new.backends:
        return (), (), ()
    placed: list[SlotBackend] = []
    servers: list[ServerChange] = []
    vacated = [item for item in old.backends if item not in new.backends]
    for key, backend in new.backends.items():
        before = old.backends.get(key)
        if before is backend:
            continue
        if before is None:
            placed.append(backend)
            continue
        held = {item.name: item for item in before.servers}
        wanted = {item.name: item for item in backend.servers}
        if _speak_otherwise(before.servers, backend.servers):
            # The row that leads to a slot says what its servers speak. And two servers of one name cannot
            # stand in one slot, and to take the old one out first would leave a moment without.
            placed.append(backend)
            vacated.append(key)
            continue
        change = ServerChange(
            backend=key,
            added=tuple(item for item in backend.servers if item.name not in held),
            removed=tuple(item for item in before.servers if item.name not in wanted),
        )
        if change.added or change.removed:
            servers.append(change)
    return tuple(placed), tuple(vacated), tuple(servers)


def _speak_otherwise(before: tuple[Server, ...], after: tuple[Server, ...]) -> bool:
    """Whether the servers of a backend, all of which speak the same, speak something else than before."""
    return bool(before and after) and before[0][3:] != after[0][3:]


def _certificates(
    old: HaproxyArtifact, new: HaproxyArtifact
) -> tuple[tuple[Bundle, ...], tuple[Bundle, ...], tuple[Bundle, ...]]:
    before, after = old.certificates, new.certificates
    if before is after:
        return (), (), ()
    issued = tuple(bundle for key, bundle in after.items() if key not in before)
    renewed = tuple(
        bundle
        for key, bundle in after.items()
        if (held := before.get(key)) is not None and held is not bundle and held.digest != bundle.digest
    )
    return issued, renewed, tuple(bundle for key, bundle in before.items() if key not in after)


def _pointers(
    old: HaproxyArtifact, new: HaproxyArtifact
) -> tuple[tuple[tuple[Pointer, str], ...], tuple[tuple[Pointer, str], ...], tuple[Pointer, ...]]:
    before, after = old.pointers, new.pointers
    if before is after:
        return (), (), ()
    pointed = tuple((key, value) for key, value in after.items() if key not in before)
    moved = tuple((key, value) for key, value in after.items() if before.get(key, value) != value)
    return pointed, moved, tuple(key for key in before if key not in after)


def reload_reasons(
    changes: RuntimeChanges, wanted: Needs, loaded: Needs, slots: Slots
) -> tuple[ReloadReason, ...]:
    """Why *changes* cannot be made in the running program; empty when they can.

    Args:
        changes: What has to change.
        wanted: What the new artifact needs.
        loaded: What the program was loaded with.
        slots: Its slots.
    """
    return (*_lacking(wanted, loaded, slots), *_too_long(changes), *_no_room(changes, slots, wanted))


def _lacking(wanted: Needs, loaded: Needs, slots: Slots) -> Iterator[ReloadReason]:
    if wanted is loaded:
        return
    for slot_class, origin in wanted.classes.items():
        if slot_class not in slots.pools:
            yield ReloadReason(
                f"a kind of backend that the program does not have yet: {slot_class.id}", (origin,)
            )
    for status, origin in wanted.statuses.items():
        if status not in loaded.statuses:
            yield ReloadReason(f"a response status that the program does not have yet: {status}", (origin,))
    headers = (
        ("request", wanted.request_headers, loaded.request_headers),
        ("response", wanted.response_headers, loaded.response_headers),
    )
    for where, asked, there in headers:
        for name, origin in asked.items():
            if name not in there:
                yield ReloadReason(f"a {where} header that the program does not have yet: {name}", (origin,))
    for feature, origin in wanted.features.items():
        if feature not in loaded.features:
            yield ReloadReason(f"a kind of policy that the program does not have yet: {feature}", (origin,))
    for order, origin in wanted.orders.items():
        if order not in loaded.orders:
            yield ReloadReason("an order of policies that the program does not have yet", (origin,))
    if wanted.handshakes != loaded.handshakes:
        asking = wanted.handshakes.origins or loaded.handshakes.origins
        yield ReloadReason("what clients are asked for in the TLS handshake is something else now", asking)
    if wanted.host_fallthrough != loaded.host_fallthrough:
        yield ReloadReason("falling through from one host to a wider one is now decided otherwise")
    if wanted.paths != loaded.paths:
        yield ReloadReason("paths are now brought into another normal form")


def _too_long(changes: RuntimeChanges) -> Iterator[ReloadReason]:
    pems = [(str(bundle.secret), bundle.pem) for bundle in (*changes.issued, *changes.renewed)]
    if changes.default is not None:
        pems.append(("the default", changes.default))
    pems += (("for endpoints", item.pem) for item in changes.identities)
    for name, pem in pems:
        if len(pem) > MAX_PAYLOAD_BYTES:
            yield ReloadReason(f"the certificate {name} is longer than HAProxy takes without a reload")
    if any(sum(map(len, line.names)) + len(line.names) > _LONGEST_NAMES for line in changes.listed):
        yield ReloadReason("a list of server names is longer than HAProxy takes without a reload")


def _no_room(changes: RuntimeChanges, slots: Slots, wanted: Needs) -> Iterator[ReloadReason]:
    for slot_class, count in Counter(item.slot_class for item in changes.placed).items():
        # A class that is not there at all is a reason of its own.
        if slot_class in slots.pools and not slots.fits(slot_class, count):
            free, size = slots.free(slot_class), slots.pools[slot_class]
            origin = wanted.classes.get(slot_class)
            yield ReloadReason(
                f"{count} slots of the kind {slot_class.id} are needed, and {free} of {size} are free",
                () if origin is None else (origin,),
                frozenset(
                    ObjectKey(item.key.namespace, item.key.service)
                    for item in changes.placed
                    if item.slot_class == slot_class
                ),
            )
