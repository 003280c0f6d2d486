"""Whatever a client sends as credentials, no filter raises, and nobody is let in by junk."""

from __future__ import annotations

import base64
import math
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from ingresskit.filters import BUILTIN_EFFECTS, Memory, Reply, RequestView, Verification
from ingresskit.models import ConfigMap, ObjectMeta, Secret
from ingresskit.policies import BasicAuth, DigestAuth, JwtAuth, Policy
from ingresskit.policies.jwks import load_public_keys
from ingresskit.policies.passwords import load_digest_users, load_password_users

META = ObjectMeta(namespace="shop", name="users")
KEY = '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
POLICIES: tuple[Policy, ...] = (
    BasicAuth(
        users=load_password_users(
            Secret(metadata=META, data={"auth": b"ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="})
        )
    ),
    DigestAuth.build(
        {"users": load_digest_users(Secret(metadata=META, data={"auth": b"ann:shop:" + b"0" * 32}))}
    ),
    JwtAuth(
        public_keys=load_public_keys(ConfigMap(metadata=META, data={"jwks.json": KEY})),
        headers=(("X-User", "sub"),),
    ),
)
BASIC, DIGEST, JWT = (effect.guards[0] for effect in BUILTIN_EFFECTS.of(POLICIES))

NAMES = (b"username", b"realm", b"nonce", b"uri", b"response", b"qop", b"nc", b"cnonce", b"algorithm", b"x")
VALUES = (b"ann", b"shop", b"auth", b"00000001", b"/", b"MD5", b"0" * 44)


def base64url(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def parameter(name: bytes, value: bytes, mark: bytes) -> bytes:
    return name + b"=" + mark + value + mark


def basic(pair: bytes) -> bytes:
    return b"Basic " + base64.b64encode(pair)


def digest(parameters: list[bytes]) -> bytes:
    return b"Digest " + b", ".join(parameters)


def bearer(parts: list[bytes]) -> bytes:
    return b"Bearer " + b".".join(parts)


PARTS = st.one_of(st.binary(max_size=40).map(base64url), st.binary(max_size=40))
PARAMETERS = st.builds(
    parameter,
    st.sampled_from(NAMES),
    st.one_of(st.sampled_from(VALUES), st.binary(max_size=9)),
    st.sampled_from((b'"', b"")),
)
CREDENTIALS = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(b"Basic ".__add__),
    st.binary(max_size=30).map(basic),
    st.lists(PARAMETERS, max_size=12).map(digest),
    st.lists(PARTS, min_size=1, max_size=4).map(bearer),
)


class Asked:
    """A request with these credentials, which is its own memory."""

    method = b"GET"
    path = "/"
    query = b""
    now = 0.0

    def __init__(self, value: bytes, unix_time: float) -> None:
        self._value = value
        self.unix_time = unix_time

    def field(self, name: bytes) -> bytes | None:
        return self._value if name == b"authorization" else None

    def take(self, key: tuple[object, ...], rate: float, burst: int) -> bool:
        return True


@given(CREDENTIALS, st.sampled_from((0.0, 1_700_000_000.0, math.nan)))
def test_junk_lets_nobody_in(value: bytes, unix_time: float) -> None:
    asked = Asked(value, unix_time)
    request, memory = cast(RequestView, asked), cast(Memory, asked)

    for item in (DIGEST, JWT):
        outcome = item.request(request, memory)
        assert isinstance(outcome, Reply)
        assert outcome.status == 401
    outcome = BASIC.request(request, memory)
    if isinstance(outcome, Verification):
        # What is asked about is a password for a hash; no junk is one of ann's.
        assert not outcome.function(outcome.stored, outcome.given) or outcome.given == b"secret"
    else:
        assert isinstance(outcome, Reply)
        assert outcome.status == 401
