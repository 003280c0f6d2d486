"""Certificates as files: each version in a folder of its own, and a link to the one that counts.

Chain and key stand in one file, and the link is followed once for each handshake, so that none ever sees
the chain of one version with the key of another.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ingresskit._fallback_certificate import make_fallback_certificate
from ingresskit.errors import ApplyError
from ingresskit.graph import Certificate
from ingresskit.render.nginx import DEFAULT_CERTIFICATE, NginxSettings

__all__ = ["CertificateFiles"]

_FILE = "tls.pem"
_OWN_DIGEST = "self-signed"
_OWN_SECONDS = 180 * 86400.0


class CertificateFiles:
    """The certificates of one nginx on disk. Functions block; one task calls them.

    Args:
        settings: Says where they lie.
    """

    def __init__(self, settings: NginxSettings) -> None:
        self._settings = settings
        self._folder = Path(settings.certificate_directory)
        self._written: dict[str, str] = {}
        self._unused: list[Path] = []

    def write(self, certificates: Mapping[str, Certificate]) -> None:
        """Let each id lead to its certificate, and the default one to one of our own if it is not among them.

        Those that are no longer named stay until `remove_others`.

        Raises:
            ApplyError: A file could not be written; those before it are live already.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._remove_unused()
            for identifier, certificate in certificates.items():
                if self._written.get(identifier) != certificate.digest:
                    pem = certificate.chain.rstrip(b"\n") + b"\n" + certificate.private_key
                    self._put(identifier, certificate.digest, pem)
            if (
                DEFAULT_CERTIFICATE not in certificates
                and self._written.get(DEFAULT_CERTIFICATE) != _OWN_DIGEST
            ):
                self._put(DEFAULT_CERTIFICATE, _OWN_DIGEST, self._own() or _fallback())
        except OSError as exc:
            raise ApplyError(
                f"could not write certificates under {self._folder}: {exc.strerror or exc}"
            ) from exc

    def remove_others(self, certificates: Mapping[str, Certificate]) -> None:
        """Remove what neither *certificates* nor the default needs."""
        kept = {*certificates, DEFAULT_CERTIFICATE}
        with suppress(OSError):
            for item in self._folder.iterdir():
                identifier = item.name.partition(".")[0]
                if identifier in kept:
                    continue
                if item.is_symlink():
                    item.unlink(missing_ok=True)
                else:
                    shutil.rmtree(item, ignore_errors=True)
        for identifier in self._written.keys() - kept:
            del self._written[identifier]

    def _put(self, identifier: str, digest: str, pem: bytes) -> None:
        final = Path(self._settings.certificate_path(identifier, digest))
        link = self._folder / identifier
        before = link.resolve() if link.is_symlink() else None
        if not (final / _FILE).is_file() or (final / _FILE).read_bytes() != pem:
            fresh = final.with_name(f".{final.name}")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(mode=0o700)
            descriptor = os.open(fresh / _FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(descriptor)
            shutil.rmtree(final, ignore_errors=True)
            fresh.rename(final)
        swap = self._folder / f".{identifier}"
        swap.unlink(missing_ok=True)
        swap.symlink_to(final.name)
        swap.rename(link)
        if before is not None and before.name != final.name and before.parent == self._folder:
            self._unused.append(before)  # a handshake may be reading it just now
        self._written[identifier] = digest

    def _own(self) -> bytes:
        """The one of our own that an earlier controller made, while it is young; empty when there is none."""
        path = Path(self._settings.certificate_path(DEFAULT_CERTIFICATE, _OWN_DIGEST)) / _FILE
        with suppress(OSError):
            if time.time() - path.stat().st_mtime < _OWN_SECONDS:
                return path.read_bytes()
        return b""

    def _remove_unused(self) -> None:
        linked = {item.resolve() for item in self._folder.iterdir() if item.is_symlink()}
        for path in self._unused:
            if path not in linked:
                shutil.rmtree(path, ignore_errors=True)
        self._unused.clear()


def _fallback() -> bytes:
    made = make_fallback_certificate()
    return made.chain + made.private_key
