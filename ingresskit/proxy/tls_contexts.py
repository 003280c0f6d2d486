"""TLS contexts made of PEM text."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ingresskit.policies import TlsVersion

if TYPE_CHECKING:
    from ingresskit.policies import Authorities, UpstreamTls

__all__ = ["client_context", "load_chain", "named_pem", "verifying_context"]

_VERSIONS: Final = {TlsVersion.V1_2: ssl.TLSVersion.TLSv1_2, TlsVersion.V1_3: ssl.TLSVersion.TLSv1_3}


def client_context(tls: UpstreamTls | None) -> ssl.SSLContext:
    """A context for connections to endpoints that are spoken to as *tls* has it; by default unverified.

    Raises:
        ssl.SSLError: OpenSSL does not take a value.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if tls is None:
        return context
    if tls.versions:
        context.minimum_version = _VERSIONS[tls.versions[0]]
        context.maximum_version = _VERSIONS[tls.versions[-1]]
    if tls.ciphers:
        context.set_ciphers(":".join(tls.ciphers))
    if tls.identity is not None:
        load_chain(context, tls.identity.chain, tls.identity.private_key)
    if tls.verifies:
        trusted = tls.trusted
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = True
        with named_pem(trusted.certificates + trusted.revoked) as path:
            context.load_verify_locations(path)
        if trusted.revoked:
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    return context


def verifying_context(trusted: Authorities) -> ssl.SSLContext:
    """A context for connections to servers whose certificates, and the names in them, are verified.

    Args:
        trusted: Who must have signed them; without certificates: an authority of the system.

    Raises:
        ssl.SSLError: OpenSSL does not take them.
    """
    if not trusted:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with named_pem(trusted.certificates + trusted.revoked) as path:
        context.load_verify_locations(path)
    if trusted.revoked:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    return context


def load_chain(context: ssl.SSLContext, chain: bytes, key: bytes) -> None:
    """Give OpenSSL a chain and a key."""
    with named_pem(chain.rstrip(b"\n") + b"\n" + key) as path:
        context.load_cert_chain(path, password=_refuse_password)


@contextmanager
def named_pem(pem: bytes) -> Generator[str]:
    """A path to *pem*. Python can only name files to OpenSSL: this makes one only its user can read.

    In memory where the system can; else in a file of mode 0600 that is gone afterwards.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
        try:
            _write_all(descriptor, pem)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    descriptor, path = tempfile.mkstemp(prefix="certificate-")
    try:
        _write_all(descriptor, pem)
        yield path
    finally:
        os.close(descriptor)
        os.unlink(path)  # noqa: PTH108 - a path as mkstemp gave it


def _refuse_password() -> str:
    # Without this OpenSSL would ask the terminal for the password of an encrypted key, and wait.
    raise ValueError("the key is encrypted")


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
