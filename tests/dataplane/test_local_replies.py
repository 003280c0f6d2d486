"""What a route puts into responses that the proxy makes itself, with a delegate where it needs one."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.dataplane import test_requests
from tests.dataplane.stage import Stage, trusting
from tests.unit.proxy.conftest import Answer, get

pytestmark = pytest.mark.anyio

plane = test_requests.plane
HSTS = {"hsts": "300"}
CORS = {"cors-origins": "https://a.example"}
NAME = "strict-transport-security"
KEPT_OUT = {"allow-sources": "10.0.0.0/8"}


async def _asked(
    stage: Stage, annotations: Mapping[str, str], *, tls: bool, fields: list[str] | None = None
) -> Answer:
    await stage.serve(await stage.closed_port(), annotations=annotations)
    client = await stage.connect(tls=trusting() if tls else None)
    return await client.ask(get(fields=fields or []))


@pytest.mark.parametrize(
    ("annotations", "status"),
    [
        pytest.param(KEPT_OUT, 403, id="a client that is kept out"),
        pytest.param({"redirect": "https://b.test/"}, 308, id="a redirect"),
        pytest.param({}, 502, id="an endpoint that cannot be reached"),
        pytest.param({**KEPT_OUT, "response-headers-set": "X-Own: 1"}, 403, id="beside fields of endpoints"),
    ],
)
async def test_browsers_are_told_to_use_tls_by_local_replies_too(
    stage: Stage, annotations: dict[str, str], status: int
) -> None:
    answer = await _asked(stage, {**HSTS, **annotations}, tls=True)

    assert answer.status == status
    assert answer.values(NAME) == ["max-age=300"]
    assert answer.value("x-own") is None
    assert (await _asked(stage, {**HSTS, **annotations}, tls=False)).value(NAME) is None


async def test_a_route_that_takes_the_field_out_of_responses_has_none_of_its_own(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations={**HSTS, "response-headers-remove": NAME})
    client = await stage.connect(tls=trusting())

    assert (await client.ask(get())).value(NAME) is None


@pytest.mark.parametrize(
    ("annotations", "status"),
    [
        pytest.param({"allow-methods": "POST"}, 405, id="a method that is not served"),
        pytest.param({"redirect": "https://b.test/"}, 308, id="a redirect"),
        pytest.param({}, 502, id="an endpoint that cannot be reached"),
    ],
)
async def test_a_page_that_may_read_responses_may_read_local_replies(
    stage: Stage, annotations: dict[str, str], status: int
) -> None:
    wanted = {**CORS, **annotations}

    allowed = await _asked(stage, wanted, tls=False, fields=["Origin: https://a.example"])
    other = await _asked(stage, wanted, tls=False, fields=["Origin: https://b.example"])

    assert allowed.status == other.status == status
    assert allowed.values("access-control-allow-origin") == ["https://a.example"]
    assert other.value("access-control-allow-origin") is None
    assert other.values("vary") == ["Origin"]


async def test_a_client_that_is_refused_before_learns_nothing(stage: Stage) -> None:
    answer = await _asked(stage, {**CORS, **KEPT_OUT}, tls=False, fields=["Origin: https://a.example"])

    assert (answer.status, answer.value("access-control-allow-origin"), answer.value("vary")) == (
        403,
        None,
        None,
    )


async def test_a_preflight_has_its_fields_once(stage: Stage) -> None:
    await stage.serve(await stage.endpoint(), annotations={**CORS, **HSTS})
    client = await stage.connect(tls=trusting())
    asked = ["Origin: https://a.example", "Access-Control-Request-Method: GET"]

    answer = await client.ask(get(method="OPTIONS", fields=asked))

    assert answer.status == 204
    assert answer.values("access-control-allow-origin") == ["https://a.example"]
    assert answer.values("vary") == ["Origin"]
    assert answer.values(NAME) == ["max-age=300"]
