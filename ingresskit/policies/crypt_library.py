"""The C library's ``crypt_r``: what computes SHA-crypt and MD5-crypt without holding up the interpreter.

In Python a hash of a million rounds takes seconds, in which every other thread gets its turn late. The library
is called without the interpreter's lock. Where none passes its test, hashes are computed in Python.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Final

__all__ = ["MOST_PASSWORD", "crypt", "has_crypt"]

MOST_PASSWORD: Final = 511
"""Octets of the longest password that every library takes."""

_NAMES: Final = ("libcrypt.so.1", "libcrypt.so.2", None)  # the last is the C library itself, as of musl
# More than any of them needs: 32 KiB of libxcrypt, 128 KiB of the older one of glibc.
_STATE_BYTES: Final = 256 * 1024
_VECTOR: Final = (
    b"Hello world!",
    b"$5$saltstring",
    b"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
)
"""Source: U. Drepper, "Unix crypt using SHA-256 and SHA-512", the first test vector."""


def has_crypt() -> bool:
    """Whether `crypt` can be called."""
    return _library() is not None


def crypt(password: bytes, setting: str) -> str:
    """The hash of *password* in the form of *setting*, which may be a hash itself.

    Args:
        password: Without NUL, `MOST_PASSWORD` octets at most.
        setting: Scheme, rounds and salt, as ``$6$rounds=5000$salt``.

    Raises:
        ValueError: There is no library, or it refuses *setting*.
    """
    function = _library()
    made = None if function is None else function(password, setting.encode("ascii"))
    if not made or made.startswith(b"*"):
        raise ValueError("no hash that the library knows")
    return made.decode("ascii")


@cache
def _library() -> Callable[[bytes, bytes], bytes | None] | None:
    for name in _NAMES:
        try:
            crypt_r = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError, TypeError):
            continue
        crypt_r.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
        crypt_r.restype = ctypes.c_char_p

        def call(password: bytes, setting: bytes, crypt_r: Callable[..., object] = crypt_r) -> bytes | None:
            made = crypt_r(password, setting, ctypes.create_string_buffer(_STATE_BYTES))
            return made if isinstance(made, bytes) else None

        password, setting, wanted = _VECTOR
        if call(password, setting) == wanted:
            return call
    return None
