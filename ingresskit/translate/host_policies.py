"""The policies of a host, which several objects may want otherwise: those of the oldest hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import Respond
from ingresskit.models import ObjectRef
from ingresskit.policies import Origin, Policy, PolicySet
from ingresskit.translate.resolved import ResolvedClaims

__all__ = ["HostPolicies", "decide_host_policies"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPolicies:
    """What holds for a host, and who wanted something else.

    Attributes:
        closes: The response of every route of the host, where a protection of all of it cannot be built.
        closed: Objects that want a protection of the host which it does not get, and the response of their
            routes in its place.
    """

    policies: PolicySet = PolicySet()
    closes: Respond | None = None
    closed: Mapping[ObjectRef, Respond] = field(default_factory=dict[ObjectRef, Respond])
    diagnostics: tuple[Diagnostic, ...] = ()


_NONE = HostPolicies()


def decide_host_policies(host: str, items: Sequence[ResolvedClaims]) -> HostPolicies:
    """The policies of *host*.

    Each type of policy is that of the oldest object that asks for it; one that no annotation asks for,
    which a dialect holds by default, counts only where none asks.

    Args:
        host: Its name, for messages.
        items: Those that are served on the host, oldest first.
    """
    wanted = [item for item in items if item.host_policies or item.claimant.policies.host_faults]
    if not wanted:
        return _NONE
    holders: dict[type[Policy], ResolvedClaims] = {}
    for asked in (True, False):
        for item in wanted:
            if asked:
                for kind, _ in item.claimant.policies.host_faults:
                    holders.setdefault(kind, item)
            for policy in item.host_policies:
                if asked is bool(item.host_policies.origins(type(policy))):
                    holders.setdefault(type(policy), item)
    policies = PolicySet()
    closes: Respond | None = None
    for kind, holder in holders.items():
        fault = next((item for of, item in holder.claimant.policies.host_faults if of is kind), None)
        if fault is not None:
            message = f"{fault.subject}, {fault.field} is not honoured and would protect the host"
            closes = Respond(status=503, reason=fault.reason, message=message)
            continue
        others = (type(policy) for policy in holder.host_policies if type(policy) is not kind)
        policies = policies.merged(holder.host_policies.without(*others))
    closed: dict[ObjectRef, Respond] = {}
    diagnostics: list[Diagnostic] = []
    for item in wanted:
        for policy in item.host_policies:
            kind = type(policy)
            origins = item.host_policies.origins(kind)
            if policy == policies.get(kind) or not (origins or kind.protects):
                continue
            held = f"{kind.__name__} of the host {host} is decided by the older {holders[kind].claimant.ref}"
            effect = "the routes of this object respond 503" if kind.protects else "it is ignored"
            diagnostics += _conflict(item, origins.values(), f"{held}; {effect}", protects=kind.protects)
            if kind.protects:
                closed[item.claimant.ref] = Respond(status=503, reason=Reason.ROUTE_CONFLICT, message=held)
    return HostPolicies(policies=policies, closes=closes, closed=closed, diagnostics=tuple(diagnostics))


def _conflict(
    item: ResolvedClaims, origins: Iterable[Origin], message: str, *, protects: bool
) -> Iterable[Diagnostic]:
    subject = item.claimant.ref
    for place in sorted({origin.field for origin in origins}) or [""]:
        yield Diagnostic(
            subject=subject,
            field=place,
            reason=Reason.ROUTE_CONFLICT if protects else Reason.ANNOTATION_IGNORED,
            message=message,
            severity=Severity.ERROR if protects else Severity.WARNING,
        )
