"""Values of TLS settings: lists of ciphers, versions, server names. Each is read whole or refused."""

from __future__ import annotations

import re
from enum import StrEnum

from ingresskit.policies.cipher_lists import expand_cipher_list

__all__ = ["TlsVersion", "parse_ciphers", "parse_server_name", "parse_tls_versions"]

_MOST_CIPHERS = 60
# What OpenSSL calls ciphers and groups of them.
_CIPHER = re.compile(r"[A-Z0-9]{2,20}(?:[-_][A-Za-z0-9]{1,20}){0,8}|DEFAULT|HIGH")
_WEAK = re.compile(r"(?:^|[-_])(?:NULL|ENULL|ANULL|ADH|AECDH|EXP|EXPORT|LOW|RC4|RC2|DES|MD5|ALL)(?:[-_]|$)")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


class TlsVersion(StrEnum):
    """A version of TLS that is spoken."""

    V1_2 = "1.2"
    V1_3 = "1.3"


def parse_ciphers(text: str) -> tuple[str, ...]:
    """OpenSSL's names of ciphers, each once, in order.

    Args:
        text: Names separated by colons, commas or spaces; or a cipher list of OpenSSL with exclusions, such as
            ``HIGH:!aNULL:!MD5``, which stands for the ciphers that OpenSSL says it does, without those that
            protect nothing.

    Raises:
        ValueError: It is neither, names a cipher that protects nothing, or leaves none.
    """
    names = tuple(dict.fromkeys(part for part in re.split(r"[:,\s]+", text.strip()) if part))
    if not names or len(names) > _MOST_CIPHERS:
        raise ValueError(f"must be 1 to {_MOST_CIPHERS} names of ciphers separated by colons")
    if not all(map(_CIPHER.fullmatch, names)):
        return expand_cipher_list(names)
    if any(map(_WEAK.search, names)):
        raise ValueError("must not name ciphers that protect nothing, such as NULL, RC4 or DES")
    return names


def parse_tls_versions(text: str) -> tuple[TlsVersion, ...]:
    """``1.2`` and ``1.3``, separated by commas or spaces."""
    words = {word for word in re.split(r"[,\s]+", text.strip()) if word}
    if not words or not words <= {str(item) for item in TlsVersion}:
        raise ValueError("must be 1.2, 1.3 or both")
    return tuple(item for item in TlsVersion if item in words)


def parse_server_name(text: str) -> str:
    """A DNS name, in lower case."""
    name = text.strip().lower()
    if len(name) > 253 or not _NAME.fullmatch(name) or name.rpartition(".")[2].isdecimal():
        raise ValueError("must be a DNS name")
    return name
