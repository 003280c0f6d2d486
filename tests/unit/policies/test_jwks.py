"""Sets of keys: which are taken, for what, and which are refused."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from ingresskit.models import ConfigMap, ObjectMeta, Secret
from ingresskit.policies.jwks import JwtAlgorithm, load_public_keys, load_secret_keys, parse_algorithms

META = ObjectMeta(namespace="shop", name="keys")


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


RSA = {"kty": "RSA", "kid": "r", "n": b64(b"\xff" * 256), "e": "AQAB"}
EC = {"kty": "EC", "crv": "P-256", "x": b64(b"x" * 32), "y": b64(b"y" * 32)}
ED = {"kty": "OKP", "crv": "Ed25519", "x": b64(b"x" * 32), "alg": "EdDSA"}
OCT = {"kty": "oct", "k": b64(b"k" * 48)}


def public(*keys: Mapping[str, Any]) -> ConfigMap:
    return ConfigMap(metadata=META, data={"jwks.json": json.dumps({"keys": keys})})


def secret(*keys: Mapping[str, Any]) -> Secret:
    return Secret(metadata=META, data={"jwks.json": json.dumps({"keys": keys}).encode()})


def test_each_key_is_for_the_algorithms_of_its_type() -> None:
    found = load_public_keys(public(RSA, EC, ED))

    assert [key.identity for key in found] == ["r", "", ""]
    assert found[0].algorithms[0] is JwtAlgorithm.RS256
    assert {name[:2] for name in found[0].algorithms} == {"RS", "PS"}
    assert [key.algorithms for key in found[1:]] == [(JwtAlgorithm.ES256,), (JwtAlgorithm.EDDSA,)]
    assert load_secret_keys(secret(OCT))[0].algorithms == (JwtAlgorithm.HS256, JwtAlgorithm.HS384)


def test_a_key_that_names_an_algorithm_is_for_that_one() -> None:
    (key,) = load_public_keys(public({**RSA, "alg": "PS512", "x5c": ["…"]}))

    assert key.algorithms == (JwtAlgorithm.PS512,)
    assert json.loads(key.jwk) == {"kty": "RSA", "n": RSA["n"], "e": "AQAB"}
    assert repr(key) == "JwtKey(…)"


def test_keys_of_types_to_come_and_for_encryption_are_left_out() -> None:
    others = ({"kty": "AKP"}, {**EC, "crv": "secp256k1"}, {**RSA, "use": "enc"}, {**RSA, "alg": "RSA-OAEP"})

    assert len(load_public_keys(public(*others, EC))) == 1
    with pytest.raises(ValueError, match="must hold a key for signatures"):
        load_public_keys(public(*others))


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ({**RSA, "n": b64(b"\xff" * 128)}, "has not 2048 to 8192 bits"),
        ({**RSA, "e": "AQ"}, "another exponent"),
        ({**RSA, "n": "a b"}, "not base64url"),
        ({**RSA, "d": "AQAB"}, "no private keys"),
        ({**EC, "x": b64(b"x" * 31)}, "coordinates of another size"),
        ({"kty": "OKP", "crv": "Ed25519"}, "has no x"),
        ({**RSA, "kid": 7}, "another kid"),
        (OCT, "is a shared one"),
    ],
)
def test_a_key_that_is_not_what_it_says_is_refused(key: Mapping[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rf"^must .*{rule}"):
        load_public_keys(public(EC, key))


def test_a_short_shared_key_is_refused() -> None:
    with pytest.raises(ValueError, match="less than 256 bits"):
        load_secret_keys(secret({**OCT, "k": b64(b"k" * 31)}))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"keys": {}}', '{"keys": [7]}', "[" * 100_000, " " * 300_000])
def test_what_is_no_set_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        load_public_keys(ConfigMap(metadata=META, data={"jwks.json": text}))


def test_none_is_no_algorithm() -> None:
    assert parse_algorithms("ES256, RS256,ES256") == (JwtAlgorithm.ES256, JwtAlgorithm.RS256)
    with pytest.raises(ValueError, match="must be some of"):
        parse_algorithms("none")


def test_without_the_extra_no_keys_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)

    with pytest.raises(ValueError, match="the extra auth of this package is not installed"):
        load_public_keys(public(EC))
