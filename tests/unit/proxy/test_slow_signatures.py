"""While signatures and hashes of many rounds are verified, others are served."""

from __future__ import annotations

import base64
import json
import pickle
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import replace

import jwt
import pytest

from ingresskit.filters import jwt as jwt_filter
from ingresskit.filters.passwords import verify_password
from ingresskit.models import ObjectMeta, Secret
from ingresskit.policies import JwtAuth, crypt_library
from ingresskit.policies.crypt_library import crypt, has_crypt
from ingresskit.policies.jwks import load_secret_keys
from ingresskit.policies.passwords import password_users
from tests.unit.proxy.conftest import Stage, forward, get

pytestmark = pytest.mark.anyio

GATE = threading.Event()
SHARED = b"0123456789abcdef0123456789abcdef"
KEY = {"kty": "oct", "k": base64.urlsafe_b64encode(SHARED).rstrip(b"=").decode()}
KEYS = load_secret_keys(
    Secret(
        metadata=ObjectMeta(namespace="shop", name="keys"),
        data={"jwks.json": json.dumps({"keys": [KEY]}).encode()},
    )
)
verify_at_once = jwt_filter.verify_token


def verify_late(stored: str, given: bytes) -> bool:
    GATE.wait(30)
    return verify_at_once(stored, given)


@pytest.fixture(autouse=True)
def gate() -> Generator[None]:
    GATE.clear()
    yield
    GATE.set()


def bearer(subject: str) -> bytes:
    token = jwt.encode({"sub": subject, "exp": time.time() + 600}, SHARED, algorithm="HS256")
    return get(fields=[f"Authorization: Bearer {token}"])


async def test_others_are_served_while_a_token_is_verified(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwt_filter, "verify_token", verify_late)
    endpoint = await stage.endpoint()
    table = forward(endpoint.port, policies=(JwtAuth(secret_keys=KEYS, headers=(("X-User", "sub"),)),))
    free = forward(endpoint.port, host="free.example")
    served = replace(pickle.loads(pickle.dumps(table)), hosts={**table.hosts, **free.hosts})  # noqa: S301 - our own
    proxy = await stage.proxy(served)
    waiting = [await stage.connect(proxy) for _ in range(40)]
    for number, wire in enumerate(waiting):
        await wire.send(bearer(f"user-{number}"))
    client = await stage.connect(proxy)

    assert (await client.ask(get(host="free.example"))).status == 200
    assert (await client.ask(get(fields=["Authorization: Bearer a.b.c"]))).status == 401
    GATE.set()
    assert [(await wire.answer()).status for wire in waiting] == [200] * 40
    assert endpoint.seen[-1].value("x-user") is not None


@pytest.mark.skipif(not has_crypt(), reason="the C library has no crypt_r")
def test_a_hash_of_many_rounds_lets_other_threads_run() -> None:
    stored = "sha512-crypt " + crypt(b"secret", "$6$rounds=900000$saltsalt$")
    started, ended = threading.Event(), threading.Event()

    def verify() -> None:
        started.set()
        assert verify_password(stored, b"secret")
        ended.set()

    interval = sys.getswitchinterval()
    # Code that holds the interpreter's lock would not be interrupted before its end.
    sys.setswitchinterval(3600)
    try:
        thread = threading.Thread(target=verify)
        thread.start()
        started.wait(30)
        ran_meanwhile = not ended.is_set()
    finally:
        sys.setswitchinterval(interval)
    thread.join(60)

    assert ran_meanwhile
    assert ended.is_set()


@pytest.mark.parametrize("given", [b"secret", b"wrong", b"", "pässwörd".encode(), b"x" * 512])
@pytest.mark.parametrize("start", ["$5$saltsalt$", "$6$rounds=1400$anotherlongsalts$", "$1$abc$"])
@pytest.mark.skipif(not has_crypt(), reason="the C library has no crypt_r")
def test_the_library_says_what_python_says(given: bytes, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scheme = {"$5": "sha256-crypt", "$6": "sha512-crypt", "$1": "md5-crypt"}[start[:2]]
    stored = f"{scheme} {crypt(b'secret', start)}"
    by_library = verify_password(stored, given)

    monkeypatch.setattr("ingresskit.filters.passwords.has_crypt", lambda: False)

    assert by_library is verify_password(stored, given) is (given == b"secret")


def test_without_the_library_hashes_of_many_rounds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingresskit.policies.passwords.has_crypt", lambda: False)
    hashes = {rounds: f"$6$rounds={rounds}$saltsalt${'a' * 86}" for rounds in (20_000, 20_001)}
    file = "".join(f"user{rounds}:{text}\n" for rounds, text in hashes.items()).encode()

    users, unsupported = password_users({"auth": file}, whole_file=True)

    assert [user.name for user in users] == ["user20000"]
    assert "at most 20,000 rounds" in unsupported[0].rule


@pytest.mark.parametrize("names", [("no-such-library.so",), (None,), ()])
def test_a_library_that_fails_its_test_is_not_used(
    names: tuple[str | None, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crypt_library, "_NAMES", names)
    monkeypatch.setattr(crypt_library, "_VECTOR", (b"x", b"$5$saltstring", b"$5$other"))
    found = crypt_library._library.__wrapped__

    assert found() is None
