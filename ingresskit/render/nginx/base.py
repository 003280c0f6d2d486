"""What the renderers of both modes have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

from ingresskit.errors import ConfigurationError
from ingresskit.graph import Certificate, Protocol, RouteGraph
from ingresskit.models import ObjectKey
from ingresskit.render.base import Renderer
from ingresskit.render.nginx.artifact import DEFAULT_CERTIFICATE, NginxArtifact
from ingresskit.render.nginx.capabilities import OLDEST_VERSION, Capabilities
from ingresskit.render.nginx.names import certificate_id
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.remember import Remembered

__all__ = ["CertificatesById", "ModeRenderer"]


class ModeRenderer(Renderer[NginxArtifact]):
    """Renders for one mode of nginx. `NginxRenderer` chooses the mode.

    Args:
        settings: Of the nginx it is for.
        capabilities: Of that program.

    Raises:
        ConfigurationError: The program cannot do what the settings ask for.
    """

    name: ClassVar[str] = "nginx"
    protocols: ClassVar[frozenset[Protocol]] = frozenset({Protocol.HTTP, Protocol.HTTPS, Protocol.TCP})
    passes_tls: bool = True
    # nginx looks a name up once, when it reads its files, and reads none of them when it cannot.
    loses_trailers: ClassVar[bool] = True
    looks_names_up: ClassVar[bool] = False

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


class CertificatesById:
    """The certificates of successive graphs, as `NginxArtifact.certificates` has them."""

    def __init__(self) -> None:
        self._named: Remembered[ObjectKey, Certificate, tuple[str, Certificate]] = Remembered(_named)

    def follow(
        self, graph: RouteGraph, changed: Collection[ObjectKey] | None = None
    ) -> Mapping[str, Certificate]:
        """The certificates of *graph*.

        Args:
            graph: It.
            changed: At least the Secrets of those that are other objects than before; ``None``: all may be.
        """
        # One call, which runs no Python for those that did not change.
        certificates = dict(self._named.follow(graph.certificates, changed).values())
        if graph.default_certificate is not None:
            certificates[DEFAULT_CERTIFICATE] = graph.certificates[graph.default_certificate]
        return certificates


def _named(certificate: Certificate) -> tuple[str, Certificate]:
    return certificate_id(certificate.secret), certificate
