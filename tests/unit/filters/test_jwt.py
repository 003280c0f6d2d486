"""Tokens: who is let in, and every way not to be."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ingresskit.filters import (
    BUILTIN_EFFECTS,
    Effect,
    HeaderEdit,
    Memory,
    Reply,
    RequestView,
    Verification,
    Verifying,
)
from ingresskit.models import ConfigMap, ObjectMeta, Secret
from ingresskit.policies import JwtAuth
from ingresskit.policies.jwks import JwtAlgorithm, JwtKey, load_public_keys, load_secret_keys

NOW = 1_700_000_000
CLAIMS = {"sub": "alice", "iss": "https://id.example", "aud": ["shop", "bank"], "exp": NOW + 600, "iat": NOW}
META = ObjectMeta(namespace="shop", name="keys")
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
SHARED = b"0123456789abcdef0123456789abcdef"


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def rsa_jwk(key: rsa.RSAPrivateKey, **more: str) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e), **more}


def ec_jwk(**more: str) -> dict[str, str]:
    numbers = EC.public_key().public_numbers()
    x, y = (b64(value.to_bytes(32, "big")) for value in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, **more}


def public_keys(*keys: Mapping[str, str]) -> tuple[JwtKey, ...]:
    return load_public_keys(ConfigMap(metadata=META, data={"jwks.json": json.dumps({"keys": keys})}))


KEYS = public_keys(rsa_jwk(RSA, kid="r"), ec_jwk())
POLICY = JwtAuth(public_keys=KEYS)


class Asked:
    """A request with this token, and the time it comes at."""

    now = 0.0

    def __init__(self, value: str | None, unix_time: float = NOW) -> None:
        self._value = value
        self.unix_time = unix_time

    def field(self, name: bytes) -> bytes | None:
        return self._value.encode() if name == b"authorization" and self._value is not None else None


def effect(policy: JwtAuth) -> Effect:
    (found,) = BUILTIN_EFFECTS.of([policy])
    return found


def judge(token: str, policy: JwtAuth = POLICY, now: float = NOW) -> Reply | HeaderEdit | None:
    asked = Asked(f"Bearer {token}", now)
    (guard,) = effect(policy).guards
    outcome = guard.request(cast(RequestView, asked), cast(Memory, asked))
    if isinstance(outcome, Verification):
        assert isinstance(outcome.then, Verifying)
        right = outcome.function(outcome.stored, outcome.given)
        outcome = outcome.then.verified(cast(RequestView, asked), right)
    assert outcome is None or isinstance(outcome, Reply | HeaderEdit)
    return outcome or None


def is_let_in(token: str, policy: JwtAuth = POLICY, now: float = NOW) -> bool:
    outcome = judge(token, policy, now)
    if isinstance(outcome, Reply):
        assert outcome.status == 401
        return False
    return True


def signed(claims: Mapping[str, Any] = CLAIMS, *, header: Mapping[str, Any] | None = None) -> str:
    return jwt.encode(dict(claims), RSA, algorithm="RS256", headers=dict(header or {}))


def test_a_token_of_a_key_is_let_in() -> None:
    assert is_let_in(signed(header={"kid": "r"}))
    assert is_let_in(signed())
    assert is_let_in(jwt.encode(CLAIMS, EC, algorithm="ES256", headers={"kid": "any: the key has none"}))


@pytest.mark.parametrize("value", [None, "", "Basic abc", "Bearer", "Bearer ", "Bearer a.b", "Bearer a.b.c d"])
def test_what_is_no_token_is_asked_for_one(value: str | None) -> None:
    (guard,) = effect(POLICY).guards
    asked = Asked(value)

    outcome = guard.request(cast(RequestView, asked), cast(Memory, asked))

    assert isinstance(outcome, Reply)
    assert outcome.status == 401
    assert outcome.fields[0][1].startswith(b"Bearer")


def test_none_and_a_public_key_as_a_secret_are_refused() -> None:
    claims = b64(json.dumps(CLAIMS).encode())
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    tokens: list[str] = []
    for name in ("none", "None", "NONE", ""):
        tokens.append(f"{b64(json.dumps({'alg': name}).encode())}.{claims}.")
        tokens.append(f"{b64(json.dumps({'alg': name}).encode())}.{claims}.AA")
    start = f"{b64(json.dumps({'alg': 'HS256', 'kid': 'r'}).encode())}.{claims}"
    secrets = (pem, json.dumps(rsa_jwk(RSA)).encode(), KEYS[0].jwk.encode(), b"")
    tokens += (f"{start}.{b64(hmac.digest(key, start.encode(), hashlib.sha256))}" for key in secrets)

    assert [is_let_in(token) for token in tokens] == [False] * len(tokens)


def test_a_key_verifies_what_it_names_and_nothing_else() -> None:
    tokens = {name: jwt.encode(CLAIMS, RSA, algorithm=name) for name in ("RS256", "RS512", "PS256")}

    def taken(policy: JwtAuth) -> list[str]:
        return [name for name, token in tokens.items() if is_let_in(token, policy)]

    assert taken(POLICY) == ["RS256"]
    assert taken(JwtAuth(public_keys=public_keys(rsa_jwk(RSA, alg="PS256")))) == ["PS256"]
    chosen = (JwtAlgorithm.RS512, JwtAlgorithm.PS256)
    assert taken(JwtAuth(public_keys=KEYS, algorithms=chosen)) == ["RS512", "PS256"]


def test_another_key_or_another_identity_is_refused() -> None:
    assert not is_let_in(jwt.encode(CLAIMS, OTHER, algorithm="RS256"))
    assert not is_let_in(signed(header={"kid": "other"}))
    both = JwtAuth(public_keys=public_keys(rsa_jwk(OTHER, kid="o"), rsa_jwk(RSA, kid="r")))
    assert is_let_in(signed(), both)
    assert not is_let_in(signed(header={"kid": "o"}), both)


def test_a_shared_key_of_a_secret_is_one() -> None:
    data = {"jwks.json": json.dumps({"keys": [{"kty": "oct", "k": b64(SHARED)}]}).encode()}
    policy = JwtAuth(secret_keys=load_secret_keys(Secret(metadata=META, data=data)))

    assert is_let_in(jwt.encode(CLAIMS, SHARED, algorithm="HS256"), policy)
    assert not is_let_in(jwt.encode(CLAIMS, SHARED[::-1], algorithm="HS256"), policy)


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"b64": True}, {"crit": []}])
def test_what_must_be_understood_is_refused(header: Mapping[str, Any]) -> None:
    start = f"{b64(json.dumps({'alg': 'RS256', **header}).encode())}.{b64(json.dumps(CLAIMS).encode())}"
    algorithm = jwt.PyJWS().get_algorithm_by_name("RS256")
    token = f"{start}.{b64(algorithm.sign(start.encode(), algorithm.prepare_key(RSA)))}"

    assert not is_let_in(token)


@pytest.mark.parametrize(
    ("changed", "now", "let_in"),
    [
        pytest.param({}, NOW + 629, True, id="within the skew"),
        pytest.param({}, NOW + 631, False, id="over"),
        pytest.param({"exp": None}, NOW, False, id="no expiry"),
        pytest.param({"exp": "2099"}, NOW, False, id="no number"),
        pytest.param({"exp": True}, NOW, False, id="a boolean"),
        pytest.param({"exp": float("inf")}, NOW, False, id="endless"),
        pytest.param({"exp": float("nan")}, NOW, False, id="not a number"),
        pytest.param({"exp": 10**400}, NOW, False, id="no time"),
        pytest.param({"nbf": NOW + 29}, NOW, True, id="nearly"),
        pytest.param({"nbf": NOW + 31}, NOW, False, id="not yet"),
        pytest.param({"iat": NOW + 31}, NOW, False, id="from the future"),
        pytest.param({"nbf": "x"}, NOW, False, id="another form"),
    ],
)
def test_a_token_holds_for_its_time(changed: Mapping[str, Any], now: float, let_in: bool) -> None:
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}

    assert is_let_in(jwt.PyJWS().encode(json.dumps(claims).encode(), RSA, algorithm="RS256"), now=now) is let_in


@pytest.mark.parametrize(
    ("changed", "let_in"),
    [
        ({}, True),
        ({"aud": "shop"}, True),
        ({"aud": "other"}, False),
        ({"aud": []}, False),
        ({"aud": [7, None]}, False),
        ({"aud": None}, False),
        ({"iss": "https://id.example/"}, False),
        ({"iss": None}, False),
        ({"iss": ["https://id.example"]}, False),
    ],
)
def test_a_token_is_of_its_issuer_and_for_its_audience(changed: Mapping[str, Any], let_in: bool) -> None:
    policy = JwtAuth(public_keys=KEYS, issuer="https://id.example", audiences=("shop",), skew=timedelta(0))
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}

    assert is_let_in(jwt.PyJWS().encode(json.dumps(claims).encode(), RSA, algorithm="RS256"), policy) is let_in


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("alice", b"alice"),
        (7, b"7"),
        (True, b"true"),
        (["a", "b"], b"a,b"),
        (["a", "b,c"], None),
        ([], None),
        ({"a": 1}, None),
        ("a\r\nX-Admin: 1", None),
        ("élise", None),
        (" alice", None),
        (None, None),
    ],
)
def test_a_claim_becomes_a_header_field_or_none(claim: object, value: bytes | None) -> None:
    policy = JwtAuth(public_keys=KEYS, headers=(("X-User", "https://shop.example/user"),))

    outcome = judge(signed({**CLAIMS, "https://shop.example/user": claim}), policy)

    expected = None if value is None else HeaderEdit(fields=((b"X-User", value),))
    assert outcome == expected
    assert effect(policy).request.drop == {b"x-user"}


@pytest.mark.parametrize("part", ["header", "claims"])
def test_what_is_no_object_is_refused(part: str) -> None:
    deep = b64(b"[" * 5_000)
    good = signed().split(".")
    good[0 if part == "header" else 1] = deep

    assert not is_let_in(".".join(good))
    assert not is_let_in("a" * 20_000 + ".a.a")


def test_the_policy_needs_keys_for_its_algorithms() -> None:
    with pytest.raises(ValueError, match="needs jwt-keys"):
        JwtAuth.build({"issuer": "x"})
    with pytest.raises(ValueError, match="must have a key for one of its algorithms"):
        JwtAuth.build({"public_keys": KEYS, "algorithms": (JwtAlgorithm.HS256,)})
