"""Client certificates: HAProxy asks for them and verifies, rules judge what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from typing_extensions import override

from ingresskit.policies import ClientCertificates, HostTls
from ingresskit.render.error_bodies import sentence
from ingresskit.render.haproxy.artifact import MapName, pattern_id
from ingresskit.render.haproxy.lines import flagged, lookup, plain_text, refused, setting, substituted
from ingresskit.render.haproxy.policies.base import Context, Handler, SettingRow
from ingresskit.render.haproxy.quoting import quote
from ingresskit.render.haproxy.route_row import CERTIFICATE_FLAG, TLS_FLAG
from ingresskit.render.policies import Loss

__all__ = ["HANDLERS"]

_DEPTH: Final = Loss(
    field="depth",
    message="accepts chains of any length that end at the CA",
    closes=False,
    effect="bound them in the certificate of the CA (pathLenConstraint)",
)
_ORDER: Final = Loss(field="server_order", message="always goes by its own order of ciphers")
_FAMILY: Final = (
    "^(ssl-client-.*|x-ssl-client-.*|client-cert|client-cert-chain|x-client-cert"
    "|x-forwarded-(tls-)?client-cert.*)$"
)
# What a certificate may lack where any will do, and what OpenSSL calls it; as nginx has it.
_UNKNOWN: Final = {
    18: "self-signed certificate",
    19: "self-signed certificate in certificate chain",
    20: "unable to get local issuer certificate",
    21: "unable to verify the first certificate",
    27: "certificate not trusted",
}


class _ClientCertificates(Handler[ClientCertificates]):
    """What is asked stands in the list of certificates; here is what becomes of requests."""

    policy = ClientCertificates
    limitations = (_DEPTH,)
    flag = CERTIFICATE_FLAG
    words = "Hosts that ask for certificates serve nobody whose handshake was not theirs, or showed none."

    @override
    def losses(self, policy: ClientCertificates) -> Iterator[Loss]:
        yield _DEPTH

    @override
    def rows(self, policy: ClientCertificates) -> Iterator[SettingRow]:
        yield MapName.SETTINGS, "certificate", str(policy.mode)
        if policy.common_name:
            yield MapName.SETTINGS, "certificate-name", pattern_id(policy.common_name)
        if policy.error_page:
            yield MapName.SETTINGS, "certificate-page", policy.error_page
        if policy.forwarded:
            yield MapName.SETTINGS, "certificate-header", "1"

    @override
    def request(self, context: Context) -> Iterator[str]:
        if not context.needs.handshakes.asks:
            return
        on = flagged(self.flag)
        plain = f"{on} !{{ ssl_fc }}"
        forbidden = f"return status 403 {plain_text(sentence(403))}"
        if context.settings.redirect_port is None:
            yield from refused(forbidden, plain, context.capabilities)
        else:
            # The others are redirected to TLS, by another rule.
            yield from refused(forbidden, f"{plain} !{flagged(TLS_FLAG)}", context.capabilities)
            said = f"{plain} {{ var(txn.proto) -m str https }}"
            yield from refused(forbidden, said, context.capabilities)
        yield from self._host(on)
        misdirected = f"{on} {{ ssl_fc }} !{{ var(txn.sni_host),strcmp(txn.rule_host) eq 0 }}"
        yield from refused(f"return status 421 {plain_text(sentence(421))}", misdirected, context.capabilities)
        yield from self._judge(f"{on} {{ ssl_fc }}", context)

    def _host(self, on: str) -> Iterator[str]:
        """The rule host of the server name, found as that of ``Host`` is."""
        name = quote("ssl_fc_sni,lower," + substituted(r"\.$", ""))
        above = quote("var(txn.sni_host)," + substituted(r"^[^.]+\.", "*."))
        missing = f"{on} !{{ var(txn.sni_table) -m found }}"
        found = lookup("var(txn.sni_host)", MapName.HOSTS)
        yield f"set-var(txn.sni_host) {name} if {on} {{ ssl_fc_has_sni }}"
        yield f"set-var(txn.sni_table) {found} if {on}"
        yield f"set-var(txn.sni_host) {above} if {missing}"
        yield f"set-var(txn.sni_table) {found} if {missing}"
        yield f"set-var(txn.sni_host) str(*) if {missing}"

    def _judge(self, on: str, context: Context) -> Iterator[str]:
        mode, bad = "{ var(txn.certificate) -m str ", "!{ ssl_c_verify 0 }"
        unknown = " ".join(map(str, _UNKNOWN))
        yield f"set-var(txn.certificate) {setting('certificate')} if {on}"
        yield f"set-var(txn.uncertified) bool(true) if {on} {mode}required }} !{{ ssl_c_used }}"
        yield f"set-var(txn.uncertified) bool(true) if {on} !{mode}optional-any }} {{ ssl_c_used }} {bad}"
        yield f"set-var(txn.uncertified) bool(true) if {on} {{ ssl_c_used }} !{{ ssl_c_verify 0 {unknown} }}"
        refusal = f"{on} {{ var(txn.uncertified) -m bool }}"
        yield f"set-var(txn.certificate_page) {setting('certificate-page')} if {refusal}"
        page = f"return status 302 hdr Location %[var(txn.certificate_page)] {plain_text(sentence(302))}"
        yield from refused(page, f"{refusal} {{ var(txn.certificate_page) -m found }}", context.capabilities)
        yield from refused(f"return status 400 {plain_text(sentence(400))}", refusal, context.capabilities)
        yield f"set-var(txn.certificate_name) {setting('certificate-name')} if {on}"
        for name, pcre in context.needs.handshakes.names.items():
            other = f"!{{ ssl_c_s_dn(CN,-1) -m reg {quote(pcre)} }}"
            stranger = f"{on} {{ var(txn.certificate_name) -m str {name} }} {other}"
            yield from refused("deny deny_status 403", stranger, context.capabilities)

    @override
    def backend(self, context: Context) -> Iterator[str]:
        if not context.needs.handshakes.asks:
            return
        # No flag: those of requests that are handed over are gone.
        on = "{ var(txn.certificate) -m found }"
        used = f"{on} {{ ssl_c_used }}"
        yield f"del-header {quote(_FAMILY)} -m reg if {on}"
        yield f"set-header ssl-client-verify NONE if {on} !{{ ssl_c_used }}"
        yield f"set-header ssl-client-verify SUCCESS if {used} {{ ssl_c_verify 0 }}"
        for number, words in _UNKNOWN.items():
            failed = quote(f"FAILED:{words}")
            yield f"set-header ssl-client-verify {failed} if {used} {{ ssl_c_verify {number} }}"
        yield f"set-header ssl-client-subject-dn %[ssl_c_s_dn(,0,rfc2253)] if {used}"
        yield f"set-header ssl-client-issuer-dn %[ssl_c_i_dn(,0,rfc2253)] if {used}"
        steps = (
            "ssl_c_der,base64",
            substituted("(.{64})", r"\1%0A", "g"),
            substituted("%0A$", ""),
            substituted("[+]", "%2B", "g"),
            substituted("/", "%2F", "g"),
            substituted("=", "%3D", "g"),
        )
        yield f"set-var(txn.certificate_pem) {quote(','.join(steps))} if {used}"
        begin, end = "-----BEGIN%%20CERTIFICATE-----%%0A", "%%0A-----END%%20CERTIFICATE-----%%0A"
        shown = f"{used} {{ {setting('certificate-header')} -m found }}"
        yield f"set-header ssl-client-cert {quote(f'{begin}%[var(txn.certificate_pem)]{end}')} if {shown}"


class _HostTls(Handler[HostTls]):
    """Ciphers stand in the list of certificates."""

    policy = HostTls
    limitations = (_ORDER,)

    @override
    def losses(self, policy: HostTls) -> Iterator[Loss]:
        if policy.server_order is False:
            yield _ORDER


HANDLERS: Final = (_ClientCertificates(), _HostTls())
