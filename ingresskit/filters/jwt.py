"""Who is let in by a signed token: JSON web tokens in ``Authorization: Bearer`` (RFC 6750, RFC 7519, RFC 8725).

The algorithm that a token names decides nothing but which keys are tried: a key verifies those of its own type.
The claims are judged first, by the clock of the runtime. Then PyJWT, of the extra ``auth``, verifies the
signature in a thread, for a set of long keys may take as long as many requests.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Final, cast

from ingresskit.filters.base import Memory, Reply, RequestView, Verification
from ingresskit.filters.credentials import WITHOUT_CREDENTIALS
from ingresskit.filters.edits import HeaderEdit
from ingresskit.filters.effects import Compiler, Effect
from ingresskit.policies import JwtAuth, Stage
from ingresskit.policies.jwks import JwtAlgorithm

if TYPE_CHECKING:
    from jwt import PyJWK

__all__ = ["COMPILERS", "JwtFilter", "verify_token"]

_LONGEST: Final = 16_384
_TOKEN: Final = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,3998}[\x21-\x7e])?")
_MISSING: Final = Reply(status=401, fields=((b"WWW-Authenticate", b"Bearer"),))
_INVALID: Final = Reply(status=401, fields=((b"WWW-Authenticate", b'Bearer error="invalid_token"'),))

Key = tuple[str, str]
"""The identity of a key, and the key as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtFilter:
    """Lets requests with a valid token in; 401 for all others.

    Attributes:
        keys: For each algorithm the keys that may verify it.
        issuer: As in `JwtAuth`, and so *audiences*.
        headers: Header fields, each with its claim.
        skew: In seconds.
    """

    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    keys: Mapping[JwtAlgorithm, tuple[Key, ...]] = field(repr=False)
    issuer: str = ""
    audiences: frozenset[str] = frozenset()
    headers: tuple[tuple[bytes, str], ...] = ()
    skew: float = 0.0

    def request(self, request: RequestView, memory: Memory) -> Reply | Verification:
        """As `Filter.request`."""
        scheme, _, rest = (request.field(b"authorization") or b"").partition(b" ")
        if scheme.lower() != b"bearer":
            return _MISSING
        token = rest.strip(b" ")
        parts = _TOKEN.fullmatch(token) if len(token) <= _LONGEST else None
        stored = self._candidates(parts[1]) if parts is not None else ""
        # The signature is of these very octets: what they say may be judged before it.
        claims = _object(parts[2]) if parts is not None and stored else None
        if claims is None or not self._holds(claims, memory.unix_time):
            return _INVALID
        found = ((name, _text(claims.get(claim))) for name, claim in self.headers)
        fields = tuple((name, text.encode("ascii")) for name, text in found if text)
        return Verification(
            function=verify_token,
            stored=stored,
            given=token,
            quick=True,
            then=_Signed(HeaderEdit(fields=fields)),
        )

    def _candidates(self, header_part: bytes) -> str:
        """The algorithm of a token, and the keys that may have signed it, a line each; empty: there is none.

        Args:
            header_part: The first part of the token.
        """
        header = _object(header_part)
        # What must be understood (RFC 7515, 4.1.11) is not, and no payload stands apart.
        if header is None or "crit" in header or "b64" in header:
            return ""
        try:
            algorithm = JwtAlgorithm(str(header.get("alg")))
        except ValueError:
            return ""
        identity = header.get("kid")
        keys = [key for name, key in self.keys.get(algorithm, ()) if identity in (None, name) or not name]
        return "\n".join((algorithm, *keys)) if keys else ""

    def _holds(self, claims: Mapping[str, object], now: float) -> bool:
        """Whether the claims are meant for us, at this time (RFC 7519, 4.1)."""
        expiry = _date(claims.get("exp"))
        if expiry is None or now >= expiry + self.skew:
            return False
        for name in ("nbf", "iat"):
            if name in claims:
                date = _date(claims[name])
                if date is None or now < date - self.skew:
                    return False
        if self.issuer and claims.get("iss") != self.issuer:
            return False
        if not self.audiences:
            return True
        named = claims.get("aud")
        listed = cast("list[object]", named) if isinstance(named, list) else [named]
        return any(isinstance(item, str) and item in self.audiences for item in listed)


@dataclass(frozen=True, slots=True)
class _Signed:
    """Lets a request go on with *edit* whose token is signed."""

    edit: HeaderEdit = field(repr=False)

    def verified(self, request: RequestView, right: bool, /) -> Reply | HeaderEdit:
        """As `Verifying.verified`."""
        return self.edit if right else _INVALID


def verify_token(stored: str, given: bytes) -> bool:
    """Whether one of some keys signed a token.

    Args:
        stored: The algorithm, and the keys as JSON, a line each.
        given: The token.
    """
    algorithm, *keys = stored.split("\n")
    return any(_is_signed(given, JwtAlgorithm(algorithm), key) for key in keys)


def _is_signed(token: bytes, algorithm: JwtAlgorithm, key: str) -> bool:
    import jwt

    try:
        jwt.PyJWS().decode(token, _key(key, algorithm), algorithms=[str(algorithm)])
    except (jwt.PyJWTError, ValueError, RecursionError):
        return False
    return True


@lru_cache(maxsize=256)
def _key(key: str, algorithm: JwtAlgorithm) -> PyJWK:
    import jwt

    return jwt.PyJWK(json.loads(key), str(algorithm))


def _object(part: bytes) -> dict[str, object] | None:
    try:
        found: object = json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", found) if isinstance(found, dict) else None


def _date(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None


def _text(claim: object) -> str:
    """*claim* as the value of a header field; empty where it cannot be one."""
    match claim:
        case bool():
            return str(claim).lower()
        case int():
            return str(claim) if abs(claim) < 10**30 else ""
        case str():
            return claim if _HEADER_VALUE.fullmatch(claim) else ""
        case list():
            parts = [_text(item) for item in cast("list[object]", claim) if not isinstance(item, list)]
            text = ",".join(parts)
            simple = len(parts) == len(cast("list[object]", claim)) and not any("," in part for part in parts)
            return text if simple and all(parts) and _HEADER_VALUE.fullmatch(text) else ""
        case _:
            return ""


def _jwt(policy: JwtAuth) -> Effect:
    keys: dict[JwtAlgorithm, tuple[Key, ...]] = {}
    for key in policy.keys:
        # Without a choice a key verifies one algorithm: the one that it names, or the usual one of its type.
        usable = [item for item in key.algorithms if item in policy.algorithms]
        for algorithm in usable if policy.algorithms else key.algorithms[:1]:
            keys[algorithm] = (*keys.get(algorithm, ()), (key.identity, key.jwk))
    dropped = HeaderEdit.of(removed=(name for name, _ in policy.headers))
    return Effect(
        guards=(
            JwtFilter(
                keys=keys,
                issuer=policy.issuer,
                audiences=frozenset(policy.audiences),
                headers=tuple((name.encode("ascii"), claim) for name, claim in policy.headers),
                skew=policy.skew.total_seconds(),
            ),
        ),
        request=dropped if policy.forward else dropped.then(WITHOUT_CREDENTIALS),
    )


COMPILERS: Final = (Compiler(JwtAuth, _jwt),)
