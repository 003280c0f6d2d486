"""Hosts whose TLS connections are passed on as they are: who decides that, where to, and what cannot hold then.

Of a host, TLS ends here or at endpoints, for all of its paths: a connection does not say which path it is for.
The oldest object that names the host decides; what the others ask for is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import (
    ANY_HOST,
    BackendKey,
    Close,
    Forward,
    PathMatch,
    Protocol,
    Respond,
    Route,
    StreamRoute,
    WeightedBackend,
    solves_http01,
)
from ingresskit.models import ObjectRef
from ingresskit.policies import (
    AccessLog,
    AllowedSources,
    DeniedSources,
    LoadBalancing,
    Origin,
    PlainHttp,
    Policy,
    PolicyScope,
    PolicySet,
    Shadow,
    Stage,
    Timeouts,
    TlsPassthrough,
    TlsRedirect,
    identity_of,
)
from ingresskit.translate.resolved import ResolvedClaims

__all__ = ["Asked", "DecidedStream", "asked_for", "decide_stream"]

_ROOTS: Final = (PathMatch.prefix("/"), PathMatch.exact("/"))
_LISTS: Final = (AllowedSources, DeniedSources)
# What acts on plain HTTP alone, and what holds for connections as it does for requests.
_PLAIN: Final = frozenset[type[Policy]]({TlsPassthrough, PlainHttp, TlsRedirect})
_KEPT: Final = frozenset[type[Policy]]({*_LISTS, LoadBalancing, Shadow, AccessLog, Timeouts})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asks for the connections of a host.

    Attributes:
        holder: The object that decides that they are passed on; ``None``: TLS ends here.
        closed: Objects that ask for it and do not decide, and the response of their routes in its place.
    """

    holder: ResolvedClaims | None = None
    closed: Mapping[ObjectRef, Respond] = field(default_factory=dict[ObjectRef, Respond])
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedStream:
    """What is done with the connections.

    Attributes:
        needs: The backends that they go to, and the policies of these.
    """

    stream: StreamRoute | None = None
    needs: Mapping[BackendKey, PolicySet] = field(default_factory=dict[BackendKey, PolicySet])
    diagnostics: tuple[Diagnostic, ...] = ()


_NOTHING: Final = Asked()


def asked_for(host: str, items: Sequence[ResolvedClaims]) -> Asked:
    """Who asks for the connections of *host*.

    Args:
        host: A rule host.
        items: Those that are served on it and are no canaries, oldest first.
    """
    wanting = [item for item in items if _wants(item)]
    if not wanting:
        return _NOTHING
    oldest = items[0]
    closed: dict[ObjectRef, Respond] = {}
    diagnostics: list[Diagnostic] = []
    for item in wanting:
        if host == ANY_HOST:
            reason = Reason.ANNOTATION_UNSUPPORTED
            message = "connections can be passed on for a host only, as they name one and no path"
        elif item is oldest:
            continue
        elif _wants(oldest):
            continue  # they agree
        else:
            reason = Reason.ROUTE_CONFLICT
            message = f"TLS for the host {host} ends here, as the older {oldest.claimant.ref} has it"
        closed[item.claimant.ref] = Respond(status=503, reason=reason, message=message)
        diagnostics.append(
            _diagnostic(_origin(item), reason, f"{message}; the routes of this object there respond 503")
        )
    holder = oldest if host != ANY_HOST and _wants(oldest) else None
    return Asked(holder=holder, closed=closed, diagnostics=tuple(diagnostics))


def decide_stream(
    host: str,
    asked: Asked,
    items: Sequence[ResolvedClaims],
    routes: Sequence[Route],
    policies: PolicySet,
    closes: Respond | None,
) -> DecidedStream:
    """What is done with the connections of *host*.

    Args:
        host: A rule host.
        asked: Who asks for them.
        items: As for `asked_for`.
        routes: Those of the host.
        policies: Those of the host.
        closes: What every route of the host responds, where a protection of all of it is not built.
    """
    holder = asked.holder
    if holder is None:
        return DecidedStream()
    origin = _origin(holder)
    by_match = {route.match: route for route in routes if not route.selection}
    root = next((by_match[match] for match in _ROOTS if match in by_match), None)
    diagnostics = [*_others(host, holder, items, routes)]
    close = _close(host, root, items, routes, policies, closes)
    if close is not None or root is None or not isinstance(root.action, Forward):
        close = close or Close(message="nothing takes its path /")
        message = f"{close.message}; TLS connections for the host {host} are closed"
        diagnostics.append(_diagnostic(origin, close.reason or Reason.ANNOTATION_INVALID, message))
        stream = StreamRoute(action=close, origin=origin)
        return DecidedStream(stream=stream, diagnostics=tuple(diagnostics))
    taker = next((item for item in items if item.claimant.ref == root.origin.subject), holder)
    diagnostics += _unheld(host, taker, policies.merged(root.policies).merged(taker.backend_policies))
    held = _for_backends(taker)
    identity = identity_of(held)
    keys = {
        share.key._replace(protocol=str(Protocol.TCP), policies=identity): share.weight
        for share in root.action.backends
    }
    stream = StreamRoute(
        action=Forward(backends=tuple(WeightedBackend(key, keys[key]) for key in sorted(keys))),
        origin=origin,
        policies=_for_connections(root.policies),
    )
    return DecidedStream(stream=stream, needs=dict.fromkeys(keys, held), diagnostics=tuple(diagnostics))


def _wants(item: ResolvedClaims) -> bool:
    policy = item.claimant.policies.policies.get(TlsPassthrough)
    return policy is not None and policy.enabled


def _origin(item: ResolvedClaims) -> Origin:
    found = item.claimant.policies.policies.origin(TlsPassthrough, "enabled")
    return found or Origin(item.claimant.ref, "")


def _close(
    host: str,
    root: Route | None,
    items: Sequence[ResolvedClaims],
    routes: Sequence[Route],
    policies: PolicySet,
    closes: Respond | None,
) -> Close | None:
    """Why no connection may be passed on; ``None``: it may.

    A connection may hold requests for any path: what protects one of them, and cannot look at requests now,
    closes them all.
    """
    if closes is not None:
        return Close(reason=closes.reason, message=closes.message)
    for item in items:
        if (fault := item.claimant.policies.protection_fault) is not None:
            return Close(reason=fault.reason, message=f"{fault.field} of {item.claimant.ref} is not honoured")
    lists = None if root is None else _lists(root)
    for route in routes:
        for policy in policies.merged(route.policies):
            kind = type(policy)
            if not kind.protects or kind in _PLAIN or kind in _LISTS or kind.scope is PolicyScope.BACKEND:
                continue
            if _on_trial(route.policies, kind.stage):
                continue
            message = f"{kind.__name__} protects {route.shown} of {host}, and cannot act on connections"
            return Close(reason=Reason.ANNOTATION_UNSUPPORTED, message=message)
        if lists is not None and _lists(route) != lists and not solves_http01(route):
            message = f"{route.shown} of {host} lets other addresses in than the path / does"
            return Close(reason=Reason.ANNOTATION_UNSUPPORTED, message=message)
    if root is None:
        return Close(reason=Reason.ROUTE_CONFLICT, message=f"no rule of {host} is for the path /")
    match root.action:
        case Respond(reason=reason, message=message):
            return Close(reason=reason, message=message or "its path / is closed")
        case Forward():
            if root.fallback and all(item.claimant.ref != root.origin.subject for item in items):
                message = f"no rule of {host} is for the path /"
                return Close(reason=Reason.ROUTE_CONFLICT, message=message)
            return None
        case _:
            message = f"the path / of {host} is redirected, which connections cannot be"
            return Close(reason=Reason.ANNOTATION_UNSUPPORTED, message=message)


def _lists(route: Route) -> tuple[Policy | None, ...]:
    if _on_trial(route.policies, Stage.ADDRESS):
        return (None, None)
    return tuple(route.policies.get(kind) for kind in _LISTS)


def _on_trial(policies: PolicySet, stage: Stage) -> bool:
    shadow = policies.get(Shadow)
    return shadow is not None and stage in shadow.stages


def _for_connections(policies: PolicySet) -> PolicySet:
    """What of *policies* holds for connections."""
    kept = [kind for kind in _LISTS if not _on_trial(policies, Stage.ADDRESS)]
    found = policies.without(*(type(policy) for policy in policies if type(policy) not in kept))
    timeouts, asked = policies.get(Timeouts), policies.origins(Timeouts)
    if timeouts is None or not asked:
        # The defaults of a dialect are for requests: a connection may be silent for longer.
        return found
    own = Timeouts(
        connect=timeouts.connect if "connect" in asked else None,
        read=timeouts.read if "read" in asked else None,
    )
    kept_origins = {name: asked[name] for name in ("connect", "read") if name in asked}
    return found.merged(PolicySet((own,), {Timeouts: kept_origins})) if kept_origins else found


def _for_backends(item: ResolvedClaims) -> PolicySet:
    """The policies of backends that hold for connections."""
    held = item.backend_policies
    return held.without(*(type(policy) for policy in held if type(policy) is not LoadBalancing))


def _others(
    host: str, holder: ResolvedClaims, items: Sequence[ResolvedClaims], routes: Sequence[Route]
) -> Iterator[Diagnostic]:
    """The objects whose paths are not reached over TLS, as the oldest decided for them."""
    served = {route.origin.subject for route in routes if not solves_http01(route)}
    for item in items:
        if item is holder or _wants(item) or item.claimant.ref not in served:
            continue
        message = (
            f"TLS connections for the host {host} are passed on, as the older {holder.claimant.ref} asks;"
            " what this object has there is reached over plain HTTP only"
        )
        place = item.names(host)
        yield _diagnostic(place, Reason.ROUTE_CONFLICT, message, Severity.WARNING, holder.claimant.ref)


def _unheld(host: str, item: ResolvedClaims, policies: PolicySet) -> Iterator[Diagnostic]:
    """A warning for each annotation whose policy cannot act on connections."""
    for policy in policies:
        kind = type(policy)
        if kind in _PLAIN or kind in _KEPT:
            continue
        for origin in sorted(set(policies.origins(kind).values())):
            message = (
                f"TLS connections for the host {host} are passed on as they are, and this acts on requests:"
                " it holds over plain HTTP only"
            )
            if origin.subject == item.claimant.ref:
                yield _diagnostic(origin, Reason.ANNOTATION_IGNORED, message, Severity.WARNING)


def _diagnostic(
    origin: Origin,
    reason: Reason,
    message: str,
    severity: Severity = Severity.ERROR,
    *related: ObjectRef,
) -> Diagnostic:
    return Diagnostic(
        subject=origin.subject,
        field=origin.field,
        reason=reason,
        message=message,
        severity=severity,
        related=related,
    )
