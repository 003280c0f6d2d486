"""Connections that are passed on as they are, without a look at the requests in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ingresskit.policies.base import Policy, PolicyScope, annotated
from ingresskit.policies.order import Stage
from ingresskit.policies.values import parse_boolean

__all__ = ["TlsPassthrough"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPassthrough(Policy):
    """TLS connections for the host are passed on to its endpoints, which have the certificate and the key.

    The proxy reads the server name in the first message of the handshake, and nothing else. All connections
    for the host go to the backend of its path ``/``. Plain HTTP for the host is served as for any other.

    What acts on requests cannot act on such connections: a protection of that kind closes the host to TLS,
    everything else is reported. `AllowedSources` and `DeniedSources` hold for connections.

    Attributes:
        enabled: Whether it is so. The oldest object that names the host decides.
    """

    protects: ClassVar[bool] = True
    scope: ClassVar[PolicyScope] = PolicyScope.HOST
    stage: ClassVar[Stage] = Stage.CERTIFICATE

    enabled: bool = annotated(
        "tls-passthrough",
        parse_boolean,
        default=False,
        grammar="`true` or `false`",
        summary="Pass TLS connections for the host on to the endpoints of its path `/` as they are.",
    )
