"""Certificates for TLS handshakes, and what is asked of clients in them, from the table that is live then."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from ingresskit._fallback_certificate import make_fallback_certificate
from ingresskit.facts import fact_logger
from ingresskit.policies import ClientCertificates, HostTls, PolicySet
from ingresskit.proxy.handshakes import ClientTls
from ingresskit.proxy.listen.server_name import name_reader
from ingresskit.proxy.tls_contexts import load_chain, named_pem

if TYPE_CHECKING:
    from ingresskit.graph import Certificate
    from ingresskit.render.inprocess import RoutingTable

__all__ = ["CertificateContexts"]

_logger = fact_logger(__name__)

_NO_POLICIES: Final = PolicySet()


class CertificateContexts:
    """One TLS context per certificate and policies of hosts, chosen at the handshake by server name.

    A connection that stands keeps what it was made with; the next handshake sees a new certificate.
    A certificate that OpenSSL refuses costs its own names only: they get the default one, and the
    log says so once.

    OpenSSL reads in the middle of a handshake which certificate to show, but decides before its beginning
    whether to ask the client for one, and which sessions to resume. So where any host asks, the server name is
    read first, from octets that stay in the socket, and the connection is made with the context of its host.
    """

    def __init__(self, table: Callable[[], RoutingTable], *, http2: bool = False) -> None:
        """Serve the certificates of *table*; *http2*: offer it in handshakes, beside HTTP/1.1."""
        self._table = table
        self._protocols: list[str] = ["h2", "http/1.1"] if http2 else ["http/1.1"]
        self._contexts: dict[tuple[str, PolicySet], ssl.SSLContext | None] = {}
        # Without a certificate of its own OpenSSL would offer no cipher before the name is looked at.
        self._own: tuple[bytes, bytes] = make_fallback_certificate()
        self._entrance = _new_context(self._protocols)
        load_chain(self._entrance, *self._own)
        self._entrance.sni_callback = self._choose
        reading = _new_context(self._protocols)
        load_chain(reading, *self._own)
        self._read_name: Callable[[socket.socket], Awaitable[str | None]] = name_reader(reading)

    async def for_connection(self, connection: socket.socket) -> ssl.SSLContext:
        """The context for the handshake of a connection of which nothing was read.

        Raises:
            OSError: The client is gone, or what it sends is no TLS.
        """
        table = self._table()
        if not table.handshakes or not _asks(table.handshakes.values()):
            return self._entrance
        name = await self._read_name(connection)
        table = self._table()
        host = table.rule_host_of(name)
        policies = _NO_POLICIES if host is None else table.handshakes.get(host, _NO_POLICIES)
        if ClientCertificates not in policies:
            return self._entrance
        for certificate in self._certificates(table, name):
            if (context := self._context(certificate, policies)) is not None:
                return context
        raise OSError("no TLS context can be made for the host")

    def forget_old(self) -> None:
        """Drop the contexts of certificates and policies that the table does not have any more."""
        table = self._table()
        digests = {certificate.digest for certificate in table.certificates.values() if certificate is not None}
        if table.default_certificate is not None:
            digests.add(table.default_certificate.digest)
        digests.add("")
        policies = {_NO_POLICIES, *table.handshakes.values()}
        for key in [key for key in self._contexts if key[0] not in digests or key[1] not in policies]:
            del self._contexts[key]

    def _choose(
        self, connection: ssl.SSLObject, server_name: str | None, _entrance: ssl.SSLContext
    ) -> int | None:
        """Choose the certificate; nothing is asked of the client, so hosts that ask do not take it."""
        table = self._table()
        policies = _NO_POLICIES
        if table.handshakes and (host := table.rule_host_of(server_name)) is not None:
            policies = table.handshakes.get(host, _NO_POLICIES).without(ClientCertificates)
        for certificate in self._certificates(table, server_name):
            if certificate is None and not policies:
                return None  # the entrance's own certificate
            if (context := self._context(certificate, policies)) is not None:
                connection.context = context
                return None
        return None

    def _certificates(self, table: RoutingTable, server_name: str | None) -> Iterator[Certificate | None]:
        """The certificates to try, in order; ``None`` is the proxy's own."""
        try:
            wanted = table.certificate_for(server_name)
        except ValueError:
            wanted = table.default_certificate
        if wanted is not None:
            yield wanted
        if table.default_certificate is not None:
            yield table.default_certificate
        yield None

    def _context(self, certificate: Certificate | None, policies: PolicySet) -> ssl.SSLContext | None:
        """A context; without a *certificate*, one with the proxy's own. ``None`` where there can be none."""
        key = ("" if certificate is None else certificate.digest, policies)
        if key in self._contexts:
            return self._contexts[key]
        context = _new_context(self._protocols)
        chain, private_key = self._own if certificate is None else (certificate.chain, certificate.private_key)
        try:
            load_chain(context, chain, private_key)
            self._apply(context, policies)
        except (ssl.SSLError, ValueError, OSError) as exc:
            self._contexts[key] = None
            _logger.warning(
                "certificate refused, serving the default one instead",
                extra={
                    "object": "" if certificate is None else f"Secret {certificate.secret}",
                    "digest": key[0],
                    "reason": type(exc).__name__,
                },
            )
            return None
        self._contexts[key] = context
        return context

    def _apply(self, context: ssl.SSLContext, policies: PolicySet) -> None:
        """Ask clients for what *policies* want, and speak to them so.

        Raises:
            ssl.SSLError: OpenSSL does not take a value.
        """
        if (tls := policies.get(HostTls)) is not None and tls.ciphers:
            context.set_ciphers(":".join(tls.ciphers))
        if (asked := policies.get(ClientCertificates)) is None:
            return
        # A client without a certificate gets a response that says so: the filter of the host refuses it.
        context.verify_mode = ssl.CERT_OPTIONAL
        authorities = asked.authorities
        with named_pem(authorities.certificates + authorities.revoked) as path:
            context.load_verify_locations(path)
        if authorities.revoked:
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
        # Sessions of its own, which last as long as its policies and are worth what their first handshake was.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        context.sslobject_class = ClientTls
        depths: dict[bytes, int] = {}

        def note(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
            if not isinstance(connection, ClientTls):
                return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
            connection.rule_host = self._table().rule_host_of(name)
            connection.asked = asked
            connection.depths = depths
            return None

        context.sni_callback = note


def _asks(handshakes: Iterable[PolicySet]) -> bool:
    return any(ClientCertificates in policies for policies in handshakes)


def _new_context(protocols: list[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(protocols)
    return context
