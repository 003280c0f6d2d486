"""Where requests go beside their backend: for the delegate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import AccessLog, FallbackService, Mirror, Policy
from ingresskit.render.haproxy.policies.base import Handler
from ingresskit.render.policies import Loss, Support

__all__ = ["HANDLERS"]


class _FallbackService(Handler[FallbackService]):
    """HAProxy has sent the response on when it could ask another backend."""

    policy: type[Policy] = FallbackService
    limitations: tuple[Loss, ...] = (
        Loss(message="asks no second backend about a request", support=Support.DELEGATED),
    )

    @override
    def losses(self, policy: FallbackService) -> Iterable[Loss]:
        del policy
        return self.limitations

    @override
    def honoured(self, policy: FallbackService) -> Policy | None:
        return None


class _Mirror(Handler[Mirror]):
    """HAProxy sends a request to one server."""

    policy: type[Policy] = Mirror
    limitations: tuple[Loss, ...] = (Loss(message="sends no copies of requests", support=Support.DELEGATED),)

    @override
    def losses(self, policy: Mirror) -> Iterable[Loss]:
        return self.limitations if policy.target is not None else ()

    @override
    def honoured(self, policy: Mirror) -> Policy | None:
        return None


class _AccessLog(Handler[AccessLog]):
    """The program's log has every request; of those that it hands over, that of the delegate counts."""

    policy: type[Policy] = AccessLog
    limitations: tuple[Loss, ...] = (Loss(message="logs every request", support=Support.DELEGATED),)

    @override
    def losses(self, policy: AccessLog) -> Iterable[Loss]:
        return () if policy.enabled and not policy.skipped else self.limitations

    @override
    def honoured(self, policy: AccessLog) -> Policy | None:
        return None


HANDLERS: Final = (_AccessLog(), _FallbackService(), _Mirror())
