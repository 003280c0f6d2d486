"""Who is let in by digest authentication (RFC 7616), with MD5 and SHA-256 and ``qop=auth``.

A nonce is the time and a keyed hash of it, so nothing is kept for clients that only ask. The key comes from the
users' secrets: every replica makes and takes the same nonces, also after a restart.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from ingresskit.filters.base import Memory, Reply, RequestView
from ingresskit.filters.credentials import WITHOUT_CREDENTIALS, quoted_string
from ingresskit.filters.edits import UNCHANGED
from ingresskit.filters.effects import Compiler, Effect
from ingresskit.graph import PathRefused, normalise_path
from ingresskit.policies import DigestAuth, Stage
from ingresskit.policies.passwords import DigestAlgorithm

__all__ = ["COMPILERS", "DigestAuthFilter"]

_LIFETIME: Final = 300.0  # seconds of a nonce; then the browser proves the password again, and asks nobody
_SKEW: Final = 60.0  # by which the clock of another replica may be ahead
_HASHES: Final = {DigestAlgorithm.MD5: hashlib.md5, DigestAlgorithm.SHA256: hashlib.sha256}
_NONCE: Final = re.compile(rb"([0-9a-f]{12})([0-9a-f]{32})")
_PARAMETER: Final = re.compile(
    rb'[ \t]*([a-z*]{1,20})[ \t]*=[ \t]*(?:"((?:[^"\\\x00-\x1f]|\\[\x20-\x7e])*)"|([^\s",;=]+))[ \t]*(?:,|$)'
)
_NEEDED: Final = frozenset({b"username", b"realm", b"nonce", b"uri", b"response", b"qop", b"nc", b"cnonce"})


@dataclass(frozen=True, slots=True)
class DigestAuthFilter:
    """Lets users in who prove that they know their password, once for each proof; 401 for all others.

    Attributes:
        users: The hash of name, realm and password, by algorithm and name.
        realm: Of all of them.
        key: Of the nonces.
    """

    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    users: Mapping[tuple[DigestAlgorithm, bytes], bytes] = field(repr=False)
    realm: str
    key: bytes = field(repr=False)

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        """As `Filter.request`."""
        given = _parameters(request.field(b"authorization") or b"")
        if given is None or not _is_target(given[b"uri"], request):
            return self._refused(memory)
        try:
            algorithm = DigestAlgorithm(given.get(b"algorithm", b"MD5").decode("ascii").upper())
        except ValueError:
            return self._refused(memory)
        held = self.users.get((algorithm, given[b"username"]))
        # Somebody's, so that a name that nobody has takes as long.
        known = held is not None and given[b"realm"] == self.realm.encode("ascii")
        proof = _proof(algorithm, held or self.key.hex().encode("ascii"), request.method, given)
        if not hmac.compare_digest(proof, given[b"response"].lower()) or not known:
            return self._refused(memory)
        age = self._age(given[b"nonce"], memory)
        if age is None or age < -_SKEW or age > _LIFETIME:
            return self._refused(memory, stale=True)
        # A proof covers the nonce and its count: the same one again is a replay.
        if not memory.take(("digest", proof), 1 / (2 * _LIFETIME), 1):
            return self._refused(memory, stale=True)
        return None

    def _refused(self, memory: Memory, *, stale: bool = False) -> Reply:
        now = memory.unix_time
        stamp = b"%012x" % (0 if math.isnan(now) else int(now * 1000))
        common = b'Digest realm=%b, qop="auth", nonce="%b", algorithm=%b, charset=UTF-8'
        challenges = [
            common % (quoted_string(self.realm), stamp + self._seal(stamp), algorithm.encode("ascii"))
            + (b", stale=true" if stale else b"")
            # The stronger one first: a client takes the first that it knows (RFC 7616, 3.7).
            for algorithm in (DigestAlgorithm.SHA256, DigestAlgorithm.MD5)
            if any(held is algorithm for held, _ in self.users)
        ]
        return Reply(status=401, fields=tuple((b"WWW-Authenticate", text) for text in challenges))

    def _seal(self, stamp: bytes) -> bytes:
        return hmac.digest(self.key, stamp, "sha256").hex()[:32].encode("ascii")

    def _age(self, nonce: bytes, memory: Memory) -> float | None:
        """Seconds since *nonce* was made; ``None`` for one that is not ours."""
        found = _NONCE.fullmatch(nonce)
        if found is None or not hmac.compare_digest(self._seal(found[1]), found[2]):
            return None
        return memory.unix_time - int(found[1], 16) / 1000


def _proof(algorithm: DigestAlgorithm, secret: bytes, method: bytes, given: Mapping[bytes, bytes]) -> bytes:
    """The response that *secret* leads to (RFC 7616, 3.4.1)."""
    digest = _HASHES[algorithm]
    request = digest(method + b":" + given[b"uri"], usedforsecurity=False).hexdigest().encode("ascii")
    parts = (secret, given[b"nonce"], given[b"nc"], given[b"cnonce"], given[b"qop"], request)
    return digest(b":".join(parts), usedforsecurity=False).hexdigest().encode("ascii")


def _parameters(value: bytes) -> dict[bytes, bytes] | None:
    """The parameters of a header field; ``None`` where it is missing, malformed, or of another ``qop``."""
    scheme, _, rest = value.partition(b" ")
    if scheme.lower() != b"digest" or len(rest) > 4096:
        return None
    given: dict[bytes, bytes] = {}
    place = 0
    while place < len(rest):
        found = _PARAMETER.match(rest, place)
        if found is None or found[1] in given:
            return None
        given[found[1]] = re.sub(rb"\\(.)", rb"\1", found[2]) if found[2] is not None else found[3]
        place = found.end()
    well_formed = (
        given.keys() >= _NEEDED
        and given[b"qop"] == b"auth"
        and re.fullmatch(rb"[0-9A-Fa-f]{8}", given[b"nc"]) is not None
        and given.get(b"userhash", b"false") == b"false"
    )
    return given if well_formed else None


def _is_target(uri: bytes, request: RequestView) -> bool:
    """Whether *uri* is that of the request: a proof holds for one URL only."""
    if re.match(rb"https?://", uri):
        uri = b"/" + uri.partition(b"://")[2].partition(b"/")[2]
    path, mark, query = uri.partition(b"?")
    try:
        text = path.decode("ascii")
        return mark + query == request.query and (text == request.path or normalise_path(text) == request.path)
    except (UnicodeDecodeError, PathRefused):
        return False


def _digest(policy: DigestAuth) -> Effect:
    users = {(user.algorithm, user.name.encode()): user.hash.encode("ascii") for user in policy.users}
    secrets = hashlib.sha256(b"ingresskit digest nonce")
    for held in users.values():
        secrets.update(held)
    return Effect(
        guards=(DigestAuthFilter(users, policy.realm, secrets.digest()),),
        request=UNCHANGED if policy.forward else WITHOUT_CREDENTIALS,
    )


COMPILERS: Final = (Compiler(DigestAuth, _digest),)
