"""The whole chain against an API server: transport, informers, snapshots, translation, proxy."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from typing import Protocol

import anyio

from ingresskit.apply import InProcessApplier
from ingresskit.cache import ReflectorSettings
from ingresskit.controller import Controller, ControllerSettings
from ingresskit.graph import to_json
from ingresskit.kube import Access, AioTransport, StaticCredentials, Transport, TrustMaterial
from ingresskit.models import IngressClass
from ingresskit.proxy import Proxy
from ingresskit.render.inprocess import InProcessRenderer, RoutingTable
from ingresskit.sources import ClusterSettings, ClusterSource
from ingresskit.testing import pace
from ingresskit.translate import DestinationPolicy, TranslateOptions

__all__ = ["DEADLINE", "OPTIONS", "QUICK", "Chain", "Served", "chain", "credentials", "until"]

DEADLINE = pace.within(30.0)
"""How long anything may take before it counts as never."""

QUICK = ClusterSettings(
    interval=timedelta(milliseconds=20),
    look_again=timedelta(milliseconds=20),
    reflector=ReflectorSettings(
        watch_timeout=(timedelta(seconds=1), timedelta(seconds=1)),
        idle_timeout=timedelta(seconds=1.5),
        initial_silence=timedelta(seconds=1),
        compare_every=timedelta(seconds=5),
        impatience=timedelta(milliseconds=400),
        initial_pause=timedelta(milliseconds=50),
        longest_pause=timedelta(milliseconds=400),
    ),
)
"""As the defaults, some thirty times as fast."""

_PROMPT = ControllerSettings(
    settle_quiet=timedelta(milliseconds=5),
    settle_ceiling=timedelta(milliseconds=100),
    retry_first=timedelta(milliseconds=10),
    retry_ceiling=timedelta(milliseconds=100),
)

OPTIONS = TranslateOptions(destinations=DestinationPolicy(allow=(ip_network("127.0.0.0/8"),)))


class Served(Protocol):
    """An API server, embedded or real."""

    @property
    def url(self) -> str: ...
    @property
    def ca(self) -> bytes: ...
    @property
    def token(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A controller at work."""

    source: ClusterSource
    controller: Controller[RoutingTable]
    proxy: Proxy

    def graph(self) -> bytes:
        """What is live, in its byte form; empty while nothing is."""
        outcome = self.controller.outcome
        return b"" if outcome is None else to_json(outcome.graph)

    def hosts(self) -> list[str]:
        """The hosts that are live."""
        outcome = self.controller.outcome
        return [] if outcome is None else [host.host for host in outcome.graph.virtual_hosts]


def credentials(server: Served, token: str = "") -> StaticCredentials:
    """Those of *token*, or of the administrator."""
    trust = TrustMaterial(authorities=server.ca) if server.url.startswith("https") else TrustMaterial()
    return StaticCredentials(
        Access(server=server.url, authorization=f"Bearer {token or server.token}", trust=trust)
    )


@asynccontextmanager
async def chain(
    server: Served,
    *,
    token: str = "",
    around: Callable[[Transport], Transport] = lambda transport: transport,
    classes: Sequence[IngressClass] = (),
    settings: ClusterSettings = QUICK,
    loop: ControllerSettings = _PROMPT,
    options: TranslateOptions = OPTIONS,
) -> AsyncGenerator[Chain]:
    """A controller that follows *server*; *around* may stand between it and its transport."""
    async with AioTransport(credentials(server, token)) as transport, Proxy() as proxy:
        source = ClusterSource(around(transport), assumed_classes=classes, settings=settings)
        controller = Controller(
            source=source,
            renderer=InProcessRenderer(),
            applier=InProcessApplier(proxy),
            options=options,
            settings=loop,
        )
        async with anyio.create_task_group() as group:
            group.start_soon(controller.run)
            yield Chain(source=source, controller=controller, proxy=proxy)
            group.cancel_scope.cancel()


async def until(condition: Callable[[], bool], within: float = DEADLINE, *, every: float = 0.01) -> float:
    """Wait for *condition*, looking *every* so many seconds; how many seconds that took."""
    began = anyio.current_time()
    with anyio.fail_after(within):
        while not condition():  # noqa: ASYNC110 - conditions of all kinds
            await anyio.sleep(every)
    return anyio.current_time() - began
