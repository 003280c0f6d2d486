"""Users in Secrets: which hashes are known, and which Secrets hold none."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest

from ingresskit.filters.passwords import STORED_AS, refuse_password, verify_password
from ingresskit.models import ObjectMeta, Secret
from ingresskit.policies.passwords import (
    DigestAlgorithm,
    PasswordScheme,
    digest_users,
    load_digest_users,
    load_password_users,
    password_users,
)

# Of the word secret. Source: openssl passwd, and the Apache documentation on password formats.
HASHES = {
    PasswordScheme.BCRYPT: "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
    PasswordScheme.APR1: "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/",
    PasswordScheme.MD5_CRYPT: "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
    PasswordScheme.SHA: "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    PasswordScheme.SSHA: "{SSHA}SWdNwI9zrKBmRo5SG0mvNQtpZnhhYmNkZWZnaA==",
    PasswordScheme.SHA256_CRYPT: "$5$abcdefghijklmnop$i7zHaTeYqXlesRXJ8dXj6o.MEFQdzfIJpJpcWAtszs6",
    PasswordScheme.SHA512_CRYPT: (
        "$6$rounds=1000$abcdefghijklmnop$/ySzNKkDy6wawo9hTH6WxjPbiNMjvDjUNjja1ca1Iw8M6hvIP5521AJRYCq2LKFri"
        "/5fZ6KSUYfs/3ZzFVhh./"
    ),
}
SHA = HASHES[PasswordScheme.SHA]
COSTLY = HASHES[PasswordScheme.BCRYPT].replace("$04$", "$15$")
MANY_ROUNDS = HASHES[PasswordScheme.SHA512_CRYPT].replace("1000", "9999999")
MD5, SHA256 = "0" * 32, "A" * 64


def secret(data: Mapping[str, str | bytes]) -> Secret:
    octets = {key: value.encode() if isinstance(value, str) else value for key, value in data.items()}
    return Secret(metadata=ObjectMeta(namespace="shop", name="users"), data=octets)


@pytest.mark.parametrize("scheme", PasswordScheme, ids=str)
def test_every_hash_is_known_by_its_form_and_verified(scheme: PasswordScheme) -> None:
    (user,) = load_password_users(secret({"auth": f"alice:{HASHES[scheme]}"}))
    stored = STORED_AS.format(user)

    assert (user.name, user.scheme) == ("alice", scheme)
    assert verify_password(stored, b"secret")
    assert not verify_password(stored, b"secret ")
    assert not verify_password(stored, b"")
    assert not verify_password(stored, b"secret\0")
    assert not verify_password(stored, b"secret" + b"x" * 600)
    assert not refuse_password(stored, b"secret")


def test_of_a_long_password_bcrypt_looks_at_72_octets() -> None:
    stored = "bcrypt $2b$04$abcdefghijklmnopqrstuu7Bqr3WfrDvx8/Xw.fUpeN9xo/gqhLQy"

    assert not verify_password(stored, b"x" * 100)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param(f"alice:{SHA}", ["alice"], id="one line"),
        pytest.param(f"# of the shop\r\n\r\nalice:{SHA}\r\nbob:{SHA}\r\n", ["alice", "bob"], id="CRLF"),
        pytest.param(f"alice:{SHA}:a remark", ["alice"], id="a remark"),
        pytest.param(f"élise:{SHA}", ["élise"], id="another alphabet"),
        pytest.param(f"alice:{SHA}\nalice:$apr1$a$aaaaaaaaaaaaaaaaaaaaaa", ["alice"], id="the first of a name"),
    ],
)
def test_a_file_is_read_as_nginx_reads_it(text: str, names: list[str]) -> None:
    users = load_password_users(secret({"auth": text}))

    assert [user.name for user in users] == names
    assert all(user.hash == SHA for user in users)


def test_a_map_has_a_key_for_each_user_one_of_whom_may_be_called_auth() -> None:
    users = load_password_users(secret({"bob": f"{SHA}\n", "auth": SHA}))

    assert [user.name for user in users] == ["auth", "bob"]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({}, id="empty"),
        pytest.param({"auth": "\n# nobody\n"}, id="nobody"),
        pytest.param({"auth": f"alice:{SHA}\nbob"}, id="no colon"),
        pytest.param({"auth": f":{SHA}"}, id="no name"),
        pytest.param({"auth": "alice:secret"}, id="no hash"),
        pytest.param({"auth": "alice:{PLAIN}secret"}, id="plain text"),
        pytest.param({"auth": "alice:rqXexS6ZhobKA"}, id="DES"),
        pytest.param(
            {"auth": HASHES[PasswordScheme.BCRYPT].replace("$04$", "$15$").join(("alice:", ""))},
            id="too costly",
        ),
        pytest.param(
            {"auth": f"alice:{HASHES[PasswordScheme.SHA512_CRYPT].replace('1000', '9999999')}"}, id="rounds"
        ),
        pytest.param({"auth": b"alice:\xff"}, id="not UTF-8"),
        pytest.param({"auth": f"al\x00ice:{SHA}"}, id="a control character"),
        pytest.param({"auth": f"{'a' * 256}:{SHA}"}, id="a long name"),
    ],
)
def test_a_secret_without_users_is_refused_and_nothing_of_it_told(data: Mapping[str, str | bytes]) -> None:
    with pytest.raises(ValueError, match=r"^must ") as raised:
        load_password_users(secret(data))

    assert "alice" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_hash_that_is_not_supported_costs_its_user_only_where_that_is_asked_for() -> None:
    users, unsupported = password_users({"auth": f"bob:x\nalice:{SHA}".encode()}, whole_file=True)

    assert [user.name for user in users] == ["alice"]
    assert [item.place for item in unsupported] == ["line 1"]


def test_a_file_of_htdigest_has_users_of_realms() -> None:
    users = load_digest_users(secret({"auth": f"alice:shop:{MD5}\nalice:shop:{SHA256}\nbob:bank:{MD5}\n"}))

    assert [(user.name, user.realm, user.algorithm, user.hash) for user in users] == [
        ("alice", "shop", DigestAlgorithm.MD5, MD5),
        ("alice", "shop", DigestAlgorithm.SHA256, SHA256.lower()),
        ("bob", "bank", DigestAlgorithm.MD5, MD5),
    ]


def test_a_map_of_htdigest_has_a_realm_and_a_hash_for_each_user() -> None:
    (user,) = load_digest_users(secret({"auth": f"shop:{MD5}"}))

    assert (user.name, user.realm) == ("auth", "shop")


@pytest.mark.parametrize("text", ["", "alice", f"alice:{MD5}", f"alice:shop:{MD5}0", f"alice:shop:{'g' * 32}"])
def test_a_file_without_digests_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        digest_users({"auth": text.encode()}, whole_file=True)


def test_users_show_nothing_of_themselves() -> None:
    users = load_password_users(secret({"auth": f"alice:{SHA}"}))
    digests = load_digest_users(secret({"auth": f"alice:shop:{MD5}"}))

    assert repr((users, digests)) == "((PasswordUser(…),), (DigestUser(…),))"


def test_without_the_extra_only_what_needs_none_can_be_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bcrypt", "passlib"):
        monkeypatch.setitem(sys.modules, name, None)
    data = {"auth": "\n".join(f"{scheme}:{stored}" for scheme, stored in HASHES.items()).encode()}

    users, unsupported = password_users(data, whole_file=True)

    assert [user.scheme for user in users] == [PasswordScheme.SHA, PasswordScheme.SSHA]
    assert {item.rule for item in unsupported} == {
        "must be {SHA} or {SSHA}, as the extra auth of this package is not installed"
    }
