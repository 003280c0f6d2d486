"""Redirects to TLS. Those of `PermanentRedirect` are actions of the graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from typing_extensions import override

from ingresskit.policies import Policy, RedirectStatus, TlsRedirect
from ingresskit.render.error_bodies import sentence
from ingresskit.render.haproxy.artifact import MapName
from ingresskit.render.haproxy.lines import SCHEME_SAID, flagged, plain_text, refused, setting, substituted
from ingresskit.render.haproxy.policies.base import Context, Handler, SettingRow
from ingresskit.render.haproxy.quoting import quote
from ingresskit.render.haproxy.route_row import REDIRECT_LOOP, TLS_FLAG, TLS_HOW_FLAG

__all__ = ["HANDLERS"]


_LOCATION: Final = "%[var(txn.location)]"
_WITHOUT_SLASH: Final = quote(f"var(txn.location),{substituted('/$', '')}")
_OTHERS: Final = tuple(int(status) for status in RedirectStatus if status is not RedirectStatus.PERMANENT)


class _TlsRedirect(Handler[TlsRedirect]):
    """Whether a route redirects depends on its host too: `tables` puts the flag into its row."""

    policy: type[Policy] = TlsRedirect
    flag = TLS_HOW_FLAG
    words = "Plain HTTP is redirected to HTTPS where the route demands it."

    @override
    def rows(self, policy: TlsRedirect) -> Iterator[SettingRow]:
        if policy.status is not RedirectStatus.PERMANENT:
            yield MapName.SETTINGS, "tls-status", str(policy.status)
        if not policy.keeps_slash:
            yield MapName.SETTINGS, "tls-slash", "0"
        if policy.shows_port:
            yield MapName.SETTINGS, "tls-port", "1"

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
        if settings.https and settings.http:
            # A client that names the port we listen at reaches us without a port mapping.
            numbers = " ".join(map(str, sorted({bind.port for bind in settings.http})))
            own = f"{{ var(txn.host_port) -m int {numbers} }}"
            ports = [(settings.https[0].port, own), (port, f"!{own}")]
        else:
            ports = [(port, "")]
        how = f"{plain} {flagged(TLS_HOW_FLAG)}"
        for number, condition in ports:
            yield f"set-var-fmt(txn.location) {_to_tls(number)} if {how} {condition}".rstrip()
            if number == 443:
                shown = f"{{ {setting('tls-port')} -m found }}"
                named = _to_tls(number, shown=True)
                yield f"set-var-fmt(txn.location) {named} if {how} {shown} {condition}".rstrip()
        bare = f"{{ {setting('tls-slash')} -m found }} !{{ query -m found }} !{{ var(txn.path) -m str / }}"
        yield f"set-var(txn.location) {_WITHOUT_SLASH} if {how} {bare}"
        *waiting, _ = refused(_moved(308, ""), plain, context.capabilities)
        yield from waiting
        for status in _OTHERS:
            yield f"{_moved(status, _LOCATION)} if {how} {{ {setting('tls-status')} -m str {status} }}"
        yield f"{_moved(308, _LOCATION)} if {how}"
        for number, condition in ports[:-1]:
            yield f"{_moved(308, _to_tls(number))} if {plain} {condition}"
        yield f"{_moved(308, _to_tls(port))} if {plain}"


HANDLERS: Final = (_TlsRedirect(),)


def _to_tls(port: int, *, shown: bool = False) -> str:
    """The format of the location at a port, which is left out where it is 443, unless it is *shown*."""
    return f"https://%[var(txn.host)]{'' if port == 443 and not shown else f':{port}'}%[pathq]"


def _moved(status: int, location: str) -> str:
    return f"return status {status} hdr Location {location} {plain_text(sentence(status))}"
