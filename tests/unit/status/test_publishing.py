"""Addresses that follow objects: when they are known, and that any change of any kind is noticed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest

from ingresskit.cache import ReflectorSettings, SharedInformerFactory
from ingresskit.errors import ConfigurationError, ProblemCause
from ingresskit.kube import ResourceKind
from ingresskit.models import Node, ObjectKey, Pod, Service
from ingresskit.status import FixedAddresses, NodeAddresses, ServiceAddresses
from ingresskit.testing import pace
from ingresskit.testing.fake_transport import FakeTransport

pytestmark = pytest.mark.anyio

SERVICE = ResourceKind.of(Service)
NODE = ResourceKind.of(Node)
POD = ResourceKind.of(Pod)


def balanced(address: str, name: str = "front") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "edge"},
        "spec": {"type": "LoadBalancer"},
        "status": {"loadBalancer": {"ingress": [{"ip": address}]}},
    }


def node(name: str, address: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "status": {
            "addresses": [{"type": "ExternalIP", "address": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def pod(name: str, on: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "edge", "labels": {"app": "ik"}},
        "spec": {"nodeName": on},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


@asynccontextmanager
async def running(factory: SharedInformerFactory) -> AsyncGenerator[None]:
    with anyio.fail_after(pace.within(20)):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(factory.run)
            yield
            tasks.cancel_scope.cancel()


async def next_addresses(source: ServiceAddresses | NodeAddresses, *unlike: object) -> object:
    while source.addresses() in unlike:
        await source.wait_changed(source.revision)
    return source.addresses()


def texts(found: object) -> list[str]:
    return [item.ip or item.hostname for item in found]  # type: ignore[attr-defined]


async def test_the_addresses_of_a_service_follow_it() -> None:
    server = FakeTransport()
    server.put(SERVICE, balanced("192.0.2.1"))
    server.put(SERVICE, balanced("192.0.2.9", "other"))
    factory = SharedInformerFactory(server)
    source = ServiceAddresses(factory, ObjectKey("edge", "front"))

    assert source.addresses() == ()
    async with running(factory):
        first = await next_addresses(source, ())
        server.put(SERVICE, balanced("192.0.2.2"))
        second = await next_addresses(source, first)

    assert texts(first) == ["192.0.2.1"]
    assert texts(second) == ["192.0.2.2"]


async def test_a_change_of_one_of_two_kinds_ends_the_wait() -> None:
    server = FakeTransport()
    server.put(NODE, node("one", "192.0.2.1"))
    server.put(NODE, node("two", "192.0.2.2"))
    server.put(POD, pod("ik-1", "one"))
    factory = SharedInformerFactory(server)
    source = NodeAddresses(factory, pods_namespace="edge", pods_selector="app=ik")

    async with running(factory):
        first = await next_addresses(source, ())
        server.put(POD, pod("ik-2", "two"))
        second = await next_addresses(source, first)
        server.put(NODE, node("one", "192.0.2.3"))
        third = await next_addresses(source, second)

    assert [texts(found) for found in (first, second, third)] == [
        ["192.0.2.1"],
        ["192.0.2.1", "192.0.2.2"],
        ["192.0.2.2", "192.0.2.3"],
    ]


async def test_the_first_look_at_nothing_is_a_change_too() -> None:
    factory = SharedInformerFactory(FakeTransport())
    source = NodeAddresses(factory)

    async with running(factory):
        await source.wait_changed(0)

    assert source.addresses() == ()


async def test_named_addresses_never_change() -> None:
    source = FixedAddresses(["192.0.2.1"])
    with anyio.move_on_after(0.01) as waiting:
        await source.wait_changed(0)

    assert waiting.cancelled_caught
    assert source.revision == 0
    assert texts(source.addresses()) == ["192.0.2.1"]


def test_a_named_address_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        FixedAddresses(["192.0.2.1/24"])


async def test_what_addresses_are_made_of_and_may_not_be_read_is_a_problem_until_it_may() -> None:
    server = FakeTransport()
    server.put(NODE, node("one", "192.0.2.1"))
    server.forbid(NODE)
    settings = ReflectorSettings(initial_pause=timedelta(milliseconds=10), longest_pause=timedelta(seconds=0.1))
    factory = SharedInformerFactory(server, settings=settings)
    source = NodeAddresses(factory)

    assert source.problems() == ()
    async with running(factory):
        while not source.problems():  # noqa: ASYNC110 - a refusal sets no event
            await anyio.sleep(0.01)
        (problem,) = source.problems()
        server.allow(NODE)
        await next_addresses(source, ())
        assert source.problems() == ()

    assert problem.cause is ProblemCause.RIGHT_MISSING
    assert str(problem) == (
        "Node *: the right to list and watch nodes is missing;"
        " no address is published, and the status of Ingresses stays as it is"
    )
