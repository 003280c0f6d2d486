"""Keys of JSON web tokens, as sets of them stand in ConfigMaps and Secrets (RFC 7517).

Only the form is looked at here: `ingresskit.filters.jwt` verifies. Each key is for the algorithms of its own
type, so that no public key is ever taken for a shared secret.
"""

from __future__ import annotations

import base64
import importlib
import json
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final, NamedTuple, cast

from ingresskit.models import ConfigMap, Secret

__all__ = ["JwtAlgorithm", "JwtKey", "load_public_keys", "load_secret_keys", "parse_algorithms"]

_FILE: Final = "jwks.json"
_MOST_BYTES: Final = 256 * 1024
_MOST_KEYS: Final = 20  # a token without a key's identity is compared with each


class JwtAlgorithm(StrEnum):
    """A signature of a token (RFC 7518, 3.1; RFC 8037). Values are stable; ``none`` is not among them."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    EDDSA = "EdDSA"
    HS256 = "HS256"
    HS384 = "HS384"
    HS512 = "HS512"


class JwtKey(NamedTuple):
    """A key that verifies tokens. Its ``repr`` shows nothing.

    Attributes:
        identity: Its ``kid``; empty: it has none, and is tried for every token.
        algorithms: What it may verify: the one that it names; else those of its type, the usual one first.
        jwk: The key as a JSON object with the members of its type only.
    """

    identity: str
    algorithms: tuple[JwtAlgorithm, ...]
    jwk: str

    def __repr__(self) -> str:
        return "JwtKey(…)"


_RSA: Final = (
    *(JwtAlgorithm.RS256, JwtAlgorithm.RS384, JwtAlgorithm.RS512),
    *(JwtAlgorithm.PS256, JwtAlgorithm.PS384, JwtAlgorithm.PS512),
)
_HMAC: Final = {JwtAlgorithm.HS256: 32, JwtAlgorithm.HS384: 48, JwtAlgorithm.HS512: 64}
# The algorithm of a curve, and octets of each coordinate.
_CURVES: Final = {
    "P-256": (JwtAlgorithm.ES256, 32),
    "P-384": (JwtAlgorithm.ES384, 48),
    "P-521": (JwtAlgorithm.ES512, 66),
}
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})


def load_public_keys(config_map: ConfigMap) -> tuple[JwtKey, ...]:
    """The public keys in *config_map*: a set of them under ``jwks.json``.

    Raises:
        ValueError: There are none, or it is no such set.
    """
    return _keys(config_map.data.get(_FILE, "").encode(), secret=False)


def load_secret_keys(secret: Secret) -> tuple[JwtKey, ...]:
    """The keys in *secret*, which may be shared ones: a set of them under ``jwks.json``.

    Raises:
        ValueError: There are none, or it is no such set.
    """
    return _keys(secret.data.get(_FILE, b""), secret=True)


def parse_algorithms(text: str) -> tuple[JwtAlgorithm, ...]:
    """Algorithms separated by commas, each once, in the order written."""
    try:
        return tuple(dict.fromkeys(JwtAlgorithm(part.strip()) for part in text.split(",")))
    except ValueError:
        raise ValueError(f"must be some of {', '.join(JwtAlgorithm)}, separated by commas") from None


def _keys(text: bytes, *, secret: bool) -> tuple[JwtKey, ...]:
    if not text:
        raise ValueError(f"must have the key {_FILE}")
    if len(text) > _MOST_BYTES:
        raise ValueError(f"must hold {_MOST_BYTES} octets at most")
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("must hold a set of JSON web keys") from None
    listed = cast("dict[str, object]", found).get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise ValueError("must hold a set of JSON web keys: an object with the list keys")
    items = cast("list[object]", listed)
    if len(items) > _MOST_KEYS:
        raise ValueError(f"must hold {_MOST_KEYS} keys at most")
    try:
        importlib.import_module("jwt")
    except ImportError:
        raise ValueError("must be left out: the extra auth of this package is not installed") from None
    made = tuple(_made(items, secret=secret))
    if not made:
        raise ValueError("must hold a key for signatures of a known type")
    return made


def _made(items: list[object], *, secret: bool) -> Iterator[JwtKey]:
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            raise ValueError(f"must hold keys that are objects; key {number} is none")
        members = cast("dict[str, object]", item)
        if not _PRIVATE.isdisjoint(members):
            raise ValueError(f"must hold no private keys; key {number} is one")
        kind, identity = members.get("kty"), members.get("kid", "")
        if not isinstance(identity, str) or len(identity) > 200:
            raise ValueError(f"must name keys by at most 200 characters; key {number} has another kid")
        if members.get("use", "sig") != "sig":
            continue
        if kind == "oct" and not secret:
            raise ValueError(f"must hold public keys; key {number} is a shared one, for a Secret")
        try:
            made = _of_kind(kind, members)
        except ValueError as exc:
            raise ValueError(f"must hold keys that can be used: key {number} {exc}") from None
        if made is None:
            continue  # of a type to come (RFC 7517, 5)
        usable, kept = made
        named = members.get("alg")
        if named is not None:
            usable = tuple(algorithm for algorithm in usable if algorithm == named)
        if usable:
            yield JwtKey(identity, usable, json.dumps({"kty": kind, **kept}, sort_keys=True))


def _of_kind(
    kind: object, members: Mapping[str, object]
) -> tuple[tuple[JwtAlgorithm, ...], dict[str, str]] | None:
    """What a key may verify, and the members that make it; ``None`` for another type."""
    if kind == "RSA":
        modulus, exponent = (int.from_bytes(_octets(members, name), "big") for name in ("n", "e"))
        if not 2048 <= modulus.bit_length() <= 8192:
            raise ValueError("has not 2048 to 8192 bits")
        if not 3 <= exponent < 1 << 32 or not exponent % 2:
            raise ValueError("has another exponent than keys have")
        return _RSA, _texts(members, "n", "e")
    if kind == "EC":
        curve = _CURVES.get(str(members.get("crv")))
        if curve is None:
            return None
        algorithm, size = curve
        if any(len(_octets(members, name)) != size for name in ("x", "y")):
            raise ValueError("has coordinates of another size")
        return (algorithm,), _texts(members, "crv", "x", "y")
    if kind == "OKP":
        if members.get("crv") != "Ed25519":
            return None
        if len(_octets(members, "x")) != 32:
            raise ValueError("has another size")
        return (JwtAlgorithm.EDDSA,), _texts(members, "crv", "x")
    if kind == "oct":
        size = len(_octets(members, "k"))
        usable = tuple(algorithm for algorithm, least in _HMAC.items() if size >= least)
        if not usable:
            raise ValueError("has less than 256 bits")
        return usable, _texts(members, "k")
    return None


def _texts(members: Mapping[str, object], *names: str) -> dict[str, str]:
    return {name: str(members[name]) for name in names}


def _octets(members: Mapping[str, object], name: str) -> bytes:
    text = members.get(name)
    if not isinstance(text, str) or re.fullmatch(r"[A-Za-z0-9_-]{1,4096}", text) is None:
        raise ValueError(f"has no {name}, or one that is not base64url")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise ValueError(f"has a {name} that is not base64url") from None
