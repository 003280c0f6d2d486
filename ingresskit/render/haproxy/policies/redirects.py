"""Redirects to TLS. Those of `PermanentRedirect` are actions of the graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from typing_extensions import override

from ingresskit.policies import TlsRedirect
from ingresskit.render.error_bodies import sentence
from ingresskit.render.haproxy.lines import SCHEME_SAID, flagged, plain_text, refused
from ingresskit.render.haproxy.policies.base import Context, Handler
from ingresskit.render.haproxy.route_row import REDIRECT_LOOP, TLS_FLAG

__all__ = ["HANDLERS"]


class _TlsRedirect(Handler[TlsRedirect]):
    """Whether a route redirects depends on its host too: `tables` puts the flag into its row."""

    policy = TlsRedirect
    words = "Plain HTTP is redirected to HTTPS where the route demands it."

    @override
    def request(self, context: Context) -> Iterator[str]:
        settings = context.settings
        port = settings.redirect_port
        if port is None:
            return
        plain = f"{flagged(TLS_FLAG)} !{{ var(txn.proto) -m str https }}"
        if settings.trusted_proxies:
            # A trusted proxy that does not say the scheme may have taken TLS itself: a redirect may loop.
            yield f"set-var({REDIRECT_LOOP}) bool(true) if {plain} trusted !{SCHEME_SAID}"
        *waiting, to_public_port = refused(_to_tls(port), plain, context.capabilities)
        yield from waiting
        if settings.https and settings.http:
            # A client that names the port we listen at reaches us without a port mapping.
            own = " ".join(map(str, sorted({bind.port for bind in settings.http})))
            yield f"{_to_tls(settings.https[0].port)} if {plain} {{ var(txn.host_port) -m int {own} }}"
        yield to_public_port


HANDLERS: Final = (_TlsRedirect(),)


def _to_tls(port: int) -> str:
    target = f"https://%[var(txn.host)]{'' if port == 443 else f':{port}'}%[pathq]"
    return f"return status 308 hdr Location {target} {plain_text(sentence(308))}"
