"""What filters may ask of the proxy: where TLS is, and what they remember."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingresskit.facts import fact_logger
from ingresskit.proxy.limits.buckets import Buckets, TokenBuckets
from ingresskit.proxy.limits.places import HeldPlaces, Places
from ingresskit.proxy.limits.verifier import Verifier
from ingresskit.proxy.message.forwarded import Peer, PublicPorts

if TYPE_CHECKING:
    from ingresskit.proxy.deadlines import Deadlines
    from ingresskit.proxy.limits.shared import SharedLimits
    from ingresskit.proxy.settings import ProxySettings
    from ingresskit.proxy.statistics import Counters

__all__ = ["FilterContext"]

_logger = fact_logger(__name__)


class FilterContext:
    """What the filters of all requests of one proxy share.

    Attributes:
        buckets: What filters remember from one request to the next.
        verifier: Finds out whether passwords are right.
        places: What requests hold while they are under way.
        counters: Where refusals in shadow are counted.
        public_ports: The ports that clients reach the proxy at.
        https_listener_port: The port of the first TLS listener; ``None`` before there is one.
    """

    def __init__(
        self,
        settings: ProxySettings,
        deadlines: Deadlines,
        counters: Counters,
        shared: SharedLimits | None = None,
    ) -> None:
        """Without *shared* limits this proxy counts for itself."""
        self.buckets: Buckets = TokenBuckets(deadlines.now) if shared is None else shared.buckets
        self.verifier: Verifier = Verifier()
        self.places: HeldPlaces = Places() if shared is None else shared.places
        self.counters: Counters = counters
        self.public_ports: PublicPorts = PublicPorts(
            http=settings.public_http_port, https=settings.public_https_port or 443
        )
        self.https_listener_port: int | None = None
        self._is_tls_public = settings.public_https_port is not None
        self._loop_suspected = False

    def redirect_port(self, peer: Peer, host_port: int) -> int | None:
        """The port that a plain request is redirected to; ``None``: TLS is not served.

        Args:
            peer: Who asks.
            host_port: The port in ``Host``; 0 without one.
        """
        own = self.https_listener_port
        # A client that names the port of our own listener reaches us without a port mapping.
        if own is not None and not peer.tls and 0 != host_port == peer.listener_port:
            return own
        return None if own is None and not self._is_tls_public else self.public_ports.https

    def suspect_redirect_loop(self, peer: Peer) -> None:
        """A trusted proxy that does not say which scheme the client used was redirected to TLS; logged once.

        If it takes TLS itself, its client comes back the same way, and is redirected again.
        """
        if not self._loop_suspected:
            self._loop_suspected = True
            _logger.warning(
                "a trusted proxy does not send X-Forwarded-Proto; redirects to HTTPS may loop",
                extra={"peer": peer.text},
            )
