"""Whether a password has a hash. Each of these takes long on purpose: call them in a thread.

bcrypt and libpass come with the extra ``auth``, and are imported where they are needed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
from typing import Final, Protocol, cast

from ingresskit.policies.crypt_library import MOST_PASSWORD, crypt, has_crypt
from ingresskit.policies.passwords import PasswordScheme

__all__ = ["STORED_AS", "refuse_password", "verify_password"]

STORED_AS: Final = "{0.scheme} {0.hash}"
"""How a user's scheme and hash are written for `verify_password`."""

_LONGEST: Final = 512
# What bcrypt looks at; the library refuses more, and all others have always cut it.
_BCRYPT_LONGEST: Final = 72


def verify_password(stored: str, given: bytes) -> bool:
    """Whether *given* has the hash in *stored*, which is written as `STORED_AS`.

    Args:
        stored: PasswordScheme and hash.
        given: The password; one of more than 512 octets, or with a NUL, is wrong.

    Raises:
        ImportError: The extra ``auth`` is not installed.
        ValueError: *stored* is none of these.
    """
    scheme, _, wanted = stored.partition(" ")
    possible = len(given) <= _LONGEST and b"\0" not in given
    return _has(PasswordScheme(scheme), wanted, given if possible else b"") and possible


def refuse_password(stored: str, given: bytes) -> bool:
    """False, after as much work as `verify_password` has: what a client gets that names no user."""
    verify_password(stored, given)
    return False


def _has(scheme: PasswordScheme, wanted: str, given: bytes) -> bool:
    match scheme:
        case PasswordScheme.BCRYPT:
            import bcrypt

            return bcrypt.checkpw(given[:_BCRYPT_LONGEST], wanted.encode("ascii"))
        case PasswordScheme.SHA:
            found = hashlib.sha1(given, usedforsecurity=False).digest()
            return hmac.compare_digest(found, base64.b64decode(wanted.removeprefix("{SHA}")))
        case PasswordScheme.SSHA:
            held = base64.b64decode(wanted.removeprefix("{SSHA}"))
            found = hashlib.sha1(given + held[20:], usedforsecurity=False).digest()
            return hmac.compare_digest(found, held[:20])
        case (
            PasswordScheme.APR1
            | PasswordScheme.MD5_CRYPT
            | PasswordScheme.SHA256_CRYPT
            | PasswordScheme.SHA512_CRYPT
        ):
            return _crypt(scheme, wanted, given)


class _Crypt(Protocol):
    def verify(self, secret: bytes, stored: str, /) -> bool: ...


_CRYPTS: Final = {
    PasswordScheme.APR1: "apr_md5_crypt",
    PasswordScheme.MD5_CRYPT: "md5_crypt",
    PasswordScheme.SHA256_CRYPT: "sha256_crypt",
    PasswordScheme.SHA512_CRYPT: "sha512_crypt",
}


def _crypt(scheme: PasswordScheme, wanted: str, given: bytes) -> bool:
    if scheme is not PasswordScheme.APR1 and len(given) <= MOST_PASSWORD and has_crypt():
        return hmac.compare_digest(crypt(given, wanted), wanted)
    # libpass keeps the name of passlib, and has no types.
    crypts = importlib.import_module("passlib.hash")
    return cast("_Crypt", getattr(crypts, _CRYPTS[scheme])).verify(given, wanted)
