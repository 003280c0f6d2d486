"""The certificate for clients that ask for a name nobody has one for: signed by itself, made once."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ingresskit.errors import ApplyError, ConfigurationError

__all__ = ["own_certificate"]

_LASTS = timedelta(days=397)
_LEFT = timedelta(days=30)


def own_certificate(path: Path) -> bytes:
    """Key and certificate in PEM, those in the file *path*, or new ones, which are written there. Blocks.

    Raises:
        ConfigurationError: The extra ``tls`` is not installed.
        ApplyError: The file cannot be written.
    """
    try:
        from cryptography import x509
    except ImportError as exc:
        raise ConfigurationError("TLS needs the extra ingresskit[tls]") from exc
    with suppress(OSError, ValueError):
        held = path.read_bytes()
        if x509.load_pem_x509_certificate(held).not_valid_after_utc - datetime.now(UTC) > _LEFT:
            return held
    made = _make()
    try:
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(made)
        fresh.rename(path)
    except OSError as exc:
        raise ApplyError(f"{path}: {exc.strerror or exc}") from exc
    return made


def _make() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ingresskit default certificate")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LASTS)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("ingresskit.invalid")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
