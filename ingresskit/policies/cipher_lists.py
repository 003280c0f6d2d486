"""Cipher lists of OpenSSL: groups, exclusions and orders, read into the names of ciphers that protect.

So no program reads a list that a tenant wrote, and a list means the same whatever library a program has. The
table has the ciphers of TLS 1.2 and before for RSA and ECDSA certificates, of 128 bits or more, in the order of
OpenSSL.

Source: OpenSSL 3.0, ``openssl-ciphers(1)``, "CIPHER LIST FORMAT".
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["expand_cipher_list"]

_NAMES: Final = """
ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-RSA-AES256-GCM-SHA384 DHE-RSA-AES256-GCM-SHA384
ECDHE-ECDSA-CHACHA20-POLY1305 ECDHE-RSA-CHACHA20-POLY1305 DHE-RSA-CHACHA20-POLY1305
ECDHE-ECDSA-AES256-CCM DHE-RSA-AES256-CCM
ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-RSA-AES128-GCM-SHA256 DHE-RSA-AES128-GCM-SHA256
ECDHE-ECDSA-AES128-CCM DHE-RSA-AES128-CCM
ECDHE-ECDSA-AES256-SHA384 ECDHE-RSA-AES256-SHA384 DHE-RSA-AES256-SHA256
ECDHE-ECDSA-CAMELLIA256-SHA384 ECDHE-RSA-CAMELLIA256-SHA384 DHE-RSA-CAMELLIA256-SHA256
ECDHE-ECDSA-AES128-SHA256 ECDHE-RSA-AES128-SHA256 DHE-RSA-AES128-SHA256
ECDHE-ECDSA-CAMELLIA128-SHA256 ECDHE-RSA-CAMELLIA128-SHA256 DHE-RSA-CAMELLIA128-SHA256
ECDHE-ECDSA-AES256-SHA ECDHE-RSA-AES256-SHA DHE-RSA-AES256-SHA DHE-RSA-CAMELLIA256-SHA
ECDHE-ECDSA-AES128-SHA ECDHE-RSA-AES128-SHA DHE-RSA-AES128-SHA DHE-RSA-CAMELLIA128-SHA
AES256-GCM-SHA384 AES256-CCM AES128-GCM-SHA256 AES128-CCM
AES256-SHA256 CAMELLIA256-SHA256 AES128-SHA256 CAMELLIA128-SHA256
AES256-SHA CAMELLIA256-SHA AES128-SHA CAMELLIA128-SHA
"""
_TABLE: Final = tuple(_NAMES.split())

_RULE: Final = re.compile(r"([!+-]?)([A-Za-z0-9]{2,20}(?:[-_+.][A-Za-z0-9]{1,20}){0,8})|@STRENGTH")
_CLASSES: Final = ("AES", "CAMELLIA", "CHACHA20")
# What lists of many years name although no cipher of the table is one: weak ones, and other kinds of keys.
_NOTHING: Final = frozenset(
    {
        *(
            "3DES",
            "ADH",
            "AECDH",
            "DES",
            "DES-CBC3-SHA",
            "DSS",
            "EXP",
            "EXPORT",
            "EXPORT40",
            "EXPORT56",
            "IDEA",
        ),
        *(
            "KRB5",
            "KRB5-DES",
            "LOW",
            "MD5",
            "MEDIUM",
            "NULL",
            "PSK",
            "RC2",
            "RC4",
            "RC4-MD5",
            "RC4-SHA",
            "SEED",
        ),
        *(
            "SRP",
            "SSLv2",
            "aDH",
            "aDSS",
            "aECDH",
            "aNULL",
            "aPSK",
            "aSRP",
            "eNULL",
            "kDH",
            "kPSK",
            "kSRP",
            "ARIA",
        ),
        *("ARIA128", "ARIA256", "AESCCM8", "EDH-RSA-DES-CBC3-SHA", "ECDH", "kECDH", "GOST", "CAMELLIAGCM"),
        "COMPLEMENTOFDEFAULT",
    }
)


def expand_cipher_list(rules: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the ciphers that a list stands for, each once, the preferred first.

    Args:
        rules: The words of the list, such as ``HIGH``, ``!aNULL``, ``ECDHE+AESGCM``, ``@STRENGTH``.

    Raises:
        ValueError: A word names no cipher that is known, or the list leaves none.
    """
    chosen, killed = list[str](), set[str]()
    for rule in rules:
        if rule == "@STRENGTH":
            chosen.sort(key=_strength, reverse=True)
            continue
        found = _RULE.fullmatch(rule)
        if found is None:
            raise ValueError("must be a cipher list of OpenSSL, without @SECLEVEL")
        named = _named(found[2])
        match found[1]:
            case "!":
                killed.update(named)
                chosen = [name for name in chosen if name not in named]
            case "-":
                chosen = [name for name in chosen if name not in named]
            case "+":
                moved = [name for name in chosen if name in named]
                chosen = [*(name for name in chosen if name not in named), *moved]
            case _:
                chosen += [name for name in named if name not in chosen and name not in killed]
    if not chosen:
        raise ValueError("leaves no cipher that protects anything")
    return tuple(chosen)


def _named(words: str) -> list[str]:
    """The ciphers that all *words*, separated by ``+``, are about."""
    parts = words.split("+")
    for part in parts:
        if part not in _TAGS and part not in _NOTHING:
            raise ValueError(f"has the word {part}, which names no cipher that is known")
    return [name for name in _TABLE if all(name in _TAGS.get(part, ()) for part in parts)]


def _strength(name: str) -> int:
    return 128 if "128" in name else 256


def _tags_of(name: str) -> tuple[str, ...]:
    """The words that stand for the cipher *name*, itself included."""
    exchange: tuple[str, ...] = ("ECDHE", "EECDH", "kECDHE", "kEECDH") if name.startswith("ECDHE") else ()
    if name.startswith("DHE"):
        exchange = ("DHE", "EDH", "kDHE", "kEDH", "DH")
    signed = ("ECDSA", "aECDSA") if "ECDSA" in name else ("aRSA",)
    kind = next(item for item in _CLASSES if item in name)
    mode = {"GCM": ("AESGCM",), "CCM": ("AESCCM",)}.get(name.split("-")[-2] if "GCM" in name else name[-3:], ())
    digest = {"SHA": ("SHA", "SHA1"), "SHA256": ("SHA256",), "SHA384": ("SHA384",)}.get(
        name.rpartition("-")[2], ()
    )
    # Of those with their own authentication, the digest is that of the key derivation only.
    cbc = not mode and kind != "CHACHA20"
    old = ("TLSv1", "TLSv1.0") if name.startswith("ECDHE") else ("SSLv3",)
    version = old if cbc and name.endswith("-SHA") else ("TLSv1.2",)
    size = () if kind == "CHACHA20" else (f"{kind}{_strength(name)}",)
    return (
        *(name, "ALL", "HIGH", "DEFAULT", "FIPS", kind),
        *(exchange or ("RSA", "kRSA")),
        *signed,
        *mode,
        *(digest if cbc else ()),
        *version,
        *size,
    )


_TAGS: Final[dict[str, frozenset[str]]] = {
    tag: frozenset(name for name in _TABLE if tag in _tags_of(name))
    for tag in {t for n in _TABLE for t in _tags_of(n)}
}
