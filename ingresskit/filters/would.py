"""What the policies of a route would do to requests that differ from the one explained: a sentence each."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from ingresskit.filters.any_of import AnyOf
from ingresskit.filters.base import Subrequest
from ingresskit.filters.decide import Decision
from ingresskit.filters.ranges import AddressRanges
from ingresskit.graph import Request
from ingresskit.policies import AllowedSources, DeniedSources, ExternalAuth, Policy, PolicySet, Stage
from ingresskit.policies.values import Network

__all__ = ["refused_by", "would_be"]

_MOST_RANGES = 4


def would_be(request: Request, decision: Decision) -> Iterator[str]:
    """What would happen to the request from other clients, as far as its policies say."""
    if decision.route is None or decision.virtual_host is None or decision.chain is None:
        return
    policies = decision.virtual_host.policies_of(decision.route)
    if request.client is None and Stage.ADDRESS not in decision.chain.shadow:
        yield from _by_address(request, decision, policies)
    asked = any(isinstance(question, Subrequest) for question in decision.questions)
    auth = policies.get(ExternalAuth)
    if asked and auth is not None:
        by = _named(policies, ExternalAuth, "url", "external-auth-url")
        where = f"would be sent to the sign-in page {auth.signin}" if auth.signin else "would get that 401"
        yield f"A client that it does not know (401) {where} by {by}."


def refused_by(request: Request, decision: Decision) -> str:
    """What keeps the client of *request* out by its address; empty where that is no policy of ours."""
    if decision.route is None or decision.virtual_host is None:
        return ""
    policies = decision.virtual_host.policies_of(decision.route)
    denied = policies.get(DeniedSources)
    try:
        client = ipaddress.ip_address(request.client or "")
    except ValueError:
        return ""
    client = getattr(client, "ipv4_mapped", None) or client
    if denied is not None and client in AddressRanges(denied.networks):
        return _named(policies, DeniedSources, "networks", "deny-sources")
    allowed = policies.get(AllowedSources)
    if allowed is not None and allowed.networks:
        return _named(policies, AllowedSources, "networks", "allow-sources")
    return ""


def _by_address(request: Request, decision: Decision, policies: PolicySet) -> Iterator[str]:
    chain = decision.chain
    guards = () if chain is None else chain.secure if request.scheme == "https" else chain.plain
    either = any(isinstance(item, AnyOf) and item.judges_addresses for item in guards)
    denied, allowed = policies.get(DeniedSources), policies.get(AllowedSources)
    if denied is not None and denied.networks:
        by = _named(policies, DeniedSources, "networks", "deny-sources")
        yield f"Clients in {_ranges(denied.networks)} would be refused by {by}."
    if allowed is not None and allowed.networks:
        by = _named(policies, AllowedSources, "networks", "allow-sources")
        fate = "need credentials, as asked for" if either else "be refused"
        yield f"Clients outside {_ranges(allowed.networks)} would {fate} by {by}."


def _named(policies: PolicySet, kind: type[Policy], field: str, name: str) -> str:
    origin = policies.origin(kind, field)
    return name if origin is None else f"{name} ({origin})"


def _ranges(networks: tuple[Network, ...]) -> str:
    shown = ", ".join(map(str, networks[:_MOST_RANGES]))
    return f"{shown} and {len(networks) - _MOST_RANGES} more" if len(networks) > _MOST_RANGES else shown
