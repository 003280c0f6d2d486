"""Who is let in by name and password: basic and digest authentication."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from ingresskit.filters.base import Memory, Reply, RequestView, Verification
from ingresskit.filters.edits import UNCHANGED, HeaderEdit
from ingresskit.filters.effects import Compiler, Effect
from ingresskit.filters.passwords import STORED_AS, refuse_password, verify_password
from ingresskit.policies import BasicAuth, Satisfy, Stage

__all__ = ["COMPILERS", "WITHOUT_CREDENTIALS", "BasicAuthFilter", "quoted_string"]

WITHOUT_CREDENTIALS: Final = HeaderEdit.of(removed=("Authorization",))
"""The endpoint does not get what the client proved itself with."""

_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class BasicAuthFilter:
    """Lets users with their password in (RFC 7617); 401 for all others.

    An unknown name costs the client as much time as that of a user.

    Attributes:
        users: Scheme and hash by name.
        challenge: The value of ``WWW-Authenticate``.
    """

    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    users: Mapping[bytes, str] = field(repr=False)
    challenge: bytes

    def request(self, request: RequestView, memory: Memory) -> Reply | Verification:
        """As `Filter.request`."""
        given = _user_and_password(request.field(b"authorization") or b"")
        if given is None:
            return self._refused()
        name, password = given
        stored = self.users.get(name)
        if stored is not None:
            return Verification(function=verify_password, stored=stored, given=password)
        return Verification(function=refuse_password, stored=self._like(name), given=password)

    def verified(self, request: RequestView, right: bool, /) -> Reply | None:
        """As `Verifying.verified`."""
        return None if right else self._refused()

    def _like(self, name: bytes) -> str:
        """The hash of some user, always the same for a name: hashes of users differ in what they cost."""
        number = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")
        hashes = tuple(self.users.values())
        return hashes[number % len(hashes)]

    def _refused(self) -> Reply:
        return Reply(status=401, fields=((b"WWW-Authenticate", self.challenge),))


def quoted_string(text: str) -> bytes:
    """*text*, of ASCII, as a quoted string (RFC 9110, 5.6.4)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'.encode("ascii")


def _user_and_password(value: bytes) -> tuple[bytes, bytes] | None:
    """What a header field says; ``None`` where it is missing or malformed."""
    scheme, _, rest = value.partition(b" ")
    if scheme.lower() != b"basic" or len(rest) > _LONGEST:
        return None
    try:
        decoded = base64.b64decode(rest.strip(b" "), validate=True)
    except (binascii.Error, ValueError):
        return None
    name, colon, password = decoded.partition(b":")
    return (name, password) if colon else None


def _basic(policy: BasicAuth) -> Effect:
    users = {user.name.encode(): STORED_AS.format(user) for user in policy.users}
    challenge = b"Basic realm=%b" % quoted_string(policy.realm)
    return Effect(
        guards=(BasicAuthFilter(users, challenge + b', charset="UTF-8"'),),
        request=UNCHANGED if policy.forward else WITHOUT_CREDENTIALS,
    )


def _satisfy(policy: Satisfy) -> Effect:
    # The chain combines guards of other policies: see `ingresskit.filters.any_of`.
    del policy
    return Effect()


COMPILERS: Final = (Compiler(BasicAuth, _basic), Compiler(Satisfy, _satisfy))
