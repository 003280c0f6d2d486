"""The self-signed certificate for server names without one: created once and kept on disk."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ingresskit._fallback_certificate import make_fallback_certificate
from ingresskit.errors import ApplyError, ConfigurationError

__all__ = ["fallback_certificate"]

_LEFT = timedelta(days=30)


def fallback_certificate(path: Path) -> bytes:
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
    own = make_fallback_certificate()
    made = own.private_key + own.chain
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
