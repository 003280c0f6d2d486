"""Who may read the admin server.

Health and metrics are for everybody who reaches the port: the kubelet and a scraper hold no credentials.
All else names hosts, paths and objects of every tenant. Without an `Authenticator` it is for clients on a
loopback address, such as ``kubectl port-forward``; with one, for those that it lets in, wherever they are.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from ingresskit.errors import ConfigurationError

__all__ = ["OPEN_PATHS", "Authenticator", "BasicFile", "TokenFile", "is_loopback"]

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""The paths that need no credentials on any address."""

_READ_AGAIN: Final = 1.0
_MOST_BYTES: Final = 64 * 1024


class Authenticator(Protocol):
    """Judges the credentials of a request. Called in a worker thread: it may read a file."""

    @property
    def challenge(self) -> str:
        """The value of ``WWW-Authenticate`` for a client without valid credentials."""
        ...

    def permits(self, authorization: str) -> bool:
        """Whether a request with that ``Authorization`` value (empty without one) is let in.

        Must not raise: a file that cannot be read lets nobody in.
        """
        ...


class _Held:
    """Digests read from a file, read again when the file changes: a mounted Secret is renewed in place."""

    def __init__(self, path: Path, parse: Callable[[bytes], frozenset[bytes]]) -> None:
        self._path = path
        self._parse = parse
        self._stamp: tuple[int, int, int] | None = None
        self._asked = 0.0
        self._digests = frozenset[bytes]()
        try:
            self._read()
        except OSError as exc:
            raise ConfigurationError(f"{path} cannot be read: {exc.strerror or exc}") from None

    def holds(self, credential: bytes) -> bool:
        """Whether *credential* is one of the file's; takes the same time for each that is not."""
        now = time.monotonic()
        if now - self._asked > _READ_AGAIN:
            self._asked = now
            try:
                self._read()
            except (OSError, ConfigurationError):
                self._stamp, self._digests = None, frozenset[bytes]()
        digest = hashlib.sha256(credential).digest()
        found = False
        for held in self._digests:
            found |= hmac.compare_digest(held, digest)
        return found

    def _read(self) -> None:
        status = self._path.stat()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp == self._stamp:
            return
        if status.st_size > _MOST_BYTES:
            raise ConfigurationError(f"{self._path} is larger than {_MOST_BYTES} bytes")
        digests = self._parse(self._path.read_bytes())
        if not digests:
            raise ConfigurationError(f"{self._path} holds no credentials")
        self._stamp, self._digests = stamp, digests


class TokenFile:
    """Lets clients in that send ``Authorization: Bearer TOKEN`` with a token of a file.

    Args:
        path: One token a line; empty lines do not count. A change counts within a second.

    Raises:
        ConfigurationError: The file cannot be read, holds no token, or is larger than 64 KiB.
    """

    def __init__(self, path: Path) -> None:
        self.challenge: str = 'Bearer realm="ingresskit"'
        self._held = _Held(path, self._parse)

    @staticmethod
    def _parse(content: bytes) -> frozenset[bytes]:
        return frozenset(hashlib.sha256(line.strip()).digest() for line in content.splitlines() if line.strip())

    def permits(self, authorization: str) -> bool:
        """As `Authenticator.permits`."""
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and self._held.holds(token.strip().encode("latin-1", "replace"))


class BasicFile:
    """Lets clients in that send a name and password of a file by HTTP basic authentication (RFC 7617).

    Args:
        path: ``NAME:PASSWORD`` a line, in UTF-8; empty lines do not count. A change counts within a second.

    Raises:
        ConfigurationError: The file cannot be read, holds no line of that form or a hashed password, or is
            larger than 64 KiB.
    """

    def __init__(self, path: Path) -> None:
        self.challenge: str = 'Basic realm="ingresskit", charset="UTF-8"'
        self._path = path
        self._held = _Held(path, self._parse)

    def _parse(self, content: bytes) -> frozenset[bytes]:
        digests: set[bytes] = set()
        for number, line in enumerate(content.splitlines(), 1):
            if not line.strip():
                continue
            name, colon, password = line.partition(b":")
            if not name or not colon or not password:
                raise ConfigurationError(f"{self._path}, line {number} is not NAME:PASSWORD")
            if password.startswith((b"$", b"{")):
                raise ConfigurationError(
                    f"{self._path}, line {number} holds a hashed password, which is not supported"
                )
            digests.add(hashlib.sha256(line).digest())
        return frozenset(digests)

    def permits(self, authorization: str) -> bool:
        """As `Authenticator.permits`."""
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            return self._held.holds(base64.b64decode(encoded.strip(), validate=True))
        except (binascii.Error, ValueError):
            return False


def is_loopback(address: str) -> bool:
    """Whether a peer's address is of this machine; an IPv4 address inside IPv6 counts as itself."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback
