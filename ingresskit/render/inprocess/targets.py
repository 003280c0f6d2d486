"""From a route to its target: its chain of filters, and what its policies say about endpoints."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ingresskit.filters import BUILTIN_EFFECTS, Chain, PassedOnFilter, PolicyEffects, chain_of
from ingresskit.graph import (
    Action,
    Forward,
    Route,
    VirtualHost,
    is_open,
    redirects_to_tls,
    refuses_plain_http,
    solves_http01,
)
from ingresskit.policies import (
    BandwidthLimit,
    ConnectionUse,
    HttpVersion,
    Order,
    PolicySet,
    RequestBuffering,
    Retries,
    RetryOn,
    Timeouts,
    UpstreamConnection,
)
from ingresskit.render.inprocess.table import ResponseEdits, RetryRule, Target

__all__ = ["TargetMaker"]


class TargetMaker:
    """Makes the targets of one virtual host.

    The paths of an Ingress share their policies, and may be ten thousand: what does not depend on the
    path is worked out once.
    """

    def __init__(self, host: VirtualHost, effects: PolicyEffects = BUILTIN_EFFECTS) -> None:
        self._host = host
        self._effects = effects
        self._made: dict[tuple[PolicySet, Order, Action | None, bool, bool, bool, bool], Target] = {}

    def target(self, route: Route) -> Target:
        """The target of a route of the host."""
        own = None if isinstance(route.action, Forward) else route.action
        key = (
            route.policies,
            route.order,
            own,
            redirects_to_tls(self._host, route),
            refuses_plain_http(route),
            solves_http01(route),
            is_open(route),
        )
        made = self._made.get(key)
        if made is None:
            chain = chain_of(self._host, route, effects=self._effects)
            made = _target(self._host, route, chain)
            if self._host.stream is not None:
                made = replace(made, secure=(PassedOnFilter(), *made.secure))
            self._made[key] = made
        return replace(made, route=route, matched=route.match.elements, is_variant=bool(route.selection))


def _target(host: VirtualHost, route: Route, chain: Chain) -> Target:
    policies = host.policies_of(route)
    timeouts = policies.get(Timeouts) or Timeouts()
    bandwidth = policies.get(BandwidthLimit) or BandwidthLimit()
    retries = policies.get(Retries) or Retries()
    connection = policies.get(UpstreamConnection) or UpstreamConnection()
    old = connection.version is HttpVersion.HTTP_1_0
    response = None
    if chain.response or chain.secure_response or chain.rewrites or chain.responses or chain.compression:
        response = ResponseEdits(
            plain=chain.response,
            secure=chain.secure_response,
            rewrites=chain.rewrites,
            filters=chain.responses,
        )
    local = None
    if chain.local_secure or chain.local:
        local = ResponseEdits(secure=chain.local_secure, filters=chain.local)
    return Target(
        route=route,
        host=host.host,
        matched=route.match.elements,
        plain=chain.plain,
        secure=chain.secure,
        path=chain.path,
        upstream_host=chain.host,
        request=chain.request or None,
        local=local,
        response=response,
        connect_timeout=_seconds(timeouts.connect),
        read_timeout=_seconds(timeouts.read),
        send_timeout=_seconds(timeouts.send),
        request_timeout=_seconds(timeouts.request),
        retries=retries.attempts,
        retry=_retry_rule(retries),
        max_body_bytes=chain.max_body_bytes,
        shadow=chain.shadow,
        gathered_bytes=(policies.get(RequestBuffering) or RequestBuffering()).max_bytes,
        response_rate=bandwidth.rate,
        response_rate_after=bandwidth.after,
        errors=chain.errors,
        connection=ConnectionUse.CLOSE if old else connection.use,
        http_1_0=old,
        mirror=chain.mirror,
        compression=chain.compression,
        access_log=chain.access_log,
        extended=bool(chain.errors or bandwidth.rate)
        or (retries.attempts > 0 and retries.budget is not None)
        or chain.mirror is not None
        or chain.compression is not None,
    )


def _retry_rule(policy: Retries) -> RetryRule | None:
    plain = policy.on == (RetryOn.ERROR,) and policy.within is None and policy.budget is None
    if not policy.attempts or plain:
        return None
    return RetryRule(
        error=RetryOn.ERROR in policy.on,
        timeout=RetryOn.TIMEOUT in policy.on,
        malformed=RetryOn.MALFORMED in policy.on,
        statuses=frozenset(cause.status for cause in policy.on if cause.status is not None),
        any_method=RetryOn.NON_IDEMPOTENT in policy.on,
        within=_seconds(policy.within),
        budget=policy.budget,
    )


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()
