"""Whatever the proxy: the real gRPC client and server understand each other through it, and its errors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from functools import partial

import grpc
import pytest
from anyio.to_thread import run_sync

from ingresskit.testing import ingress, service
from tests.dataplane.conftest import opened_with_delegate
from tests.dataplane.grpc_scene import DEADLINE, Caller, GrpcEndpoint, channel_to, grpc_secret, open_grpc
from tests.dataplane.haproxy_plane import HAPROXY
from tests.dataplane.stage import HOST, Stage, slices

pytestmark = pytest.mark.anyio

needs_haproxy = pytest.mark.skipif(bool(HAPROXY.missing), reason=HAPROXY.missing)
_SPEAK = ("inprocess", "haproxy", "nginx-dynamic")


@pytest.fixture(params=[False, True], ids=["grpc", "grpcs"], scope="module")
def endpoint(request: pytest.FixtureRequest) -> Generator[GrpcEndpoint]:
    with open_grpc(tls=request.param) as made:
        made.secure = request.param
        yield made


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
async def caller(
    request: pytest.FixtureRequest, stage: Stage, endpoint: GrpcEndpoint
) -> AsyncGenerator[Caller]:
    if stage.plane.name not in _SPEAK:
        pytest.skip("speaks no gRPC")
    if not request.param and stage.plane.name.startswith("nginx"):
        pytest.skip("takes HTTP/2 inside TLS only")
    await stage.serve_objects(
        ingress("web", {HOST: {"/": "web"}}, tls={"grpc-tls": [HOST]}, annotations={"tls-redirect": "false"}),
        service("web", app_protocol="grpcs" if endpoint.secure else "grpc"),
        *slices("web", [endpoint.port]),
        grpc_secret(HOST),
    )
    address = stage.plane.https if request.param else stage.plane.http
    assert address is not None
    with channel_to(address, HOST, tls=request.param) as made:
        yield made


async def test_all_kinds_of_calls(caller: Caller, endpoint: GrpcEndpoint) -> None:
    message, first, last = await run_sync(caller.echo, b"hello")
    joined = await run_sync(caller.join, [b"a", b"b", b"c"])
    split = await run_sync(caller.split, b"a,b,c")
    talked = await run_sync(caller.chat, [b"a", b"b", b"c"])

    assert (message, first.get("x-first")) == (b"hello", "1")
    assert (last.get("x-last"), last.get("x-last-bin")) == ("2", b"\x00\xff")
    assert (joined, split, talked) == (b"a,b,c", [b"a", b"b", b"c"], [b"one:a", b"one:b", b"one:c"])


async def test_failures_of_a_service_pass(caller: Caller) -> None:
    failed = await run_sync(caller.failure, b"a b")
    unknown = await run_sync(lambda: caller.failure(method="None"))

    assert failed == (grpc.StatusCode.FAILED_PRECONDITION, "not so: a b")
    assert unknown[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_large_and_compressed_messages(caller: Caller) -> None:
    large = bytes(range(256)) * 32768  # 8 MiB

    plain = await run_sync(caller.echo, large)
    coded = await run_sync(lambda: caller.echo(large, compression=grpc.Compression.Gzip))

    assert plain[0] == coded[0] == large


async def test_cancellation_reaches_the_endpoint(caller: Caller, endpoint: GrpcEndpoint) -> None:
    endpoint.waiting.clear()
    endpoint.cancelled.clear()

    await run_sync(caller.cancel, endpoint)

    assert await run_sync(endpoint.cancelled.wait, DEADLINE)


async def test_deadlines(caller: Caller, endpoint: GrpcEndpoint) -> None:
    endpoint.remaining.clear()
    await run_sync(lambda: caller.echo(b"", deadline=DEADLINE))

    late = await run_sync(lambda: caller.failure(method="Wait", deadline=0.5))

    assert late[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(endpoint.remaining) == 1
    # gRPC rounds up what it says.
    assert all(left is not None and 0 < left <= DEADLINE + 1 for left in endpoint.remaining)


async def test_errors_of_the_proxy_are_those_of_grpc(caller: Caller, stage: Stage) -> None:
    refused = await stage.closed_port()
    await stage.serve_objects(
        ingress(
            "web",
            {HOST: {"/test.Echo/Gone": "gone", "/test.Echo/Empty": "empty"}},
            tls={"grpc-tls": [HOST]},
            annotations={"tls-redirect": "false"},
        ),
        ingress(
            "closed",
            {HOST: {"/test.Echo/Closed": "gone"}},
            annotations={"tls-redirect": "false", "allow-sources": "10.9.9.9/32"},
        ),
        service("gone", app_protocol="grpc"),
        service("empty", app_protocol="grpc"),
        *slices("gone", [refused]),
        grpc_secret(HOST),
    )

    found: dict[str, grpc.StatusCode] = {}
    for method in ("Gone", "Empty", "Closed", "None"):
        found[method], words = await run_sync(partial(caller.failure, method=method))
        assert "http" not in words.lower(), "the client made it of a status of HTTP"

    assert found == {
        "Gone": grpc.StatusCode.UNAVAILABLE,
        "Empty": grpc.StatusCode.UNAVAILABLE,
        "Closed": grpc.StatusCode.PERMISSION_DENIED,
        "None": grpc.StatusCode.UNIMPLEMENTED,
    }


@needs_haproxy
async def test_calls_pass_the_delegate_beside_haproxy() -> None:
    with open_grpc() as endpoint:
        async with opened_with_delegate("haproxy") as plane, Stage(plane) as stage:
            await stage.serve_objects(
                ingress(
                    "web",
                    {HOST: {"/": "web"}},
                    annotations={"tls-redirect": "false", "request-timeout": "20s"},
                ),
                service("web", app_protocol="grpc"),
                *slices("web", [endpoint.port]),
            )
            with channel_to(plane.http, HOST, tls=False) as caller:
                message, first, last = await run_sync(caller.echo, b"hello")
                talked = await run_sync(caller.chat, [b"a", b"b"])
                failed = await run_sync(caller.failure, b"x")

    assert (message, first.get("x-first"), last.get("x-last")) == (b"hello", "1", "2")
    assert talked == [b"one:a", b"one:b"]
    assert failed == (grpc.StatusCode.FAILED_PRECONDITION, "not so: x")
