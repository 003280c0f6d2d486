"""The key of affinity cookies: from a file that all replicas have, or one that is made and kept here."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ingresskit.app.failures import Failure

__all__ = ["affinity_key"]

_LEAST_BYTES = 16
_MOST_BYTES = 4096


def affinity_key(file: Path | None, state: Path) -> bytes:
    """The key. Blocks.

    Args:
        file: Where it is; ``None``: it is made, once for *state*.
        state: A folder that is private. One that stays lets cookies outlive a restart.

    Raises:
        Failure: The file cannot be read or written, or holds too little to be a key.
    """
    path = file or state / "affinity.key"
    try:
        if file is None and not path.exists():
            return _made(path)
        key = path.read_bytes()[:_MOST_BYTES].strip()
    except OSError as exc:
        raise Failure(f"--affinity-key: {path}: {exc.strerror}") from None
    if len(key) < _LEAST_BYTES:
        raise Failure(f"--affinity-key: {path} holds {len(key)} octets, and a key has {_LEAST_BYTES} at least")
    return key


def _made(path: Path) -> bytes:
    # In text, because white space at the ends of a file is no part of a key.
    key = secrets.token_hex(32).encode("ascii")
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
    fresh.rename(path)
    return key
