"""A Service is updated pod by pod under load: no request fails, and no stream of a pod that stays ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest

from ingresskit.controller.statistics import ApplyKind
from ingresskit.models import Snapshot
from ingresskit.testing import ingress, ingress_class, service
from ingresskit.testing.planes import Plane
from ingresskit.translate import Translator
from tests.dataplane.planes import KINDS
from tests.dataplane.rolling import Clients, Pod, slices_of
from tests.dataplane.stage import HOST, OPTIONS

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]

_STAY = 2
_CHANGE = 3


async def test_nothing_fails_while_pods_are_replaced(plane: Plane, changes_wanted: int) -> None:
    kind = KINDS[plane.name]
    whole = changes_wanted >= 1000
    replaced = max(6, changes_wanted // (20 if kind.reloads_often else 1 if whole else 5))
    translator = Translator(OPTIONS)
    fixed = [
        ingress_class(),
        ingress("web", {HOST: {"/": "web"}}, annotations={"tls-redirect": "false"}),
        service("web"),
    ]
    names = map("web-{}".format, itertools.count())

    async def serve(pods: list[Pod]) -> None:
        await plane.serve(translator.translate(Snapshot.of([*fixed, *slices_of(pods)])).graph)

    async with contextlib.AsyncExitStack() as stack:
        pods = [
            await stack.enter_async_context(Pod(name).running())
            for name in itertools.islice(names, _STAY + _CHANGE)
        ]
        await serve(pods)
        stay = [pod.port for pod in pods[:_STAY]]
        reloads = plane.applied[ApplyKind.RELOAD]
        async with Clients(plane.http, HOST).asking(stay) as clients:
            for _ in range(replaced):
                # As a Deployment does with maxSurge 1: the new one is ready before the old one is told to end.
                new = await stack.enter_async_context(Pod(next(names)).running())
                pods.append(new)
                await serve(pods)
                old = pods[_STAY]
                old.terminating = True
                await serve(pods)
                pods.remove(old)
                # What a preStop hook is for: requests that were sent there before are finished.
                await asyncio.sleep(0.1)
                await old.end()
                await serve(pods)
        reloads = plane.applied[ApplyKind.RELOAD] - reloads

    promise = kind.promise
    assert not clients.faults or promise.may_fail
    assert len(clients.responses) >= min(replaced, _STAY + _CHANGE)
    assert len(clients.streams) == 4 * _STAY
    assert clients.signs > replaced
    assert promise.reloads is None or reloads <= promise.reloads
