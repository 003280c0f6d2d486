"""What a running proxy promises, as tests its author inherits.

Scenarios, odd requests, hostile objects, and changes under traffic.

Each test starts the proxy once and puts many graphs into it, one after the other, through the real
applier. Import from this module: it loads anyio, which `ingresskit.testing` does not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from itertools import product
from typing import ClassVar

import anyio

from ingresskit.controller.statistics import ApplyKind
from ingresskit.graph import RouteGraph
from ingresskit.models import KubeObject, ObjectKey, Snapshot
from ingresskit.testing.builders import endpoint_slice, ingress, ingress_class, service
from ingresskit.testing.certificates import tls_secret
from ingresskit.testing.hostile import CANARY, HostileCase, hostile_cases, victim_asks, victim_objects
from ingresskit.testing.loopback import LoopbackWorld, open_loopback
from ingresskit.testing.oracle import answer_faults
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from ingresskit.testing.scenario import Answer, Ask, Scenario
from ingresskit.testing.scenario_files import load_scenarios
from ingresskit.testing.traffic import TrafficScript, TrafficSettings, open_endpoints, open_traffic
from ingresskit.translate import translate

__all__ = ["PlaneContract"]

_SHOWN = 20
# Changes come no faster: traffic shall meet every state between them.
_PACE_SECONDS = 0.03


class PlaneContract(ABC):
    """Tests of a proxy behind its renderer and its applier. Inherit it, name it ``Test…``, write `plane`.

    ```python
    class TestCaddy(PlaneContract):
        @asynccontextmanager
        async def plane(self, settings: PlaneSettings) -> AsyncGenerator[Plane]:
            async with run_caddy(settings.state_dir, settings.http) as applier:
                yield LivePlane(renderer=CaddyRenderer(), applier=applier, http=settings.http)
    ```
    """

    unsupported: ClassVar[frozenset[str]] = frozenset()
    """Policies and protocols that scenarios need and the renderer cannot do, by name. Scenarios with
    them are left out; the tests fail when this says too much or too little."""
    changes: ClassVar[int] = 30
    """How many changes are made under traffic."""
    reloads: ClassVar[int | None] = 0
    """How many of these may be reloads; ``None``: all of them."""
    fails_at_reload: ClassVar[bool] = False
    """Whether requests may fail at a reload. Say so in your documentation too."""
    deadline_seconds: ClassVar[float] = 300
    """How long one test may take, the start of the proxy included."""

    @abstractmethod
    def plane(self, settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
        """The proxy, which serves nothing yet: it is asked nothing before the first `Plane.serve`."""

    def scenarios(self) -> Sequence[Scenario]:
        """What is asked: every scenario that comes with ingresskit. Override it to add your own."""
        return load_scenarios()

    def test_every_scenario_is_answered_as_it_says(self) -> None:
        """By one running proxy, changed from each scenario to the next."""

        async def check(plane: Plane) -> None:
            faults: list[str] = []
            lacking: set[str] = set()
            for scenario in self.scenarios():
                if missing := plane.missing(scenario):
                    lacking.update(missing)
                elif scenario.wants and (plane.https or not any(want.ask.tls for want in scenario.wants)):
                    async with open_loopback(scenario.translate().graph) as world:
                        await plane.serve(world.graph)
                        found = await world.run(scenario, http=plane.http, https=plane.https)
                    faults += [f"{scenario}: {fault}" for fault in found]
            assert not faults, _listed(faults)
            assert lacking == self.unsupported, f"cannot do {sorted(lacking)}; see `unsupported`"

        self._run(check)

    def test_odd_requests_are_answered_as_the_graph_resolves(self) -> None:
        """Hosts and paths in every spelling: `RouteGraph.resolve` says which rule takes them."""

        async def check(plane: Plane) -> None:
            faults: list[str] = []
            graph = translate(Snapshot.of(_odd_world())).graph
            hosts, paths = product(_ODD_HOSTS, ("/", "/a/x")), product(("a.test", "x.test"), _ODD_PATHS)
            async with open_loopback(graph) as world:
                await plane.serve(world.graph)
                for host, path in (*hosts, *paths):
                    ask = Ask(host=host, path=path)
                    faults += answer_faults(graph, ask, await world.ask(ask, http=plane.http))
            assert not faults, _listed(faults)

        self._run(check)

    def test_hostile_objects_change_no_answer_of_others(self) -> None:
        """All of `hostile_cases`, field by field, beside `victim_objects`: only the hostile may notice."""

        async def check(plane: Plane) -> None:
            faults: list[str] = []
            alone = translate(Snapshot.of(victim_objects())).graph
            for field, cases in _by_field(hostile_cases()).items():
                graph = translate(Snapshot.of(_together(cases))).graph
                async with open_loopback(_without_endpoints_of_the_hostile(graph)) as world:
                    await plane.serve(world.graph)
                    found = await _victim_faults(world, plane, alone)
                faults += [f"beside {field}: {fault}" for fault in found]
            assert not faults, _listed(faults)

        self._run(check)

    def test_changes_under_traffic_fail_no_request(self) -> None:
        """Endpoints, hosts, certificates and policies change; kept connections and tunnels notice nothing."""

        async def check(plane: Plane) -> None:
            async with open_endpoints(6) as endpoints:
                changes = TrafficScript(endpoints.ports)
                await plane.serve(changes.first())
                reloads, faults = plane.applied[ApplyKind.RELOAD], list[str]()
                secure = changes.hosts if plane.https else ()
                settings = TrafficSettings(
                    http=plane.http, https=plane.https, hosts=changes.hosts, secure_hosts=secure
                )
                async with open_traffic(settings) as traffic:
                    for change in changes.take(self.changes):
                        await plane.serve(change.graph)
                        faults += await change.faults(http=plane.http, https=plane.https)
                        await anyio.sleep(_PACE_SECONDS)
                    report = await traffic.stop()
            reloads = plane.applied[ApplyKind.RELOAD] - reloads
            assert not faults, _listed(faults)
            assert not report.faults() or (self.fails_at_reload and reloads), _listed(report.faults())
            assert self.reloads is None or reloads <= self.reloads, _listed(plane.reasons)

        self._run(check)

    def _run(self, check: Callable[[Plane], Awaitable[None]]) -> None:
        async def main() -> None:
            with state_folder() as folder, anyio.fail_after(self.deadline_seconds):
                async with self.plane(PlaneSettings(state_dir=folder)) as plane:
                    await check(plane)

        anyio.run(main)


_ODD_HOSTS = (
    *("a.test", "A.Test", "a.test.", "a.test:80", "A.TEST.:8080", "a.test:", "a.test:0"),
    *("b.a.test", "B.A.test:1", "c.b.a.test", ".a.test", "a.test..", "x_y.a.test", "-.a.test", "*.a.test"),
    *("test", "other.example", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:80", "xn--bcher-kva.test"),
    *("a.test:x", "a.test/", "a,b", "a.test a", "me@a.test", "a.test:80:80", "\u00fc.test"),
)
_ODD_PATHS = (
    *("/", "/a", "/a/", "/a/b", "/ab", "/A", "/a/b/", "/a/b/c", "/a?x=/ab", "/?", "/a/?x", "/x", "/x/", "/x/y"),
    *("//", "//a", "/a//b", "///a///b//", "/./a", "/a/.", "/a/./b", "/a/..", "/ab/../a/b", "/a/b/../../x"),
    *("/..", "/a/../..", "/../a", "/%2e%2e/a", "/a/%2e/b", "/a/%2E%2e/x", "/a/.%2e/x", "/...", "/a/...", "/.a"),
    *("/%61", "/%61/%62", "/%7Ex", "/~x", "/a%2Fb", "/a%2fb", "/%2f", "/a%5Cb", "/a/%2e%2e%2fx", "/a/..%2Fx"),
    *("/a;v=1", "/a;v=1/b", "/a/..;/x", "/a/.;/x", "/a/..%3Bx", "/;", "/a/b;", "/a,b", "/a=b", "/a:b", "/@a"),
    *("/%", "/%4", "/%zz", "/a%0", "/%00", "/a%0a", "/a%0D%0Ax", "/%1f", "/%7F", "/a%09"),
    *(
        "/%20",
        "/a%20b",
        "/a+b",
        "/a'b",
        "/a!b",
        "/a$b",
        "/a&b",
        "/a(b)",
        "/a*b",
        "/%C3%BC",
        "/%c3%bc",
        "/\u00fc",
    ),
    *("/a%22b", "/a%3Cb%3E", "/a%23b", "/a%3Fb", "/a%25b", "/a%2525", "/%7B%7D", "/a%5B%5D", "/a%7Cb", "/a%5E"),
    *("/a[b]", "/a{b}", "/a|b", "/a^b", '/a"b', "/a<b>", "/a`b"),
    *("/" + "a/" * 500, "/" + "a" * 3000, "/a/" + "../a/" * 300, "/" + "%61" * 900),
)


def _odd_world() -> list[KubeObject]:
    exact = {"=/x": "one", "=/x/": "two", "=/~x": "one", "=/a%2Fb": "two", "=/%C3%BC": "two"}
    return [
        ingress_class(),
        ingress("a", {"a.test": {"/": "one", "/a": "two", "/a/b": "three", **exact}}),
        ingress("wild", {"*.a.test": {"/a": "one", "/a/x/": "two"}}),
        ingress("x", {"x.test": {"/a": "two", "/a%20b": "one", "~/%7B%7D": "three", **exact}}),
        ingress("any", {"": {"/a/x": "three"}}, tls={"tls": ["secure.test"]}),
        *(service(name) for name in ("one", "two", "three")),
        *(endpoint_slice(name, f"10.0.0.{number}") for number, name in enumerate(("one", "two", "three"), 1)),
        tls_secret("secure.test"),
    ]


def _by_field(cases: Iterable[HostileCase]) -> Mapping[str, Sequence[HostileCase]]:
    fields: dict[str, list[HostileCase]] = {}
    for case in cases:
        fields.setdefault(case.field, []).append(case)
    return fields


def _together(cases: Iterable[HostileCase]) -> list[KubeObject]:
    held: dict[tuple[str, ObjectKey], KubeObject] = {}
    for item in (*victim_objects(), *(item for case in cases for item in case.objects)):
        held.setdefault((item.kind, item.key), item)
    return list(held.values())


def _without_endpoints_of_the_hostile(graph: RouteGraph) -> RouteGraph:
    """So that not every one of them needs an echo server."""
    backends = {
        key: item if key.namespace == "victim" else replace(item, endpoints=item.endpoints[:0])
        for key, item in graph.backends.items()
    }
    return replace(graph, backends=backends)


async def _victim_faults(world: LoopbackWorld, plane: Plane, alone: RouteGraph) -> list[str]:
    faults: list[str] = []
    for ask in victim_asks():
        if ask.tls and plane.https is None:
            continue
        answer = await world.ask(ask, http=plane.http, https=plane.https)
        faults += answer_faults(alone, ask, answer)
        if CANARY in _seen_by_the_client(ask, answer):
            faults.append(f"{ask}: the answer holds hostile text")
    return faults


def _seen_by_the_client(ask: Ask, answer: Answer) -> str:
    fields = {**(answer.response_headers or {}), **(answer.request_headers or {})}
    return repr(fields).replace(ask.path, "")


def _listed(faults: Sequence[str]) -> str:
    more = len(faults) - _SHOWN
    return "\n".join((f"{len(faults)} faults", *faults[:_SHOWN], *([f"… and {more} more"] if more > 0 else [])))
