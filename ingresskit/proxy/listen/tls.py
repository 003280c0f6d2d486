"""Certificates for TLS handshakes, from the table that is live at that moment."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING

from ingresskit._fallback_certificate import make_fallback_certificate
from ingresskit.facts import fact_logger

if TYPE_CHECKING:
    from ingresskit.graph import Certificate
    from ingresskit.render.inprocess import RoutingTable

__all__ = ["CertificateContexts"]

_logger = fact_logger(__name__)


class CertificateContexts:
    """One TLS context per certificate, chosen at the handshake by server name.

    A connection that stands keeps what it was made with; the next handshake sees a new certificate.
    A certificate that OpenSSL refuses costs its own names only: they get the default one, and the
    log says so once.
    """

    def __init__(self, table: Callable[[], RoutingTable]) -> None:
        self._table = table
        self._contexts: dict[str, ssl.SSLContext | None] = {}
        self._own: ssl.SSLContext | None = None
        self.entrance: ssl.SSLContext = _new_context()
        """The context to listen with: it holds no certificate that a client gets unless it must."""
        # Without a certificate of its own OpenSSL would offer no cipher before the name is looked at.
        chain, key = make_fallback_certificate()
        _load(self.entrance, chain, key)
        self._own = self.entrance
        self.entrance.sni_callback = self._choose

    def forget_old(self) -> None:
        """Drop the contexts of certificates that the table does not have any more."""
        table = self._table()
        digests = {certificate.digest for certificate in table.certificates.values() if certificate is not None}
        if table.default_certificate is not None:
            digests.add(table.default_certificate.digest)
        for digest in self._contexts.keys() - digests:
            del self._contexts[digest]

    def _choose(
        self, connection: ssl.SSLObject, server_name: str | None, _entrance: ssl.SSLContext
    ) -> int | None:
        table = self._table()
        try:
            wanted = table.certificate_for(server_name)
        except ValueError:
            wanted = table.default_certificate
        default = table.default_certificate
        for certificate in (wanted, default):
            if certificate is not None and (context := self._context(certificate)) is not None:
                connection.context = context
                return None
        return None  # the entrance's own certificate

    def _context(self, certificate: Certificate) -> ssl.SSLContext | None:
        if certificate.digest in self._contexts:
            return self._contexts[certificate.digest]
        context = _new_context()
        try:
            _load(context, certificate.chain, certificate.private_key)
        except (ssl.SSLError, ValueError, OSError) as exc:
            self._contexts[certificate.digest] = None
            _logger.warning(
                "certificate refused, serving the default one instead",
                extra={
                    "object": f"Secret {certificate.secret}",
                    "digest": certificate.digest,
                    "reason": type(exc).__name__,
                },
            )
            return None
        self._contexts[certificate.digest] = context
        return context


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context: ssl.SSLContext, chain: bytes, key: bytes) -> None:
    """Give OpenSSL a chain and a key. Python can only name files to it: this makes one only its user can read.

    In memory where the system can; else in a file of mode 0600 that is gone before this returns.
    """
    pem = chain.rstrip(b"\n") + b"\n" + key
    refuse_password = _refuse_password
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
        try:
            _write_all(descriptor, pem)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=refuse_password)
        finally:
            os.close(descriptor)
        return
    descriptor, path = tempfile.mkstemp(prefix="certificate-")
    try:
        _write_all(descriptor, pem)
        context.load_cert_chain(path, password=refuse_password)
    finally:
        os.close(descriptor)
        os.unlink(path)  # noqa: PTH108 - a path as mkstemp gave it


def _refuse_password() -> str:
    # Without this OpenSSL would ask the terminal for the password of an encrypted key, and wait.
    raise ValueError("the key is encrypted")


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
