"""The backends that routes forward to, with their endpoints: resolved again only when these may be others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from ingresskit._ledger import Ledger
from ingresskit._sorted_map import SortedMap
from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import Backend, BackendKey, Forward, VirtualHost
from ingresskit.models import ObjectKey, ObjectRef, Service
from ingresskit.policies import EndpointPreference, NearBy, PolicySet, ServiceUpstream, UpstreamTls
from ingresskit.translate.backends import BackendTable

__all__ = ["BackendPlane", "HostChange"]


class HostChange(NamedTuple):
    """A host whose routes changed: the backends that it needed, those that it needs, and its routes now.

    Each backend has the policies that its key stands for, with the fields where an object of the host asked.
    """

    before: Mapping[BackendKey, PolicySet]
    after: Mapping[BackendKey, PolicySet]
    host: VirtualHost | None


class BackendPlane:
    """The backends of one graph after another.

    Args:
        table: Finds the endpoints of a backend.
        notes: Gets the faults of Services, and the routes that lead to no endpoint.
    """

    def __init__(self, table: BackendTable, notes: Ledger[ObjectRef, Diagnostic]) -> None:
        self._table = table
        self._notes = notes
        self._users: dict[BackendKey, dict[str, PolicySet]] = {}
        # Of backends with policies, the first host by name: where its objects asked stands in the graph.
        self._first: dict[BackendKey, str] = {}
        self._of_service: dict[ObjectKey, set[BackendKey]] = {}
        self._backends: SortedMap[BackendKey, Backend] = SortedMap(_itself)
        self._without_endpoints: dict[BackendKey, str] = {}

    @property
    def backends(self) -> Mapping[BackendKey, Backend]:
        """Exactly the backends that a route forwards to."""
        return self._backends.mapping()

    def advance(
        self,
        changed: Mapping[str, HostChange],
        services: Collection[ObjectKey],
        hosts: SortedMap[str, VirtualHost],
    ) -> frozenset[BackendKey]:
        """Follow changes of routes and of Services.

        Args:
            changed: The hosts whose routes changed.
            services: The Services that changed, or whose endpoints may have.
            hosts: All hosts.

        Returns:
            The backends that are other objects now, new, or gone.
        """
        moved: set[BackendKey] = set()
        stale = {key for service in services for key in self._of_service.get(service, ())}
        for name, change in changed.items():
            for key in change.before.keys() - change.after.keys():
                del self._users[key][name]
                moved.add(key)
                if self._first.get(key) == name:
                    # Without users it has no first one: another host may begin to use it in the same pass.
                    del self._first[key]
                    if users := self._users[key]:
                        self._first[key] = min(users)
                    stale.add(key)
            for key, policies in change.after.items():
                users = self._users.setdefault(key, {})
                if name not in users:
                    moved.add(key)
                users[name] = policies
                if key.policies and name <= self._first.get(key, name):
                    self._first[key] = name
                    stale.add(key)
        concerned = set(changed)
        different: set[BackendKey] = set()
        for key in moved | stale:
            if not self._users.get(key):
                self._drop(key)
                different.add(key)
            elif key in stale or key not in self._backends:
                if self._resolve(key):
                    concerned.update(self._users[key])
                    different.add(key)
        for name in concerned:
            host = hosts.get(name)
            found = () if host is None else _routes_without_endpoints(host, self._without_endpoints)
            self._notes.put(("endpoints", name), found)
        return frozenset(different)

    def _resolve(self, key: BackendKey) -> bool:
        """Look for the endpoints of a backend; whether it is another object than before."""
        resolved, before = self._table.backend(key._replace(policies="")), self._backends.get(key)
        backend, diagnostics = resolved.backend, resolved.diagnostics
        if key.policies:
            backend, more = self._with_policies(backend, key, self._users[key][self._first[key]])
            diagnostics += more
        self._notes.put(("backend", key), diagnostics)
        self._of_service.setdefault(_service(key), set()).add(key)
        if before == backend:
            return False
        self._backends.put(key, backend)
        if backend.endpoints:
            self._without_endpoints.pop(key, None)
        else:
            self._without_endpoints[key] = backend.note
        return True

    def _with_policies(
        self, backend: Backend, key: BackendKey, policies: PolicySet
    ) -> tuple[Backend, tuple[Diagnostic, ...]]:
        """*backend* as routes with these policies have it."""
        more: tuple[Diagnostic, ...] = ()
        wanted = policies.get(ServiceUpstream)
        if wanted is not None:
            # Its endpoints say it: no renderer needs to know.
            policies = policies.without(ServiceUpstream)
            if wanted.enabled:
                backend, more = self._table.of_service(backend)
        preference = policies.get(EndpointPreference)
        if preference is not None:
            policies = policies.without(EndpointPreference)
            if preference.near is not NearBy.HINTS and (wanted is None or not wanted.enabled):
                backend = self._table.near(backend, preference.near)
        return _within_reach(replace(backend, key=key, policies=policies)), more

    def _drop(self, key: BackendKey) -> None:
        self._users.pop(key, None)
        self._first.pop(key, None)
        self._backends.drop(key)
        self._without_endpoints.pop(key, None)
        self._notes.put(("backend", key))
        keys = self._of_service.get(_service(key), set())
        keys.discard(key)
        if not keys:
            self._of_service.pop(_service(key), None)


def _within_reach(backend: Backend) -> Backend:
    """*backend* without endpoints, where these cannot be verified although they must be."""
    tls = backend.policies.get(UpstreamTls)
    if tls is None or not tls.verifies or backend.protocol.is_secure or not backend.endpoints:
        return backend
    note = f"endpoints must be verified, and speak {backend.protocol} without TLS"
    return replace(backend, endpoints=(), note=note)


def _routes_without_endpoints(host: VirtualHost, notes: Mapping[BackendKey, str]) -> Iterator[Diagnostic]:
    """A warning for each route with a backend that is a key of *notes*, which say why it has no endpoint."""
    if not notes:
        return
    stream = host.stream
    if stream is not None and isinstance(stream.action, Forward):
        empty = [share.key for share in stream.action.backends if share.key in notes]
        if len(empty) == len(stream.action.backends):
            yield Diagnostic(
                subject=stream.origin.subject,
                field=stream.origin.field,
                reason=Reason.NO_ENDPOINTS,
                message=f"{notes[empty[0]]}; TLS connections for the host {host.host} are closed",
                severity=Severity.WARNING,
                related=(ObjectRef(Service.kind, _service(empty[0])),),
            )
    for route in host.routes:
        if not isinstance(route.action, Forward):
            continue
        shares = route.action.backends
        for share in shares:
            if share.key in notes:
                effect = "the route responds 503"
                if len(shares) > 1:
                    effect = "its share goes to the others"
                elif route.action.fallback is not None:
                    effect = f"its requests go to {route.action.fallback}"
                yield Diagnostic(
                    subject=route.origin.subject,
                    field=route.origin.field,
                    reason=Reason.NO_ENDPOINTS,
                    message=f"{notes[share.key]}; {effect}",
                    severity=Severity.WARNING,
                    related=(ObjectRef(Service.kind, _service(share.key)),),
                )


def _service(key: BackendKey) -> ObjectKey:
    return ObjectKey(key.namespace, key.service)


def _itself(key: BackendKey) -> BackendKey:
    return key
