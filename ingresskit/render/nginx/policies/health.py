"""Which endpoints are well: for the delegate, in both modes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import HealthCheck, PassiveHealth, Policy, SlowStart
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = ["DYNAMIC", "STATIC"]


class _PassiveHealth(PolicyHandler[PassiveHealth, object]):
    """nginx leaves an endpoint alone for one fixed time, and each worker judges alone."""

    policy: type[Policy] = PassiveHealth
    limitations: tuple[Loss, ...] = (
        Loss(message="has no ejections that last longer each time", support=Support.DELEGATED),
    )

    @override
    def losses(self, policy: PassiveHealth) -> Iterable[Loss]:
        return self.limitations if policy.enabled else ()

    @override
    def honoured(self, policy: PassiveHealth) -> Policy | None:
        return None if policy.enabled else policy


class _HealthCheck(PolicyHandler[HealthCheck, object]):
    """Checks are a commercial module of nginx."""

    policy: type[Policy] = HealthCheck
    limitations: tuple[Loss, ...] = (Loss(message="does not check endpoints", support=Support.DELEGATED),)

    @override
    def losses(self, policy: HealthCheck) -> Iterable[Loss]:
        return () if policy.path is None else self.limitations

    @override
    def honoured(self, policy: HealthCheck) -> Policy | None:
        return policy if policy.path is None else None


class _SlowStart(PolicyHandler[SlowStart, object]):
    """``slow_start`` is a part of nginx's commercial subscription."""

    policy: type[Policy] = SlowStart
    limitations: tuple[Loss, ...] = (
        Loss(message="has one share for an endpoint from its beginning", support=Support.DELEGATED),
    )

    @override
    def losses(self, policy: SlowStart) -> Iterable[Loss]:
        return self.limitations if policy.window else ()

    @override
    def honoured(self, policy: SlowStart) -> Policy | None:
        return None if policy.window else policy


STATIC: Final = (_HealthCheck(), _PassiveHealth(), _SlowStart())
DYNAMIC: Final = (_HealthCheck(), _PassiveHealth(), _SlowStart())
