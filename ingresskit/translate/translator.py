"""The order of work from a snapshot to a route graph.

A pure function made incremental by memory: every step depends on immutable inputs, is kept with
them, and is done again only when one of them is another object.

1. Each object by itself, read by its front (`ingress`): is it ours, what does it claim. Kept while the
   object and its classes stay.
2. Which backends exist (`backends`). Kept while their Services stay.
3. Each host: who holds it (`holders`), which path goes where (`hosts`). Kept while its claimants,
   the record of claims and the administrator's reservations stay.
4. Certificates (`tls`).
5. Endpoints (`backends`). Kept while the slices of their Service stay.

When only endpoints changed, steps 1 to 4 are skipped whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import TypeVar

from ingresskit.diagnostics import Diagnostic, Reason, Severity, bounded
from ingresskit.errors import DecodeError, ProblemCause
from ingresskit.facts import fact_logger
from ingresskit.graph import (
    ANY_HOST,
    Backend,
    BackendKey,
    Forward,
    RouteGraph,
    Unserved,
    VirtualHost,
)
from ingresskit.models import (
    NO_CLAIMS,
    HostClaims,
    KubeObject,
    Namespace,
    ObjectKey,
    ObjectRef,
    Secret,
    Service,
    Snapshot,
)
from ingresskit.policies import Origin
from ingresskit.translate.backends import BackendTable, Resolution, ResolvedBackend
from ingresskit.translate.budgets import NamespaceBudgets
from ingresskit.translate.certificates import CertificateTable
from ingresskit.translate.claims import Age, Claimant, Front, ServiceRef
from ingresskit.translate.fronts import default_fronts, foreign_annotations
from ingresskit.translate.holders import Holders, HolderTable
from ingresskit.translate.hosts import DecidedHost, Held, HostInputs, decide_host
from ingresskit.translate.options import TranslateOptions
from ingresskit.translate.reservations import ReservationTable
from ingresskit.translate.resolved import ResolvedClaims, backend_refs
from ingresskit.translate.tls import TlsPlane, build_tls, expiries
from ingresskit.translate.unseen import UnseenClaims, namespaces_in_doubt

__all__ = ["Translation", "Translator", "translate"]

_logger = fact_logger(__name__)

K = TypeVar("K", bound=KubeObject)

_NOBODY = Held()


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


def translate(
    snapshot: Snapshot, options: TranslateOptions | None = None, *, now: datetime | None = None
) -> Translation:
    """The route graph of *snapshot*.

    Pure: equal snapshots give equal translations whatever the order of their objects. Never raises
    for what users of a cluster write.

    Args:
        snapshot: What the cluster holds, and who holds which host already.
        options: What the integrator decides; the defaults when left out.
        now: To report certificates that have expired, to stamp new claims on hosts, and to end grace
            periods; ``None`` reports none, stamps none, and grants no grace.
    """
    return Translator(options, retain=False).translate(snapshot, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Routes:
    """Steps 1 to 4, done: everything but the endpoints."""

    virtual_hosts: tuple[VirtualHost, ...] = ()
    needed: tuple[BackendKey, ...] = ()
    tls: TlsPlane = field(default_factory=TlsPlane)
    unserved: tuple[Unserved, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    claims: HostClaims = NO_CLAIMS
    due: datetime | None = None
    not_ours: Mapping[ObjectRef, str] = field(default_factory=dict[ObjectRef, str])


class Translator:
    """Translates one snapshot after another, doing only the work that the changes ask for.

    The graphs share structure: a host, backend or certificate that did not change is the same object
    in successive graphs. Not safe to use from two threads at once.

    Args:
        options: What the integrator decides; the defaults when left out.
        retain: Go on serving the last good certificate of a Secret whose new content is no good. The
            one thing in which a translation depends on the snapshots before.
        fronts: The APIs whose objects make claims, each for this translator alone; Ingresses when left out.
    """

    def __init__(
        self,
        options: TranslateOptions | None = None,
        *,
        retain: bool = True,
        fronts: Iterable[Front] | None = None,
    ) -> None:
        self._options = options or TranslateOptions()
        self._fronts = tuple(default_fronts(self._options) if fronts is None else fronts)
        self._claim_kinds = frozenset[str]().union(*(front.claim_kinds for front in self._fronts))
        read = chain.from_iterable(front.kinds for front in self._fronts)
        self._kinds = tuple(dict.fromkeys((*read, Service, Secret, Namespace)))
        self._budgets = NamespaceBudgets(self._options.budgets)
        self._backends = BackendTable(self._options.destinations, foreign_annotations(self._options))
        self._certificates = CertificateTable(retain=retain)
        self._inputs: tuple[object, ...] | None = None
        self._record = NO_CLAIMS
        self._silent: frozenset[str] = frozenset()
        self._resolved_claims: dict[ObjectRef, ResolvedClaims] = {}
        self._hosts: dict[str, tuple[HostInputs, DecidedHost]] = {}
        self._holders = HolderTable(self._options)
        self._reservations = ReservationTable(
            required=self._options.require_namespace_hosts, guards_wide=self._options.guard_wide_hosts
        )
        self._routes = _Routes()
        self._backend_plane: Mapping[BackendKey, Backend] = {}
        self._resolved_for: _Routes | None = None
        self._resolved: dict[BackendKey, ResolvedBackend] = {}
        self._needed_of: dict[ObjectKey, list[BackendKey]] = {}
        self._last: Translation | None = None

    def translate(self, snapshot: Snapshot, *, now: datetime | None = None) -> Translation:
        """The route graph of *snapshot*. See `translate`."""
        self._backends.advance(snapshot)
        record = snapshot.claims
        if self._inputs is not None and record is self._routes.claims:
            record = self._record  # its own result changes nothing
        inputs = (*(snapshot.objects.get(kind) for kind in self._kinds), record)
        by_labels = self._options.scope.namespace_selector is not None
        silent = namespaces_in_doubt(snapshot.problems, self._claim_kinds, by_labels=by_labels)
        due = self._routes.due
        if (
            self._inputs is None
            or any(a is not b for a, b in zip(inputs, self._inputs, strict=True))
            or silent != self._silent
            or (due is not None and now is not None and now >= due)
        ):
            self._silent = silent
            self._routes = self._translate_routes(snapshot, now)
            self._inputs = inputs
            self._record = record
        return self._assemble(snapshot, now)

    def _translate_routes(self, snapshot: Snapshot, now: datetime | None) -> _Routes:
        self._certificates.advance(snapshot.by_key(Secret))
        claimants = self._affordable([item for front in self._fronts for item in front.read(snapshot)])
        resolved = self._resolve_claims(claimants)
        by_host: dict[str, list[ResolvedClaims]] = {}
        for item in resolved:
            for host in item.claimed_hosts:
                by_host.setdefault(host, []).append(item)
        undecided = frozenset(chain.from_iterable(item.undecided for item in claimants if item.undecided))
        unseen = UnseenClaims(namespaces=self._silent, hosts=undecided)
        reservations = self._reservations.advance(snapshot.by_key(Namespace))
        holders = self._holders.decide(by_host, snapshot.claims, reservations, unseen, now)
        default_backend = self._default_backend()
        tls = build_tls(
            (item.claimant for item in resolved),
            holders,
            self._certificates,
            self._options.default_certificate,
        )
        decided = self._decide(by_host, holders, tls, default_backend)
        needed = set[BackendKey]().union(*(item.needs for item in decided))
        diagnostics = chain(
            chain.from_iterable(front.diagnostics for front in self._fronts),
            chain.from_iterable(item.diagnostics for item in claimants),
            chain.from_iterable(item.diagnostics for item in resolved),
            chain.from_iterable(item.diagnostics for item in decided),
            holders.diagnostics,
            reservations.diagnostics,
            tls.diagnostics,
            _default_backend_fault(default_backend),
        )
        unserved = chain(
            chain.from_iterable(item.unserved for item in claimants),
            chain.from_iterable(item.unserved for item in decided),
        )
        return _Routes(
            virtual_hosts=tuple(sorted((item.host for item in decided if item.host), key=_host_order)),
            needed=tuple(sorted(needed)),
            tls=tls,
            unserved=tuple(sorted(unserved, key=_unserved_order)),
            diagnostics=tuple(diagnostics),
            claims=holders.claims,
            due=holders.due,
            not_ours={
                item.ref: item.not_ours
                for item in sorted((item for item in claimants if item.not_ours), key=lambda item: item.ref)
            },
        )

    def _affordable(self, claimants: list[Claimant]) -> list[Claimant]:
        """*claimants*, in which one that is over the budget of its namespace claims nothing."""
        if not self._budgets.limited:
            return claimants
        ours = sorted((item for item in claimants if not item.not_ours), key=_precedence)
        refused = self._budgets.refused(ours)
        return [refused.get(item.ref, item) for item in claimants]

    def _resolve_claims(self, claimants: Iterable[Claimant]) -> list[ResolvedClaims]:
        """Step 2, for those that are ours, oldest first."""
        after: dict[ObjectRef, ResolvedClaims] = {}
        changed = self._backends.changed_services
        for claimant in sorted((item for item in claimants if not item.not_ours), key=_precedence):
            known = self._resolved_claims.get(claimant.ref)
            if (
                known is None
                or known.claimant is not claimant
                or not (known.services.isdisjoint(changed) or self._still_resolved(known))
            ):
                resolutions = {ref: self._backends.resolve(ref) for ref in backend_refs(claimant)}
                known = ResolvedClaims.of(claimant, resolutions)
            after[claimant.ref] = known
        self._resolved_claims = after
        return list(after.values())

    def _still_resolved(self, claims: ResolvedClaims) -> bool:
        resolve = self._backends.resolve
        return all(resolve(ref) == resolution for ref, resolution in claims.resolutions.items())

    def _default_backend(self) -> Resolution | None:
        default = self._options.default_backend
        if default is None:
            return None
        service = self._backends.service(default.service)
        first = service.spec.ports[0].port if service is not None and service.spec.ports else 80
        return self._backends.resolve(ServiceRef(service=default.service, port=default.port or first))

    def _decide(
        self,
        by_host: dict[str, list[ResolvedClaims]],
        holders: Holders,
        tls: TlsPlane,
        default_backend: Resolution | None,
    ) -> list[DecidedHost]:
        """Step 3."""
        if default_backend is not None:
            by_host.setdefault(ANY_HOST, [])
        any_host = holders.by_host.get(ANY_HOST, _NOBODY)
        catch_all = _catch_all(by_host.get(ANY_HOST, []), any_host)
        after: dict[str, tuple[HostInputs, DecidedHost]] = {}
        for host, items in by_host.items():
            held = holders.by_host.get(host, _NOBODY)
            default = catch_all if _may_default(catch_all, held.owner) else None
            has_tls = tls.has_tls(host, held.owner)
            known = self._hosts.get(host)
            if known is None or not known[0].are(items, held, default, default_backend, has_tls):
                inputs = HostInputs(
                    host=host,
                    claims=tuple(items),
                    held=held,
                    default=default,
                    default_backend=default_backend,
                    tls=has_tls,
                )
                known = (inputs, decide_host(inputs))
            after[host] = known
        self._hosts = after
        return [decided for _, decided in after.values()]

    def _resolve_backends(self) -> Mapping[BackendKey, ResolvedBackend]:
        """The backends that the routes need, in their order; as before, except for what was forgotten."""
        routes, table = self._routes, self._backends
        stale = [key for service in table.forgotten for key in self._needed_of.get(service, ())]
        if self._resolved_for is routes:
            for key in stale:
                self._resolved[key] = table.backend(key)
            return self._resolved
        self._resolved_for, before = routes, self._resolved
        for key in before.keys() - set(routes.needed):
            service = ObjectKey(key.namespace, key.service)
            self._needed_of[service].remove(key)
            if not self._needed_of[service]:
                del self._needed_of[service]
        for key in routes.needed:
            if key not in before:
                self._needed_of.setdefault(ObjectKey(key.namespace, key.service), []).append(key)
        gone = set(stale)
        known = {key: item for key, item in before.items() if key not in gone} if gone else before
        self._resolved = {key: known.get(key) or table.backend(key) for key in routes.needed}
        return self._resolved

    def _assemble(self, snapshot: Snapshot, now: datetime | None) -> Translation:
        """Step 5, and the graph."""
        routes, before = self._routes, self._last
        resolved = self._resolve_backends()
        plane = self._backend_plane
        if len(plane) != len(resolved) or any(
            plane.get(key) is not item.backend for key, item in resolved.items()
        ):
            self._backend_plane = plane = {key: item.backend for key, item in resolved.items()}
        empty = {key: item.note for key, item in plane.items() if not item.endpoints}
        diagnostics = bounded(
            chain(
                routes.diagnostics,
                chain.from_iterable(item.diagnostics for item in resolved.values() if item.diagnostics),
                _without_endpoints(routes.virtual_hosts, empty),
                map(_unreadable, snapshot.problems),
                expiries(routes.tls.certificates.values(), now) if now else (),
            )
        )
        graph = RouteGraph(
            virtual_hosts=routes.virtual_hosts,
            backends=plane,
            certificates=routes.tls.certificates,
            server_names=routes.tls.server_names,
            default_certificate=routes.tls.default,
            host_fallthrough=self._options.host_fallthrough,
            paths=self._options.paths,
            unserved=routes.unserved,
        )
        if before is not None and before.graph == graph:
            graph = before.graph
        self._last = Translation(
            graph=graph,
            diagnostics=diagnostics,
            claims=routes.claims,
            due=routes.due,
            not_ours=routes.not_ours,
        )
        return self._last


def _precedence(item: Claimant) -> tuple[bool, Age, str]:
    return item.precedence


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


def _without_endpoints(hosts: Iterable[VirtualHost], empty: Mapping[BackendKey, str]) -> Iterable[Diagnostic]:
    if not empty:
        return
    for host in hosts:
        for route in host.routes:
            if not isinstance(route.action, Forward):
                continue
            shares = route.action.backends
            for share in shares:
                if share.key in empty:
                    effect = "its share goes to the others" if len(shares) > 1 else "the route responds 503"
                    yield Diagnostic(
                        subject=route.origin.subject,
                        field=route.origin.field,
                        reason=Reason.NO_ENDPOINTS,
                        message=f"{empty[share.key]}; {effect}",
                        severity=Severity.WARNING,
                        related=(ObjectRef(Service.kind, ObjectKey(share.key.namespace, share.key.service)),),
                    )


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


def _host_order(host: VirtualHost) -> tuple[bool, bool, str]:
    return (host.host == ANY_HOST, host.host.startswith("*."), host.host)


def _unserved_order(item: Unserved) -> tuple[ObjectRef, str, str, str, str]:
    origin: Origin = item.origin
    return (origin.subject, origin.field, item.host, item.path, item.reason)
