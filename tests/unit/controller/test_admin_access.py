"""Who may read which path of the admin server, by address and by credentials."""

from __future__ import annotations

import base64
import math
from pathlib import Path

import anyio
import anyio.abc
import h11
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from typing_extensions import override

from ingresskit.apply import InProcessApplier
from ingresskit.controller import Controller, Health
from ingresskit.controller.admin import AdminSettings, BasicFile, TokenFile
from ingresskit.controller.admin.access import is_loopback
from ingresskit.controller.admin.connection import Connection
from ingresskit.controller.admin.site import Site
from ingresskit.controller.metrics import Metrics
from ingresskit.errors import ConfigurationError
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.sources import MemorySource
from tests.unit.controller.client import Holder, Reply, admin_over, read_reply
from tests.unit.controller.doubles import DEADLINE

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

TOKEN = "c3Rvcm0tcGV0cmVs"
PROTECTED = ("/", "/api/status", "/api/graph", "/api/config", "/api/diagnostics", "/api/explain?url=http://a/")


class Memory(anyio.abc.ByteStream):
    """One end of a connection in memory."""

    def __init__(self, send: MemoryObjectSendStream[bytes], receive: MemoryObjectReceiveStream[bytes]) -> None:
        self._send, self._receive = send, receive

    @override
    async def send(self, item: bytes) -> None:
        await self._send.send(item)

    @override
    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self._receive.receive()

    @override
    async def send_eof(self) -> None:
        self._send.close()

    @override
    async def aclose(self) -> None:
        self._send.close()
        self._receive.close()


async def ask(target: str, settings: AdminSettings, **headers: str) -> Reply:
    """The response to a client whose address is not a loopback one."""
    controller = Controller(
        source=MemorySource(), renderer=InProcessRenderer(), applier=InProcessApplier(Holder())
    )
    health = Health(controller)
    site = Site(controller, health, Metrics(controller, health=health), settings)
    there, back = (anyio.create_memory_object_stream[bytes](math.inf) for _ in range(2))
    client, server = Memory(there[0], back[1]), Memory(back[0], there[1])
    reply = Reply(0, {}, b"")
    with anyio.fail_after(DEADLINE):
        await site.load()
        async with client, server, anyio.create_task_group() as tasks:
            tasks.start_soon(Connection(server, site, settings, local=False, idle=lambda _: None).serve)
            http = h11.Connection(h11.CLIENT)
            fields = [("host", "10.1.2.3:8580"), *headers.items()]
            request = h11.Request(method="GET", target=target, headers=fields)
            await client.send(http.send(request) + http.send(h11.EndOfMessage()))
            reply = await read_reply(client, http)
            tasks.cancel_scope.cancel()
    return reply


@pytest.mark.parametrize("target", PROTECTED)
async def test_without_an_authenticator_other_machines_read_nothing_but_health_and_metrics(
    target: str,
) -> None:
    reply = await ask(target, AdminSettings())

    assert reply.status == 403
    assert "health and metrics" in reply.body.decode()


@pytest.mark.parametrize(("target", "status"), [("/healthz", 200), ("/readyz", 503), ("/metrics", 200)])
async def test_probes_and_scrapers_need_no_credentials(tmp_path: Path, target: str, status: int) -> None:
    (tmp_path / "tokens").write_text(TOKEN)
    reply = await ask(target, AdminSettings(authenticator=TokenFile(tmp_path / "tokens")))

    assert reply.status == status


async def test_a_client_of_this_machine_reads_everything_without_credentials() -> None:
    async with admin_over(host="0.0.0.0") as admin:  # noqa: S104 - what the deployment binds to
        reply = await admin.get("/api/graph", headers={"host": "127.0.0.1"})

    assert reply.status == 200


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - what the deployment binds to
async def test_a_foreign_name_is_refused_on_every_address(address: str) -> None:
    async with admin_over(host=address) as admin:
        pages = [
            await admin.get(target, headers={"host": "evil.test"}) for target in ("/api/graph", "/", "/metrics")
        ]
        probe = await admin.get("/healthz", headers={"host": "evil.test"})

    assert [page.status for page in pages] == [403, 403, 403]
    assert probe.status == 200


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN}", 200),
        ("Bearer second", 200),
        ("Bearer c3Rvcm0", 401),
        ("Bearer", 401),
        (TOKEN, 401),
        (f"Basic {TOKEN}", 401),
        ("", 401),
    ],
)
async def test_a_token_of_the_file_lets_a_client_in(tmp_path: Path, authorization: str, status: int) -> None:
    (tmp_path / "tokens").write_text(f"{TOKEN}\n\nsecond\n")
    settings = AdminSettings(authenticator=TokenFile(tmp_path / "tokens"))

    reply = await ask("/api/status", settings, authorization=authorization)

    assert reply.status == status
    assert (status == 401) == (reply.headers.get("www-authenticate") == 'Bearer realm="ingresskit"')


@pytest.mark.parametrize(
    ("credentials", "status"),
    [("ops:hüh:7", 200), ("ops:other", 401), ("ops:", 401), ("ops", 401), ("OPS:hüh:7", 401)],
)
async def test_a_name_and_password_of_the_file_let_a_client_in(
    tmp_path: Path, credentials: str, status: int
) -> None:
    (tmp_path / "users").write_text("ops:hüh:7\n", encoding="utf-8")
    settings = AdminSettings(authenticator=BasicFile(tmp_path / "users"))
    encoded = base64.b64encode(credentials.encode()).decode()

    reply = await ask("/api/status", settings, authorization=f"Basic {encoded}")

    assert reply.status == status


async def test_with_an_authenticator_this_machine_needs_credentials_too(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(TOKEN)
    settings = AdminSettings(authenticator=TokenFile(tmp_path / "tokens"))

    async with admin_over(settings=settings) as admin:
        without = await admin.get("/api/graph")
        with_it = await admin.get("/api/graph", headers={"authorization": f"Bearer {TOKEN}"})

    assert (without.status, with_it.status) == (401, 200)


async def test_a_renewed_file_counts_and_a_missing_one_lets_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingresskit.controller.admin.access._READ_AGAIN", -1.0)
    path = tmp_path / "tokens"
    path.write_text("old")
    tokens = TokenFile(path)
    renewed = tmp_path / "renewed"
    renewed.write_text("new")
    renewed.replace(path)

    after = (tokens.permits("Bearer old"), tokens.permits("Bearer new"))
    path.unlink()

    assert after == (False, True)
    assert not tokens.permits("Bearer new")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no credentials"),
        ("ops", "line 1 is not NAME:PASSWORD"),
        ("\nops:$2y$05$abc", "line 2 holds a hashed password, which is not supported"),
        ("ops:{SHA}abc=", "line 1 holds a hashed password, which is not supported"),
        ("a" * 70_000, "is larger than 65536 bytes"),
    ],
)
async def test_a_file_that_cannot_be_used_is_a_mistake_at_once(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "users").write_text(content)

    with pytest.raises(ConfigurationError, match=message.replace("$", r"\$")):
        BasicFile(tmp_path / "users")


async def test_a_missing_file_is_a_mistake_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        TokenFile(tmp_path / "none")


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
async def test_loopback_addresses_are_known_in_every_form(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback
