"""How a request is sent to an endpoint: time-outs, retries, and how the endpoint is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

from typing_extensions import override

from ingresskit.policies import Algorithm, LoadBalancing, Policy, Retries, RetryOn, Timeouts, UpstreamTls
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.nginx.tree import Directive, Value, Variable
from ingresskit.render.nginx.values import duration
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = [
    "DYNAMIC",
    "STATIC",
    "DynamicLoadBalancing",
    "DynamicRetries",
    "DynamicTimeouts",
    "DynamicUpstreamTls",
    "StaticLoadBalancing",
    "StaticRetries",
    "StaticTimeouts",
    "StaticUpstreamTls",
]


_METHODS: Final[Mapping[Algorithm, tuple[Directive, ...]]] = {
    Algorithm.ROUND_ROBIN: (),
    Algorithm.LEAST_CONNECTIONS: (Directive("least_conn"),),
    Algorithm.RANDOM: (Directive("random", ("two", "least_conn")),),
    Algorithm.CLIENT_HASH: (Directive("hash", (Value(Variable("remote_addr")), "consistent")),),
    Algorithm.EWMA: (Directive("least_conn"),),
}
_COUNTING: Final = (Algorithm.LEAST_CONNECTIONS, Algorithm.RANDOM, Algorithm.EWMA)
_NO_TIMES: Final = Loss(
    field="algorithm",
    message="does not know how long requests took",
    effect="the endpoint with the fewest requests is chosen",
)


_OTHER_CAUSES: Final = Loss(
    field="on",
    message="has the causes of another try in its configuration: only error, with or without timeout",
    support=Support.DELEGATED,
    effect="error alone causes another try",
)
_BUDGET: Final = Loss(
    field="budget",
    message="has no bound for further tries of all requests together",
    support=Support.DELEGATED,
)
_WHOLE: Final = Loss(field="request", message="has no time for whole requests", support=Support.DELEGATED)


class StaticLoadBalancing(PolicyHandler[LoadBalancing, StaticDraft]):
    """``least_conn`` and its like, in the upstream of the backend."""

    policy: type[Policy] = LoadBalancing
    limitations: tuple[Loss, ...] = (_NO_TIMES,)

    @override
    def losses(self, policy: LoadBalancing) -> Iterable[Loss]:
        return self.limitations if policy.algorithm is Algorithm.EWMA else ()

    @override
    def contribute(self, policy: LoadBalancing, draft: StaticDraft) -> None:
        if draft.balance:
            return  # of `HashBy`, which goes first
        draft.balance = _METHODS[policy.algorithm]
        draft.shares_counts = policy.algorithm in _COUNTING


class DynamicLoadBalancing(PolicyHandler[LoadBalancing, DynamicDraft]):
    """The member ``balance`` of the backend."""

    policy: type[Policy] = LoadBalancing

    @override
    def contribute(self, policy: LoadBalancing, draft: DynamicDraft) -> None:
        if policy.algorithm is not Algorithm.ROUND_ROBIN:
            draft.upstream["balance"] = str(policy.algorithm)


class StaticRetries(PolicyHandler[Retries, StaticDraft]):
    """``proxy_next_upstream`` and what belongs to it; the number of tries counts the first one too.

    nginx has one word for all time-outs, so that silence is a cause wherever a connection that is not made is.
    """

    policy: type[Policy] = Retries
    limitations: tuple[Loss, ...] = (_BUDGET,)

    @override
    def losses(self, policy: Retries) -> Iterable[Loss]:
        return self.limitations if policy.attempts and policy.budget is not None else ()

    @override
    def contribute(self, policy: Retries, draft: StaticDraft) -> None:
        if policy.attempts:
            draft.settings.append(Directive("proxy_next_upstream_tries", (str(policy.attempts + 1),)))
            if not {RetryOn.ERROR, RetryOn.TIMEOUT}.issuperset(policy.on) or RetryOn.ERROR not in policy.on:
                draft.settings.append(Directive("proxy_next_upstream", tuple(_causes(policy))))
            if policy.within is not None:
                draft.settings.append(Directive("proxy_next_upstream_timeout", (duration(policy.within),)))
        else:
            draft.settings.append(Directive("proxy_next_upstream", ("off",)))


class DynamicRetries(PolicyHandler[Retries, DynamicDraft]):
    """The members ``retries``, ``late`` and ``within``, in seconds.

    What causes another try stands in nginx's configuration: no connection, no response, and silence.
    """

    policy: type[Policy] = Retries
    limitations: tuple[Loss, ...] = (_OTHER_CAUSES, _BUDGET)

    @override
    def losses(self, policy: Retries) -> Iterable[Loss]:
        if not policy.attempts:
            return
        if RetryOn.ERROR not in policy.on or not {RetryOn.ERROR, RetryOn.TIMEOUT}.issuperset(policy.on):
            yield _OTHER_CAUSES
        if policy.budget is not None:
            yield _BUDGET

    @override
    def contribute(self, policy: Retries, draft: DynamicDraft) -> None:
        if policy.attempts != 1:
            draft.upstream["retries"] = policy.attempts
        if policy.attempts and RetryOn.TIMEOUT in policy.on:
            draft.upstream["late"] = True
        if policy.attempts and policy.within is not None:
            draft.upstream["within"] = policy.within / timedelta(seconds=1)


class StaticTimeouts(PolicyHandler[Timeouts, StaticDraft]):
    """``proxy_connect_timeout`` and its like."""

    policy: type[Policy] = Timeouts
    limitations: tuple[Loss, ...] = (_WHOLE,)

    @override
    def losses(self, policy: Timeouts) -> Iterable[Loss]:
        return self.limitations if policy.request is not None else ()

    @override
    def contribute(self, policy: Timeouts, draft: StaticDraft) -> None:
        for name, value in _timeouts(policy):
            draft.settings.append(Directive(f"proxy_{name}_timeout", (duration(value),)))


class DynamicTimeouts(PolicyHandler[Timeouts, DynamicDraft]):
    """The members ``connect``, ``read`` and ``send``, in seconds."""

    policy: type[Policy] = Timeouts
    limitations: tuple[Loss, ...] = (_WHOLE,)

    @override
    def losses(self, policy: Timeouts) -> Iterable[Loss]:
        return self.limitations if policy.request is not None else ()

    @override
    def contribute(self, policy: Timeouts, draft: DynamicDraft) -> None:
        for name, value in _timeouts(policy):
            draft.upstream[name] = value / timedelta(seconds=1)


_TLS_FILES: Final = Loss(
    message="has no certificates for endpoints in its configuration", support=Support.DELEGATED
)


class StaticUpstreamTls(PolicyHandler[UpstreamTls, StaticDraft]):
    """``proxy_ssl_verify`` and its like, in the locations that lead to the backend.

    See `ingresskit.render.nginx.static.upstream_tls`.
    """

    policy: type[Policy] = UpstreamTls


class DynamicUpstreamTls(PolicyHandler[UpstreamTls, DynamicDraft]):
    """Left to the delegate."""

    policy: type[Policy] = UpstreamTls
    limitations: tuple[Loss, ...] = (_TLS_FILES,)

    @override
    def losses(self, policy: UpstreamTls) -> Iterable[Loss]:
        return self.limitations


def _causes(policy: Retries) -> Iterable[str]:
    if not policy.on:
        yield "off"
    words = {RetryOn.MALFORMED: "invalid_header", RetryOn.NON_IDEMPOTENT: "non_idempotent"}
    for cause in policy.on:
        yield f"http_{cause}" if cause.status is not None else words.get(cause, str(cause))
    if RetryOn.ERROR in policy.on and RetryOn.TIMEOUT not in policy.on:
        yield "timeout"


def _timeouts(policy: Timeouts) -> list[tuple[str, timedelta]]:
    named = (("connect", policy.connect), ("read", policy.read), ("send", policy.send))
    return [(name, value) for name, value in named if value is not None]


STATIC: Final = (
    StaticLoadBalancing(),
    StaticRetries(),
    StaticTimeouts(),
    StaticUpstreamTls(),
)
DYNAMIC: Final = (
    DynamicLoadBalancing(),
    DynamicRetries(),
    DynamicTimeouts(),
    DynamicUpstreamTls(),
)
