"""Names of files, upstreams and certificates: hashes, so that no text of a tenant ever becomes one."""

from __future__ import annotations

import hashlib
import re

from ingresskit.graph import ANY_HOST, BackendKey
from ingresskit.models import ObjectKey

__all__ = ["certificate_id", "host_id", "server_name", "upstream_name"]


def host_id(host: str) -> str:
    """The name of a virtual host in files and variables: ``any``, or 16 hexadecimal digits."""
    return "any" if host == ANY_HOST else _hash(host)


def upstream_name(key: BackendKey, host: str = "") -> str:
    """The name of an upstream: a backend, for TLS as one host asks for it."""
    # The word keeps names what they were when they had the algorithm in them: they outlive an update.
    return f"ik_{_hash(*key.parts[:3], 'round-robin', host, *key.parts[3:])}"


def certificate_id(secret: ObjectKey) -> str:
    """A short name for the certificate of a Secret, which reveals nothing: 16 hexadecimal digits."""
    return _hash(secret.namespace, secret.name)


def server_name(host: str) -> str:
    """The argument of ``server_name`` for a rule host.

    nginx's own wildcards take any number of labels, ours exactly one: hence a pattern. ``_`` is a name
    that no request has.
    """
    if host == ANY_HOST:
        return "_"
    if host.startswith("*."):
        return rf"~^[^.]+{re.escape(host[1:])}$"
    return host


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
