"""Whatever the proxy: an Ingress can say where HTTP/3 is offered."""

from __future__ import annotations

import pytest

from tests.dataplane.stage import Stage
from tests.unit.proxy.conftest import get

pytestmark = pytest.mark.anyio


async def test_clients_are_told_where_http_3_is_offered(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    offer = 'h3=":443"; ma=86400'
    await stage.serve(endpoint, annotations={"response-headers-set": f"Alt-Svc: {offer}"})
    client = await stage.connect()
    answer = await client.ask(get())

    assert answer.status == 200
    assert answer.value("alt-svc") == offer
