"""Cookies that keep clients at their endpoints.

A value says nothing by itself. Of a persistent affinity it is a keyed digest of the endpoint, so that it leads
to that endpoint for as long as it is there; of a balanced one it is a random name for the session with a keyed
digest of it, and the endpoint follows from a hash of the name, so that some sessions move when endpoints come.
In both, the Service port is a part of what is digested: the cookie of another one is not taken for ours.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Collection, Sequence
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from ingresskit.graph import BackendKey
from ingresskit.policies import Affinity, AffinityCanary, AffinityMode, SameSite, SecureCookie
from ingresskit.proxy.upstreams.hashing import HasFields, cookie_value, highest
from ingresskit.proxy.upstreams.same_site import takes_none_for_strict
from ingresskit.render.cookie_path import cookie_path

if TYPE_CHECKING:
    from ingresskit.proxy.endpoints import EndpointState
    from ingresskit.proxy.message.request import ForwardedRequest

__all__ = ["AffinityCookies"]

_DIGEST_BYTES: Final = 16
_NAME_DIGITS: Final = 16
_MOST_NAMES: Final = 20  # drawn in search of one whose endpoint is well


class AffinityCookies:
    """The cookies of one backend.

    Args:
        policy: What its routes ask for; it names a cookie.
        key: Only proxies know it.
        backend: The backend; its Service port counts.
    """

    def __init__(self, policy: Affinity, key: bytes, backend: BackendKey) -> None:
        self._policy = policy
        self._name = policy.cookie.encode("ascii")
        self._persistent = policy.mode is AffinityMode.PERSISTENT
        port = f"{backend.namespace}/{backend.service}:{backend.port}\0{policy.cookie}\0{policy.mode}"
        # Keys of their own, so that no digest of one use means anything in another.
        self._proof = _digest(key, b"proof\0" + port.encode())
        self._way = _digest(key, b"way\0" + port.encode())
        # What clients send is compared by a digest that they cannot foresee: its time tells them nothing.
        self._blind = secrets.token_bytes(_DIGEST_BYTES)
        self._known: Sequence[EndpointState] = ()
        self._by_value: dict[bytes, EndpointState] = {}

    @property
    def sticky(self) -> bool:
        """Whether clients stay with a canary, or out of it."""
        return self._policy.canary is AffinityCanary.STICKY

    def holds(self, request: HasFields, endpoints: Sequence[EndpointState]) -> bool:
        """Whether *request* has a cookie that leads to one of *endpoints*, which are those of the backend."""
        value = cookie_value(request, self._name)
        if value is None:
            return False
        if self._persistent:
            return self._named(value, endpoints) is not None
        return self._session(value) is not None

    def find(
        self,
        request: HasFields,
        endpoints: Sequence[EndpointState],
        tried: Collection[EndpointState],
        now: float,
    ) -> tuple[EndpointState | None, bool]:
        """The endpoint that the cookie of *request* leads to, if that may be tried now.

        Returns:
            The endpoint, and whether the client needs a new cookie in case it gets to another one.
        """
        value = cookie_value(request, self._name)
        if value is None:
            return None, True
        found: EndpointState | None
        if self._persistent:
            found = self._named(value, endpoints)
        else:
            session = self._session(value)
            found = None if session is None else self._way_of(session, endpoints)
        if found is None:
            return None, True
        if found in tried or found.retry_at > now:
            return None, self._policy.change_on_failure
        return found, False

    def begin(
        self, endpoints: Sequence[EndpointState], tried: Collection[EndpointState], now: float
    ) -> tuple[bytes, EndpointState | None]:
        """A value for a client that has none, and the endpoint that it leads to.

        Returns:
            The value is empty where another choice decides the endpoint: then `value_of` has it.
        """
        if self._persistent:
            return b"", None
        found: EndpointState | None = None
        session = b""
        for _ in range(_MOST_NAMES):
            session = secrets.token_hex(_NAME_DIGITS // 2).encode("ascii")
            found = self._way_of(session, endpoints)
            if found not in tried and found.retry_at <= now:
                break
        else:
            well = [item for item in endpoints if item not in tried]
            found = self._way_of(session, well) if well else None
        return session + b"." + self._digested(session), found

    def value_of(self, endpoint: EndpointState) -> bytes:
        """The value that leads to *endpoint* for as long as it is there."""
        return self._digested(str(endpoint).encode())

    def line(self, value: bytes, request: ForwardedRequest) -> bytes:
        """The field that sets the cookie, with its line end."""
        policy = self._policy
        path = policy.path or cookie_path(request.target.route.match)
        parts = [f"{policy.cookie}={value.decode('ascii')}"]
        if policy.expires is not None:
            parts.append(f"Expires={formatdate(time.time() + policy.expires.total_seconds(), usegmt=True)}")
        if policy.max_age is not None:
            parts.append(f"Max-Age={int(policy.max_age.total_seconds())}")
        if policy.domain is not None:
            parts.append(f"Domain={policy.domain}")
        parts.append(f"Path={path}")
        if policy.secure is SecureCookie.TRUE or (policy.secure is SecureCookie.AUTO and request.https):
            parts.append("Secure")
        parts.append("HttpOnly")
        if policy.samesite is not None and not self._spares(request):
            parts.append(f"SameSite={policy.samesite}")
        return f"Set-Cookie: {'; '.join(parts)}\r\n".encode("ascii")

    def _spares(self, request: ForwardedRequest) -> bool:
        """Whether the client would take ``SameSite=None`` for something else."""
        policy = self._policy
        if policy.samesite is not SameSite.NONE or not policy.conditional_samesite_none:
            return False
        return takes_none_for_strict((request.field(b"user-agent") or b"").decode("latin-1"))

    def _named(self, value: bytes, endpoints: Sequence[EndpointState]) -> EndpointState | None:
        if self._known is not endpoints:
            self._by_value = {self._blinded(self.value_of(item)): item for item in endpoints}
            self._known = endpoints
        return self._by_value.get(self._blinded(value))

    def _session(self, value: bytes) -> bytes | None:
        session, _, proof = value.partition(b".")
        genuine = hmac.compare_digest(proof, self._digested(session))
        return session if genuine and session else None

    def _way_of(self, session: bytes, endpoints: Sequence[EndpointState]) -> EndpointState:
        hashed = int.from_bytes(_digest(self._way, session)[:8], "big")
        return highest(endpoints, hashed, lambda item: item.seed)[0]

    def _digested(self, text: bytes) -> bytes:
        return _digest(self._proof, text).hex().encode("ascii")

    def _blinded(self, value: bytes) -> bytes:
        return _digest(self._blind, value)


def _digest(key: bytes, text: bytes) -> bytes:
    # HMAC with SHA-1, which is what nginx has: it takes the same cookies.
    return hmac.digest(key, text, "sha1")[:_DIGEST_BYTES]
