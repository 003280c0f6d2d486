"""No key material leaves by any door, whoever put it where."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import ClassVar

import anyio
import pytest
from typing_extensions import override

from ingresskit.apply import Dynamic, NoOp, Plan
from ingresskit.controller import Controller, Event, Subscription
from ingresskit.controller.admin import AdminServer
from ingresskit.errors import ApplyError
from ingresskit.graph import RouteGraph
from ingresskit.models import ObjectMeta, Secret
from ingresskit.policies import (
    BasicAuth,
    DigestAuth,
    IngressNginxDialect,
    JwtAuth,
    NativeDialect,
    PolicyRegistry,
)
from ingresskit.render.base import Renderer
from ingresskit.render.files import RenderedFile, Rendering
from ingresskit.sources import MemorySource
from ingresskit.translate import TranslateOptions
from tests.unit.controller.certificates import tls_secret
from tests.unit.controller.client import Reply, admin_over, exchange
from tests.unit.controller.doubles import DEADLINE, QUICK, ingress, web

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

CANARY = "Y2FuYXJ5LXRoYXQtbXVzdC1uZXZlci1zaW5n"
PATHS = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/status",
    "/api/graph",
    "/api/hosts",
    "/api/diagnostics",
    "/api/explain?url=https://shop.test/",
    "/api/config",
)


def with_canary(secret: Secret) -> tuple[Secret, list[str]]:
    """The Secret, and what of it must not be seen: the body of the key, and a value nobody reads."""
    lines = secret.data["tls.key"].decode().splitlines()[1:-1]
    return replace(secret, data={**secret.data, "password": CANARY.encode()}), [CANARY, *lines]


class Leaky(Renderer[Rendering]):
    """Writes the key into a secret file, as it should, and into another one, as it should not."""

    name: ClassVar[str] = "leaky"

    @override
    def render(self, graph: RouteGraph) -> Rendering:
        keys = b"".join(item.private_key for item in graph.certificates.values())
        return Rendering(
            files=(
                RenderedFile(PurePosixPath("tls/key.pem"), keys, secret=True),
                RenderedFile(PurePosixPath("proxy.conf"), b"listen 80;\n" + keys + b"end;\n"),
            )
        )


class Talkative:
    """Puts what it was given into its error."""

    def __init__(self) -> None:
        self.fail = False

    def plan(self, old: Rendering | None, new: Rendering) -> Plan[Rendering]:
        return NoOp() if old == new else Dynamic(artifact=new)

    async def apply(self, plan: Plan[Rendering]) -> None:
        if self.fail and not isinstance(plan, NoOp):
            raise ApplyError(f"refused: {plan.artifact.files[0].content.decode()}")


async def test_keys_of_a_served_certificate_are_in_no_answer(
    caplog: pytest.LogCaptureFixture, anyio_backend: str
) -> None:
    caplog.set_level(logging.DEBUG)
    secret, canaries = with_canary(tls_secret("shop-tls", "shop.test"))
    async with admin_over(ingress("shop", "shop.test", tls="shop-tls"), secret, *web()) as admin:
        bodies = {path: (await admin.get(path)).body.decode() for path in PATHS}
        outcome = admin.controller.outcome

    assert "shop.test" in bodies["/api/config"]
    assert outcome is not None
    assert len(outcome.graph.certificates) == 1
    shown = [*bodies.values(), caplog.text, repr(outcome)]
    assert [canary for canary in canaries for text in shown if canary in text] == []


async def test_keys_in_files_that_should_not_hold_them_and_in_errors_are_redacted(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret, canaries = with_canary(tls_secret("shop-tls", "shop.test"))
    other, more = with_canary(tls_secret("blog-tls", "blog.test"))
    source = MemorySource([ingress("shop", "shop.test", tls="shop-tls"), secret, *web()])
    applier = Talkative()
    controller = Controller(source=source, renderer=Leaky(), applier=applier, settings=QUICK)
    server = AdminServer(controller, port=0)
    heard: list[str] = []
    bodies: dict[str, Reply] = {}
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run)
            tasks.start_soon(controller.run)
            address = await server.wait_listening()
            await controller.wait_applied(1)
            applier.fail = True
            with controller.subscribe() as events:
                source.apply(ingress("blog", "blog.test", tls="blog-tls"), other)
                heard = [repr(event) async for event in _until_failure(events)]
            bodies = {path: (await exchange(address, path)) for path in PATHS}
            tasks.cancel_scope.cancel()

    files: dict[str, dict[str, object]] = {item["path"]: item for item in bodies["/api/config"].json["files"]}
    assert files["tls/key.pem"]["content"] is None
    assert files["tls/key.pem"]["secret"] is True
    assert files["proxy.conf"]["content"] == "listen 80;\n[redacted]\nend;\n"
    assert "[redacted]" in bodies["/api/status"].json["lastFailure"]["message"]
    shown = [*(reply.body.decode() for reply in bodies.values()), *heard, caplog.text]
    assert [canary for canary in canaries + more for text in shown if canary in text] == []


async def _until_failure(events: Subscription) -> AsyncIterator[Event]:
    async for event in events:
        yield event
        if event.facts.get("ok") is False:
            return


async def test_users_of_a_route_are_in_no_answer(caplog: pytest.LogCaptureFixture, anyio_backend: str) -> None:
    caplog.set_level(logging.DEBUG)
    stored = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
    users = Secret(
        metadata=ObjectMeta(namespace="shop", name="users"),
        data={"auth": f"canary-user:{stored}\nother-canary:DES\n".encode()},
    )
    digests = Secret(
        metadata=ObjectMeta(namespace="shop", name="digests"),
        data={"auth": f"canary-user:shop:{'c0ffee' * 5}ab\n".encode()},
    )
    keys = Secret(
        metadata=ObjectMeta(namespace="shop", name="keys"),
        data={"jwks.json": b'{"keys": [{"kty": "oct", "k": "' + CANARY.encode() * 2 + b'"}]}'},
    )
    asking = {
        "shop": {
            "nginx.ingress.kubernetes.io/auth-type": "basic",
            "nginx.ingress.kubernetes.io/auth-secret": "users",
        },
        "bank": {"ingresskit.dev/digest-auth-secret": "digests"},
        "app": {"ingresskit.dev/jwt-keys-secret": "keys"},
        "closed": {"ingresskit.dev/basic-auth-secret": "users"},
    }
    ingresses = [ingress(name, f"{name}.test", annotations=annotations) for name, annotations in asking.items()]
    options = TranslateOptions(policies=PolicyRegistry([IngressNginxDialect(), NativeDialect()]))
    async with admin_over(*ingresses, users, digests, keys, *web(), options=options) as admin:
        bodies = {path: (await admin.get(path)).body.decode() for path in PATHS}
        outcome = admin.controller.outcome

    assert outcome is not None
    served = {host.host: [route.policies for route in host.routes] for host in outcome.graph.virtual_hosts}
    kinds = {kind for found in served.values() for policies in found for kind in map(type, policies)}
    assert {BasicAuth, DigestAuth, JwtAuth} <= kinds
    canaries = (stored, "canary", "c0ffee", CANARY)
    shown = [*bodies.values(), caplog.text, repr(outcome)]
    assert [canary for canary in canaries for text in shown if canary in text] == []
