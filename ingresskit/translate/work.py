"""The order of work from a snapshot to a route graph.

Every step keeps its results and the inputs that they were made of. A change is handed from step to step as
the set of things that it touches, and each step visits these only:

1. Objects: each is read by its front (`ingress`): is it ours, what does it claim. Then the budgets of
   namespaces.
2. Claims: which of the backends that a claimant names exist (`backends`, `resolved`).
3. Holders: which namespace holds a host that something changed for (`holders`).
4. Server names: which certificate is served for a name (`tls`).
5. Hosts: which path goes where (`hosts`).
6. Endpoints of the backends that routes need (`backend_plane`).

What the parts say about objects is kept in two ledgers, sorted. The result is the same, byte for byte, as
that of a translation from scratch: `tests/properties/test_translation.py` holds it to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime

from ingresskit._ledger import Ledger
from ingresskit._sorted_map import SortedMap
from ingresskit.diagnostics import Diagnostic, Reason, Severity, bounded
from ingresskit.errors import DecodeError, ProblemCause
from ingresskit.graph import ANY_HOST, BackendKey, GraphKeys, RouteGraph, Unserved, VirtualHost
from ingresskit.models import (
    NO_CLAIMS,
    HostClaims,
    Namespace,
    ObjectKey,
    ObjectRef,
    Secret,
    Snapshot,
    SnapshotChanges,
)
from ingresskit.policies import PolicySet
from ingresskit.translate.backend_plane import BackendPlane, HostChange
from ingresskit.translate.backends import BackendTable, Resolution
from ingresskit.translate.budgets import NamespaceBudgets
from ingresskit.translate.certificates import CertificateTable
from ingresskit.translate.claim_index import ClaimIndex
from ingresskit.translate.claims import Claimant, Front, ServiceRef
from ingresskit.translate.expiry import ExpiryTable
from ingresskit.translate.fronts import foreign_annotations
from ingresskit.translate.holders import HolderTable
from ingresskit.translate.host_inputs import Held, HostInputs
from ingresskit.translate.hosts import DecidedHost, decide_host
from ingresskit.translate.options import TranslateOptions
from ingresskit.translate.ports import PortTable
from ingresskit.translate.reservations import ReservationTable
from ingresskit.translate.resolved import ResolvedClaims, backend_refs
from ingresskit.translate.tls import TlsTable
from ingresskit.translate.unseen import UnseenClaims, namespaces_in_doubt

__all__ = ["Translation", "Work"]

_NOBODY = Held()
_NO_KEYS: Mapping[BackendKey, PolicySet] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """A route graph, and everything that is wrong with what it was made of.

    Attributes:
        diagnostics: Sorted by subject, field, reason and message; each once; of each subject and
            reason at most 100, and one that says how many more there are.
        claims: The record of claims that should follow: the one of the next snapshot (`Snapshot.claims`).
            The same object as before for as long as nothing changes hands. Empty when hosts are shared.
        due: When a grace period ends next: translating again then may change something though no object
            did; ``None`` when none runs.
        not_ours: For each object that this controller does not serve because it is not ours, why, as a
            clause; sorted by kind, namespace and name.
    """

    graph: RouteGraph
    diagnostics: tuple[Diagnostic, ...] = ()
    claims: HostClaims = NO_CLAIMS
    due: datetime | None = None
    not_ours: Mapping[ObjectRef, str] = field(default_factory=dict[ObjectRef, str])


class Work:
    """Everything that a translator remembers between two snapshots.

    Args:
        options: What the integrator decides.
        fronts: The APIs whose objects make claims.
        retain: Go on serving the last good certificate of a Secret.
    """

    def __init__(self, options: TranslateOptions, fronts: Iterable[Front], *, retain: bool) -> None:
        self._options = options
        self._fronts = tuple(fronts)
        self._claim_kinds = frozenset[str]().union(*(front.claim_kinds for front in self._fronts))
        self._snapshot: Snapshot | None = None
        self._notes: Ledger[ObjectRef, Diagnostic] = Ledger(_subject, bounded)
        self._unserved: Ledger[ObjectRef, Unserved] = Ledger(_rule_subject, _in_order)
        self._of_fronts: dict[int, tuple[Diagnostic, ...]] = {}
        self._claimants: dict[ObjectRef, Claimant] = {}
        self._not_ours: SortedMap[ObjectRef, str] = SortedMap(_itself)
        self._undecided: dict[tuple[str, str], int] = {}
        self._unseen = UnseenClaims()
        self._budgets = NamespaceBudgets(options.budgets)
        self._index = ClaimIndex()
        self._reservations = ReservationTable(
            required=options.require_namespace_hosts, guards_wide=options.guard_wide_hosts
        )
        self._reserved: object = None
        self._other_reservations = False
        self._holders = HolderTable(options, self._index, self._notes)
        self._certificates = CertificateTable(retain=retain)
        self._tls = TlsTable(
            self._index, self._holders, self._certificates, options.default_certificate, self._notes
        )
        self._expiry = ExpiryTable(self._notes)
        self._catch_all: ResolvedClaims | None = None
        self._default_backend: Resolution | None = None
        self._decided: dict[str, tuple[HostInputs, DecidedHost]] = {}
        self._hosts: SortedMap[str, VirtualHost] = SortedMap(_host_order)
        self._table = BackendTable(options.destinations, foreign_annotations(options), options.place)
        self._backends = BackendPlane(self._table, self._notes)
        self._ports = PortTable(options, self._table, self._notes)
        self._graph: RouteGraph | None = None

    def advance(self, snapshot: Snapshot, now: datetime | None) -> Translation:
        """The translation of *snapshot*, the one after the last."""
        before = self._snapshot or Snapshot()
        changes = snapshot.since(before)
        if snapshot.problems != before.problems:
            self._notes.put("problems", map(_unreadable, snapshot.problems))
        self._snapshot = snapshot
        self._table.advance(snapshot, changes)
        claims = self._resolve(self._read(snapshot, changes))
        touched = self._index.update(claims)
        touched |= self._decide_holders(snapshot, changes, touched, now)
        self._certificates.advance(snapshot.by_key(Secret), changes.of(Secret))
        tls = self._tls.advance(claims.keys(), changes.of(Secret), touched, everything=self._other_reservations)
        self._expiry.advance(tls.certificates, now)
        decided = self._decide_hosts(touched | tls.hosts)
        ports = self._ports.advance(snapshot)
        hosts = frozenset(host for host, change in decided.items() if self._place(host, change.host))
        backends = self._backends.advance({**decided, **ports}, self._table.forgotten, self._hosts)
        self._ports.report(self._backends.backends)
        self._graph = self._next_graph(hosts, backends, frozenset(tls.certificates), tls.server_names)
        return Translation(
            graph=self._graph,
            diagnostics=self._notes.all(),
            claims=self._holders.claims,
            due=self._holders.due,
            not_ours=self._not_ours.mapping(),
        )

    def _read(self, snapshot: Snapshot, changes: SnapshotChanges) -> Mapping[ObjectRef, Claimant | None]:
        """Step 1: the claimants that are other objects now, new, or gone (``None``)."""
        read: dict[ObjectRef, Claimant | None] = {}
        for number, front in enumerate(self._fronts):
            for ref in front.advance(snapshot, changes):
                read[ref] = front.claimants.get(ref)
            if front.diagnostics != self._of_fronts.get(number, ()):
                self._of_fronts[number] = front.diagnostics
                self._notes.put(("front", number), front.diagnostics)
        after = self._budgets.within(read)
        in_doubt = False
        for ref, claimant in after.items():
            before = self._claimants.pop(ref, None)
            in_doubt |= self._count_undecided(before, -1) | self._count_undecided(claimant, 1)
            if claimant is None:
                self._notes.put(("object", ref))
                self._unserved.put(("object", ref))
                self._not_ours.drop(ref)
                continue
            self._claimants[ref] = claimant
            self._notes.put(("object", ref), claimant.diagnostics)
            self._unserved.put(("object", ref), claimant.unserved)
            if claimant.not_ours:
                self._not_ours.put(ref, claimant.not_ours)
            else:
                self._not_ours.drop(ref)
        by_labels = self._options.scope.namespace_selector is not None
        silent = namespaces_in_doubt(snapshot.problems, self._claim_kinds, by_labels=by_labels)
        if in_doubt or silent != self._unseen.namespaces:
            self._unseen = UnseenClaims(namespaces=silent, hosts=frozenset(self._undecided))
        return after

    def _count_undecided(self, claimant: Claimant | None, more: int) -> bool:
        if claimant is None or not claimant.undecided:
            return False
        for place in claimant.undecided:
            count = self._undecided.get(place, 0) + more
            if count:
                self._undecided[place] = count
            else:
                del self._undecided[place]
        return True

    def _resolve(
        self, claimants: Mapping[ObjectRef, Claimant | None]
    ) -> dict[ObjectRef, ResolvedClaims | None]:
        """Step 2: the claims that are other ones now, new, or gone (``None``)."""
        after: dict[ObjectRef, ResolvedClaims | None] = {}
        for ref, claimant in claimants.items():
            if claimant is not None and not claimant.not_ours:
                after[ref] = self._claims_of(claimant)
            elif ref in self._index.by_claimant:
                after[ref] = None
        for service in self._table.changed_services:
            for ref in self._index.using(service):
                known = self._index.by_claimant[ref]
                if ref not in after and not self._still_resolved(known):
                    after[ref] = self._claims_of(known.claimant)
        for ref, claims in after.items():
            self._notes.put(("claims", ref), () if claims is None else claims.diagnostics)
        return after

    def _claims_of(self, claimant: Claimant) -> ResolvedClaims:
        resolutions = {ref: self._table.resolve(ref) for ref in backend_refs(claimant)}
        return ResolvedClaims.of(claimant, resolutions)

    def _still_resolved(self, claims: ResolvedClaims) -> bool:
        resolve = self._table.resolve
        return all(resolve(ref) == resolution for ref, resolution in claims.resolutions.items())

    def _decide_holders(
        self, snapshot: Snapshot, changes: SnapshotChanges, touched: Set[str], now: datetime | None
    ) -> set[str]:
        """Step 3: the hosts on which the hold is another one now."""
        reservations = self._reservations.advance(snapshot.by_key(Namespace), changes.of(Namespace))
        self._other_reservations = reservations is not self._reserved
        if self._other_reservations:
            self._reserved = reservations
            self._notes.put("reservations", reservations.diagnostics)
        return self._holders.advance(touched, snapshot.claims, reservations, self._unseen, now)

    def _decide_hosts(self, dirty: Set[str]) -> dict[str, HostChange]:
        """Step 5: the hosts that were decided again."""
        again = set(dirty)
        own = self._resolve_default_backend()
        any_host = self._index.by_host.get(ANY_HOST, ())
        held = self._holders.held(ANY_HOST) if any_host else _NOBODY
        catch_all = _catch_all(any_host, held)
        if own != self._default_backend or catch_all is not self._catch_all:
            self._default_backend, self._catch_all = own, catch_all
            again.update(self._index.by_host, self._decided)
            if own is not None:
                again.add(ANY_HOST)
        decided: dict[str, HostChange] = {}
        for host in again:
            items = self._index.by_host.get(host, ())
            known = self._decided.get(host)
            if not items and not (host == ANY_HOST and own is not None):
                if self._decided.pop(host, None) is not None and known is not None:
                    decided[host] = HostChange(known[1].needs, _NO_KEYS, None)
                    self._notes.put(("host", host))
                    self._unserved.put(("host", host))
                continue
            held = self._holders.held(host) if items else _NOBODY
            default = catch_all if _may_default(catch_all, held.owner) else None
            tls = self._tls.has_tls(host, held.owner)
            if known is not None and known[0].are(items, held, default, own, tls):
                continue
            inputs = HostInputs(
                host=host, claims=items, held=held, default=default, default_backend=own, tls=tls
            )
            result = decide_host(inputs)
            if known is not None and known[1].host == result.host:
                result = replace(result, host=known[1].host)
            self._decided[host] = (inputs, result)
            self._notes.put(("host", host), result.diagnostics)
            self._unserved.put(("host", host), result.unserved)
            needed = known[1].needs if known is not None else _NO_KEYS
            decided[host] = HostChange(needed, result.needs, result.host)
        return decided

    def _resolve_default_backend(self) -> Resolution | None:
        default = self._options.default_backend
        if default is None:
            return None
        service = self._table.service(default.service)
        first = service.spec.ports[0].port if service is not None and service.spec.ports else 80
        resolution = self._table.resolve(ServiceRef(service=default.service, port=default.port or first))
        if resolution != self._default_backend:
            self._notes.put("default backend", _default_backend_fault(resolution))
        return resolution

    def _place(self, name: str, host: VirtualHost | None) -> bool:
        """Serve *host* under its name; whether that is another object than before."""
        if host is self._hosts.get(name):
            return False
        if host is None:
            self._hosts.drop(name)
        else:
            self._hosts.put(name, host)
        return True

    def _next_graph(
        self,
        hosts: frozenset[str],
        backends: frozenset[BackendKey],
        certificates: frozenset[ObjectKey],
        server_names: frozenset[str],
    ) -> RouteGraph:
        before = self._graph
        default, unserved = self._tls.default, self._unserved.all()
        if before is not None and not (hosts or backends or certificates or server_names):
            same_ports = before.ports is self._ports.ports
            if before.default_certificate == default and before.unserved is unserved and same_ports:
                return before
        return RouteGraph(
            hosts=self._hosts.mapping(),
            after=(before, GraphKeys(hosts, backends, certificates, server_names)),
            virtual_hosts=self._hosts.values(),
            backends=self._backends.backends,
            certificates=self._tls.certificates,
            server_names=self._tls.server_names,
            default_certificate=default,
            ports=self._ports.ports,
            host_fallthrough=self._options.host_fallthrough,
            paths=self._options.paths,
            unserved=unserved,
        )


def _catch_all(items: Iterable[ResolvedClaims], held: Held) -> ResolvedClaims | None:
    """The oldest claims of an object without rules that may serve all hosts."""
    return next((item for item in items if item.claimant.catch_all and held.admits(item.namespace)), None)


def _may_default(catch_all: ResolvedClaims | None, owner: str | None) -> bool:
    """Whether a catch-all takes what a host's own rules leave: of a host with an owner, its owner's does."""
    return catch_all is not None and owner in (None, catch_all.namespace)


def _default_backend_fault(resolution: Resolution | None) -> Iterable[Diagnostic]:
    if resolution is not None and resolution.fault is not None:
        message = f"{resolution.fault.message}; it is the default backend, and its routes respond 503"
        yield Diagnostic(subject=resolution.service, field="", reason=resolution.fault.reason, message=message)


def _unreadable(problem: DecodeError) -> Diagnostic:
    where = f"{problem.location}: " if problem.location else ""
    return Diagnostic(
        subject=ObjectRef(problem.kind, ObjectKey(problem.namespace, problem.name)),
        field=problem.field,
        reason=Reason(problem.cause.value),
        message=f"{where}{problem.reason}",
        # What is not written costs nothing that is served.
        severity=Severity.WARNING if problem.cause is ProblemCause.WRITE_REFUSED else Severity.ERROR,
    )


def _subject(note: Diagnostic) -> ObjectRef:
    return note.subject


def _rule_subject(item: Unserved) -> ObjectRef:
    return item.origin.subject


def _in_order(items: Iterable[Unserved]) -> list[Unserved]:
    return sorted(items, key=_unserved_order)


def _unserved_order(item: Unserved) -> tuple[str, str, str, str, str]:
    return (item.origin.field, item.host, item.path, item.reason, item.message)


def _host_order(host: str) -> tuple[bool, bool, str]:
    return (host == ANY_HOST, host.startswith("*."), host)


def _itself(ref: ObjectRef) -> ObjectRef:
    return ref
