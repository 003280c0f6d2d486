"""Routes and targets that the access log leaves out."""

from __future__ import annotations

import pytest

from ingresskit.policies import AccessLog, AllowedSources, Policy
from ingresskit.policies.values import parse_networks
from ingresskit.proxy.access import AccessRecord
from tests.unit.proxy.conftest import Stage, forward, get

pytestmark = pytest.mark.anyio

REFUSED = AllowedSources(networks=parse_networks("192.0.2.0/24"))


async def recorded(stage: Stage, *policies: Policy) -> tuple[list[str], int]:
    """The logged paths of requests for ``/health?x``, ``/health`` and ``/``, and how many were counted."""
    endpoint = await stage.endpoint()
    records: list[AccessRecord] = []
    proxy = await stage.proxy(forward(endpoint.port, policies=policies), access_log=records.append)
    client = await stage.connect(proxy)
    for path in ("/health?x", "/health", "/"):
        await client.ask(get(path))
    return [record.path for record in records], sum(
        number for counts in proxy.statistics().requests.values() for number in counts.values()
    )


async def test_a_route_is_left_out_and_counted(stage: Stage) -> None:
    assert await recorded(stage, AccessLog(enabled=False)) == ([], 3)


async def test_so_are_requests_that_are_refused(stage: Stage) -> None:
    assert await recorded(stage, AccessLog(enabled=False), REFUSED) == ([], 3)


@pytest.mark.parametrize("policies", [(), (REFUSED,)])
async def test_targets_are_left_out_with_their_query(stage: Stage, policies: tuple[Policy, ...]) -> None:
    paths, counted = await recorded(stage, AccessLog(skipped=("/health?x",)), *policies)

    assert (paths, counted) == (["/health", "/"], 3)


async def test_without_the_policy_every_request_is_there(stage: Stage) -> None:
    assert (await recorded(stage))[0] == ["/health", "/health", "/"]
