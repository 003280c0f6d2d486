"""What the renderers of both modes have in common."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from typing_extensions import override

from ingresskit.diagnostics import Diagnostic, Reason, bounded
from ingresskit.errors import ConfigurationError
from ingresskit.graph import Backend, BackendKey, Certificate, Protocol, RouteGraph
from ingresskit.models import ObjectKey, ObjectRef, Service
from ingresskit.render.base import Renderer, Restricted
from ingresskit.render.nginx.artifact import DEFAULT_CERTIFICATE, NginxArtifact
from ingresskit.render.nginx.capabilities import OLDEST_VERSION, Capabilities
from ingresskit.render.nginx.names import certificate_id
from ingresskit.render.nginx.settings import NginxSettings

__all__ = ["ModeRenderer", "certificates_by_id"]

_Judged = tuple[Backend, Backend, tuple[Diagnostic, ...]]


class ModeRenderer(Renderer[NginxArtifact]):
    """Renders for one mode of nginx. `NginxRenderer` chooses the mode.

    Args:
        settings: Of the nginx it is for.
        capabilities: Of that program.

    Raises:
        ConfigurationError: The program cannot do what the settings ask for.
    """

    name: ClassVar[str] = "nginx"
    protocols: ClassVar[frozenset[Protocol]] = frozenset({Protocol.HTTP, Protocol.HTTPS})

    def __init__(self, settings: NginxSettings, capabilities: Capabilities) -> None:
        if capabilities.version < OLDEST_VERSION:
            oldest = ".".join(map(str, OLDEST_VERSION))
            raise ConfigurationError(
                f"nginx {capabilities.version_text} is too old; at least {oldest} is needed"
            )
        if settings.trusted_proxies and not capabilities.realip:
            raise ConfigurationError(
                "trusted_proxies needs an nginx with its real-IP module, which this one lacks"
            )
        self._judged: dict[BackendKey, _Judged] = {}

    @override
    def restrict(self, graph: RouteGraph) -> Restricted:
        """As `Renderer.restrict`. Endpoints that are host names are left out and reported.

        nginx looks a name up once, when it reads its files, and reads none of them when it cannot.
        """
        restricted = super().restrict(graph)
        judged = {key: self._numbered(backend) for key, backend in restricted.graph.backends.items()}
        self._judged = judged
        lost = [diagnostic for *_, lost in judged.values() for diagnostic in lost]
        if not lost:
            return restricted
        return Restricted(
            graph=replace(restricted.graph, backends={key: kept for key, (_, kept, _) in judged.items()}),
            diagnostics=bounded([*restricted.diagnostics, *lost]),
        )

    def _numbered(self, backend: Backend) -> _Judged:
        """*backend*, the same without endpoints that are names, and what that costs."""
        known = self._judged.get(backend.key)
        if known is not None and known[0] is backend:
            return known
        kept = tuple(item for item in backend.endpoints if _is_address(item.address))
        if len(kept) == len(backend.endpoints):
            return backend, backend, ()
        note = "the nginx renderer does not support ExternalName Services (host names as endpoints)"
        namespace, service, _ = backend.key
        lost = Diagnostic(
            subject=ObjectRef(Service.kind, ObjectKey(namespace, service)),
            field="spec.externalName",
            reason=Reason.EXTERNAL_NAME_REFUSED,
            message=f"{note}; its routes respond 503",
        )
        return backend, replace(backend, endpoints=kept, note="" if kept else note), (lost,)


def certificates_by_id(graph: RouteGraph) -> Mapping[str, Certificate]:
    """The certificates of *graph*, as `NginxArtifact.certificates` has them."""
    certificates = {certificate_id(key): item for key, item in graph.certificates.items()}
    if graph.default_certificate is not None:
        certificates[DEFAULT_CERTIFICATE] = graph.certificates[graph.default_certificate]
    return certificates


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
