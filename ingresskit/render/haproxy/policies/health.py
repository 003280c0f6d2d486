"""Which endpoints are well: for the delegate.

HAProxy ejects a server for no time that grows, and knows no bound for how many are ejected; what checks ask
for stands in its file, and each would be a reload.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import HealthCheck, PassiveHealth, Policy, SlowStart
from ingresskit.render.haproxy.policies.base import Handler
from ingresskit.render.policies import Loss, Support

__all__ = ["HANDLERS"]


class _PassiveHealth(Handler[PassiveHealth]):
    """HAProxy takes a server that failed requests in again as soon as it takes connections."""

    policy = PassiveHealth
    limitations = (
        Loss(message="takes a server in again as soon as it takes connections", support=Support.DELEGATED),
    )

    @override
    def losses(self, policy: PassiveHealth) -> Iterable[Loss]:
        return self.limitations if policy.enabled else ()

    @override
    def honoured(self, policy: PassiveHealth) -> Policy | None:
        return None if policy.enabled else policy


class _HealthCheck(Handler[HealthCheck]):
    """What is asked for stands in the file."""

    policy = HealthCheck
    limitations = (Loss(message="has what checks ask for in its configuration", support=Support.DELEGATED),)

    @override
    def losses(self, policy: HealthCheck) -> Iterable[Loss]:
        return () if policy.path is None else self.limitations

    @override
    def honoured(self, policy: HealthCheck) -> Policy | None:
        return policy if policy.path is None else None


class _SlowStart(Handler[SlowStart]):
    """A server that is taken in again after each failed connection would begin anew each time."""

    policy = SlowStart
    limitations = (Loss(message="begins slowly after each failed connection too", support=Support.DELEGATED),)

    @override
    def losses(self, policy: SlowStart) -> Iterable[Loss]:
        return self.limitations if policy.window else ()

    @override
    def honoured(self, policy: SlowStart) -> Policy | None:
        return None if policy.window else policy


HANDLERS: Final = (_HealthCheck(), _PassiveHealth(), _SlowStart())
