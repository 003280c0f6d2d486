"""What objects of the cluster ask for, whichever API they belong to.

A front (`ingresskit.translate.ingress`) reads the objects of one API and turns each into a `Claimant`.
Every decision on who holds a host, a path or a server name is made between claimants, so that the objects
of two APIs compete by the same rules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from ingresskit.diagnostics import Diagnostic, Reason, printable
from ingresskit.graph import PathMatch, Unserved
from ingresskit.models import KubeObject, ObjectKey, ObjectRef, Snapshot, SnapshotChanges
from ingresskit.policies import Origin, Reading

__all__ = ["Age", "BackendFault", "Claim", "Claimant", "Front", "ServiceRef", "TlsClaim"]

Age = tuple[datetime, str, str, str]
"""See `ingresskit.models.age_order`."""

_UNKNOWN = datetime.max.replace(tzinfo=UTC)  # what age_order gives for an object without a creation time


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRef:
    """A port of a Service, as a backend names it: by name or by number.

    Attributes:
        protocol: The `ingresskit.graph.Protocol` that its author asks for; empty: what the Service names.
    """

    service: ObjectKey
    port: str | int
    protocol: str = ""

    def __str__(self) -> str:
        return f"{self.service}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendFault:
    """Why a backend cannot be resolved. Its message is made printable: `explain` shows it."""

    reason: Reason
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable(self.message))


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A path of a host that a claimant wants.

    Attributes:
        fallback: The path stands for the claimant's default backend.
        written: Path type and path as they are written, printable; empty for a fallback.
        pattern: The path as it is written, which is a regular expression on a host whose paths all are;
            empty for a fallback.
        doubt: Why the path is hardly meant as it is matched. It is reported with the host, which may turn
            the path into a regular expression: then there is no doubt.
        twin_of: The host that requests are redirected to, where this one is its twin; empty for all others.
    """

    host: str
    match: PathMatch
    backend: ServiceRef | BackendFault
    origin: Origin
    fallback: bool = False
    written: str = ""
    pattern: str = ""
    doubt: Diagnostic | None = None
    twin_of: str = ""

    @property
    def shown(self) -> str:
        """The path as its author wrote it, or its normal form."""
        return self.written or str(self.match)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsClaim:
    """A certificate that a claimant wants served.

    Attributes:
        hosts: Valid rule hosts, in the order written, each once; empty: the names of the certificate.
        fields: For each of *hosts*, the field that names it.
        secret: ``None``: the default certificate.
        twins: Names that the certificate is served for too, where it is for them.
    """

    hosts: tuple[str, ...]
    fields: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    secret: ObjectKey | None
    origin: Origin

    def names(self, host: str) -> Origin:
        """The field that names *host*, which is one of `hosts`."""
        return Origin(self.origin.subject, self.fields[self.hosts.index(host)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Claimant:
    """What one object claims. Compared by identity.

    Attributes:
        ref: The object.
        age: Its place among all claimants: the oldest wins.
        not_ours: Why the object is not served by this controller, as a clause; empty when it is. Such a
            claimant claims nothing.
        hosts: Every host it names in a rule, with the field that names it first, in that order.
        claims: Its paths, in the order written; one fallback claim per host last, when it has a
            default backend.
        catch_all: Its claim on every request that nothing else takes; ``None`` when it has rules.
        tls: Its certificates.
        promise: Who will create the Secrets that it names, as a noun; empty when nothing says so.
        policies: What its annotations mean.
        diagnostics: Its own faults.
        unserved: Rules of it that cannot be served.
        canary: It is marked as the canary of another claimant, for a controller that would share requests
            between the two. It must not take paths from its main claimant, which goes first.
        undecided: The namespace with each host that it may have a claim on: its owner is unknown for now,
            or it is over a budget. Such claims keep a host that is held, and win none.
    """

    ref: ObjectRef
    age: Age
    not_ours: str = ""
    hosts: Mapping[str, Origin] = field(default_factory=dict[str, Origin])
    claims: tuple[Claim, ...] = ()
    catch_all: Claim | None = None
    tls: tuple[TlsClaim, ...] = ()
    promise: str = ""
    policies: Reading = field(default_factory=Reading)
    diagnostics: tuple[Diagnostic, ...] = ()
    unserved: tuple[Unserved, ...] = ()
    canary: bool = False
    undecided: frozenset[tuple[str, str]] = frozenset()

    @property
    def namespace(self) -> str:
        """The namespace of its object."""
        return self.ref.key.namespace

    @property
    def created(self) -> datetime | None:
        """When its object was created; ``None`` when that is unknown."""
        return None if self.age[0] == _UNKNOWN else self.age[0]

    @property
    def precedence(self) -> tuple[bool, Age, str]:
        """A sort key that puts the claimant that wins first: the oldest; canaries after all others."""
        return self.canary, self.age, self.ref.kind


class Front(Protocol):
    """Reads the objects of one API, and produces a claimant for each.

    Attributes:
        kinds: The kinds of objects that it reads from snapshots.
        claim_kinds: The kinds of objects that make claims, as in `ingresskit.models.ObjectRef.kind`.
    """

    kinds: tuple[type[KubeObject], ...]
    claim_kinds: frozenset[str]

    @property
    def claimants(self) -> Mapping[ObjectRef, Claimant]:
        """A claimant for each object of the last snapshot, those that are not ours included."""
        ...

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Faults of other objects that the front read in the last snapshot, such as classes."""
        ...

    def advance(self, snapshot: Snapshot, changes: SnapshotChanges) -> Collection[ObjectRef]:
        """Read *snapshot*, of which *changes* are new to it.

        Returns:
            The objects whose claimant is another object now, new, or gone.
        """
        ...
