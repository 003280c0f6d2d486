"""Where requests go beside their backend: for the delegate, in both modes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from ingresskit.policies import AccessLog, FallbackService, Mirror, Policy
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = ["DYNAMIC", "STATIC"]


class _FallbackService(PolicyHandler[FallbackService, object]):
    """nginx would take the status of the page, and send the fields of the client along."""

    policy: type[Policy] = FallbackService
    limitations: tuple[Loss, ...] = (
        Loss(message="cannot keep the status of an error whose page it asks for", support=Support.DELEGATED),
    )

    @override
    def losses(self, policy: FallbackService) -> Iterable[Loss]:
        del policy
        return self.limitations

    @override
    def honoured(self, policy: FallbackService) -> Policy | None:
        return None


class _Mirror(PolicyHandler[Mirror, object]):
    """nginx's copies of a request hold up the next one on the connection until they are responded to."""

    policy: type[Policy] = Mirror
    limitations: tuple[Loss, ...] = (
        Loss(
            message="lets the next request of a connection wait for a copy",
            support=Support.DELEGATED,
        ),
    )

    @override
    def losses(self, policy: Mirror) -> Iterable[Loss]:
        return self.limitations if policy.target is not None else ()

    @override
    def honoured(self, policy: Mirror) -> Policy | None:
        return None


class _AccessLog(PolicyHandler[AccessLog, object]):
    """The program's log has every request; of those that it hands over, that of the delegate counts."""

    policy: type[Policy] = AccessLog
    limitations: tuple[Loss, ...] = (Loss(message="logs every request", support=Support.DELEGATED),)

    @override
    def losses(self, policy: AccessLog) -> Iterable[Loss]:
        return () if policy.enabled and not policy.skipped else self.limitations

    @override
    def honoured(self, policy: AccessLog) -> Policy | None:
        return None


STATIC: Final = (_AccessLog(), _FallbackService(), _Mirror())
DYNAMIC: Final = (_AccessLog(), _FallbackService(), _Mirror())
