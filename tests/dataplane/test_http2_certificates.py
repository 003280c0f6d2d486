"""Hosts that ask clients for certificates, reached on connections of HTTP/2 that were made for another name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from ingresskit.testing.http2 import Http2Client
from ingresskit.testing.planes import Plane
from tests.dataplane.conftest import opened
from tests.dataplane.stage import HOST, Stage
from tests.dataplane.test_client_certificates import ALICE, OPEN, OTHER, asking, showing

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def plane(anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened("inprocess") as made:
        yield made


async def test_a_connection_for_one_host_does_not_open_another(stage: Stage, tmp_path: Path) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*asking(endpoint))
    assert stage.plane.https is not None
    found: dict[tuple[str, str, bool], int] = {}
    for name, shown in ((HOST, ALICE), (HOST, None), (OPEN, None)):
        context = showing(shown, tmp_path)
        context.set_alpn_protocols(["h2"])
        async with await Http2Client.connect(*stage.plane.https, tls=context, name=name) as client:
            for host in (HOST, OTHER, OPEN):
                found[name, host, shown is not None] = (await client.ask(host=host)).status

    assert found == {
        (HOST, HOST, True): 200,
        (HOST, OTHER, True): 421,
        (HOST, OPEN, True): 200,
        (HOST, HOST, False): 400,
        (HOST, OTHER, False): 421,
        (HOST, OPEN, False): 200,
        (OPEN, HOST, False): 421,
        (OPEN, OTHER, False): 421,
        (OPEN, OPEN, False): 200,
    }
