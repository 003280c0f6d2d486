"""How endpoints are chosen, tried again and waited for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

from typing_extensions import override

from ingresskit.policies import Algorithm, LoadBalancing, Retries, RetryOn, Timeouts, UpstreamTls
from ingresskit.render.delegate import HandedOver
from ingresskit.render.haproxy.artifact import MapName, SlotClass
from ingresskit.render.haproxy.lines import flagged, setting
from ingresskit.render.haproxy.policies.base import Context, Handler, SettingRow
from ingresskit.render.policies import Loss, Support

__all__ = ["CONNECT_STEPS", "HANDLERS", "step"]

CONNECT_STEPS: Final = tuple(
    timedelta(milliseconds=step)
    for step in (100, 250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000, 3_600_000)
)
"""How long connecting may take. Each is a class of slots, and its first use a reload: a tenant could ask for
one reload after another if there were no end of them."""

_ONE_TIMEOUT: Final = Loss(
    field="send",
    message="has one timeout for both directions, that of read-timeout",
    support=Support.DELEGATED,
    requests=HandedOver.LONG_BODY,
)


_NO_TIMES: Final = Loss(
    field="algorithm",
    message="does not know how long requests took",
    effect="the endpoint with the fewest requests is chosen",
)
_VERIFICATION: Final = Loss(
    field="verify",
    message="takes the common name of a certificate for a name of it, and chains of any length",
    support=Support.DELEGATED,
    closes=True,
    effect="the route responds 503",
)
_CAUSES: Final = Loss(
    field="on",
    message="has the causes of another try in its configuration: only error, with or without timeout",
    support=Support.DELEGATED,
    effect="error alone causes another try",
)
_WITHIN: Final = Loss(field="within", message="has no end for further tries", support=Support.DELEGATED)
_BUDGET: Final = Loss(
    field="budget",
    message="has no bound for further tries of all requests together",
    support=Support.DELEGATED,
)
_WHOLE: Final = Loss(field="request", message="has no time for whole requests", support=Support.DELEGATED)


class _LoadBalancing(Handler[LoadBalancing]):
    """A part of the slot class.

    The times of endpoints are not worth a delegate: to ask for the one with the fewest requests is nearly the
    same, and costs nothing.
    """

    policy = LoadBalancing
    limitations = (_NO_TIMES,)

    @override
    def losses(self, policy: LoadBalancing) -> Iterator[Loss]:
        if policy.algorithm is Algorithm.EWMA:
            yield _NO_TIMES

    @override
    def slot_class(self, policy: LoadBalancing, base: SlotClass) -> SlotClass:
        if base.algorithm is Algorithm.CLIENT_HASH:
            return base  # of `HashBy`, which goes first
        timed = policy.algorithm is Algorithm.EWMA
        return replace(base, algorithm=Algorithm.LEAST_CONNECTIONS if timed else policy.algorithm)


class _Retries(Handler[Retries]):
    """A part of the slot class."""

    policy = Retries
    limitations = (_CAUSES, _WITHIN, _BUDGET)

    @override
    def losses(self, policy: Retries) -> Iterator[Loss]:
        if not policy.attempts:
            return
        if RetryOn.ERROR not in policy.on or not {RetryOn.ERROR, RetryOn.TIMEOUT}.issuperset(policy.on):
            yield _CAUSES
        if policy.within is not None:
            yield _WITHIN
        if policy.budget is not None:
            yield _BUDGET

    @override
    def slot_class(self, policy: Retries, base: SlotClass) -> SlotClass:
        late = bool(policy.attempts) and RetryOn.TIMEOUT in policy.on
        return replace(base, retries=policy.attempts, late=late)


class _Timeouts(Handler[Timeouts]):
    """The one to connect is a part of the slot class; HAProxy has one for both directions: that to read."""

    policy = Timeouts
    limitations = (_ONE_TIMEOUT, _WHOLE)
    flag = "r"
    words = "How long the endpoint may be silent."

    @override
    def losses(self, policy: Timeouts) -> Iterator[Loss]:
        if policy.send is not None and policy.send != policy.read:
            yield _ONE_TIMEOUT
        if policy.request is not None:
            yield _WHOLE

    @override
    def rows(self, policy: Timeouts) -> Iterator[SettingRow]:
        if policy.read is not None:
            yield MapName.SETTINGS, "read-timeout", str(policy.read // timedelta(milliseconds=1))

    @override
    def slot_class(self, policy: Timeouts, base: SlotClass) -> SlotClass:
        return replace(base, connect=step(policy.connect))

    @override
    def backend(self, context: Context) -> Iterator[str]:
        on = flagged(self.flag)
        yield f"set-var(txn.read_timeout) {setting('read-timeout')},add(0) if {on}"
        yield f"set-timeout server var(txn.read_timeout) if {on}"
        yield f"set-timeout tunnel var(txn.read_timeout) if {on}"


class _UpstreamTls(Handler[UpstreamTls]):
    """Words of the servers of a backend; see `ingresskit.render.haproxy.servers`.

    Certificates that must be verified are the delegate's: where that of an endpoint has DNS names and none of
    them fits, HAProxy goes on to its common name (2.6 to 3.2), and it has no bound for the length of a chain.
    """

    policy = UpstreamTls
    limitations = (_VERIFICATION,)

    @override
    def losses(self, policy: UpstreamTls) -> Iterator[Loss]:
        if policy.verifies:
            yield _VERIFICATION


HANDLERS: Final = (_UpstreamTls(), _LoadBalancing(), _Retries(), _Timeouts())


def step(connect: timedelta | None) -> timedelta | None:
    """The least of the times that HAProxy may be given which is not shorter; the longest for longer ones."""
    if connect is None:
        return None
    return next((step for step in CONNECT_STEPS if connect <= step), CONNECT_STEPS[-1])
