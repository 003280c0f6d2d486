"""The routing table of the in-process proxy: data, made once for each set of policies."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from typing import ClassVar

from ingresskit.filters import BUILTIN_EFFECTS, Effect, Filter, HeaderEdit, Memory, Reply, RequestView
from ingresskit.graph import PathMatch, Redirect, Respond
from ingresskit.policies import Policy, PolicySet, Selection, Share, Stage
from ingresskit.render.inprocess import HostTable, InProcessRenderer
from tests.unit.filters.test_order import ALL
from tests.unit.graph.graphs import certificate, graph, host, route


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Policy):
    protects: ClassVar[bool] = True

    status: int = 401


@dataclass(frozen=True, slots=True)
class GateFilter:
    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    status: int

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        return Reply(status=self.status)


def _gate(policy: Gate) -> Effect:
    return Effect(guards=(GateFilter(policy.status),), secure_response=HeaderEdit.of([("X-G", "1")]))


def test_a_whole_table_passes_between_processes() -> None:
    effects = BUILTIN_EFFECTS.with_policy(Gate, _gate)
    served = graph(
        host(
            "a.test",
            route("Prefix /", policies=ALL.merged(PolicySet([Gate()]))),
            route("Exact /old", policies=ALL, action=Redirect(location="/", status=301)),
            route("Prefix /closed", action=Respond(status=503)),
            tls=True,
        )
    )
    cert = certificate("cert", "a.test")
    served = replace(served, certificates={cert.secret: cert}, server_names={"a.test": cert.secret})

    table = InProcessRenderer(effects=effects).render(served)

    assert table.backends
    assert pickle.loads(pickle.dumps(table)) == table  # noqa: S301 - our own


def test_guards_are_made_once_for_all_paths_with_the_same_policies() -> None:
    paths = [route(f"Prefix /p{number}", policies=ALL) for number in range(100)]

    targets = InProcessRenderer().render(graph(host("a.test", *paths, tls=True))).hosts["a.test"].prefixes

    assert len(targets) == 100
    assert {len(target.plain) for target in targets.values()} == {3}
    assert len({id(target.plain) for target in targets.values()}) == 1
    assert {target.matched for target in targets.values()} == {f"/p{number}" for number in range(100)}


def test_paths_with_the_same_policies_and_other_actions_keep_their_own() -> None:
    served = graph(
        host(
            "a.test",
            route("Prefix /a", policies=ALL, action=Redirect(location="/x", status=301)),
            route("Prefix /b", policies=ALL, action=Redirect(location="/y", status=302)),
            route("Prefix /c", policies=ALL, action=Respond(status=503)),
            route("Prefix /d", policies=ALL),
            route("Prefix /.well-known/acme-challenge", policies=ALL),
            tls=True,
        )
    )

    targets = InProcessRenderer().render(served).hosts["a.test"].prefixes

    def stages(guards: tuple[Filter, ...]) -> list[Stage]:
        return [guard.stage for guard in guards]

    assert [len(targets[path].secure) for path in ("/a", "/b", "/c", "/d")] == [3, 3, 3, 2]
    assert targets["/a"].secure != targets["/b"].secure
    assert stages(targets["/d"].plain) == [Stage.ADDRESS, Stage.TLS_REDIRECT, Stage.BODY]
    assert stages(targets["/.well-known/acme-challenge"].plain) == [Stage.ADDRESS, Stage.BODY]


def test_a_route_without_policies_has_nothing_to_ask_and_nothing_to_change() -> None:
    target = InProcessRenderer().render(graph(host("a.test", "Prefix /"))).find("a.test", "/")

    assert target is not None
    assert (target.plain, target.secure) == ((), ())
    assert (target.path, target.request, target.response, target.max_body_bytes) == (None, None, None, 0)


def test_a_policy_without_a_compile_function_closes_what_it_protects() -> None:
    served = graph(host("a.test", route("Prefix /", policies=PolicySet([Gate()]))))

    without = InProcessRenderer().restrict(served)
    known = InProcessRenderer(effects=BUILTIN_EFFECTS.with_policy(Gate, _gate)).restrict(served)

    assert isinstance(without.graph.virtual_hosts[0].routes[0].action, Respond)
    assert known.graph is served
    assert not known.diagnostics


def test_fields_for_clients_with_tls_are_not_for_others() -> None:
    effects = BUILTIN_EFFECTS.with_policy(Gate, _gate)
    made = route("Prefix /", policies=ALL.merged(PolicySet([Gate()])))

    target = InProcessRenderer(effects=effects).render(graph(host("a.test", made))).find("a.test", "/")

    assert target is not None
    assert target.response is not None
    assert target.response.plain.lines == b""
    assert target.response.secure.lines == b"X-G: 1\r\n"
    assert target.response.plain.drop == {b"server"}
    assert target.response.secure.drop == {b"server", b"x-g"}


def test_variants_and_regular_expressions_are_kept() -> None:
    canary = replace(route("Prefix /"), selection=Selection(share=Share(10)))
    pattern = replace(route("Prefix /"), match=PathMatch.regex("/a.*"))
    served = graph(host("a.test", "Prefix /", canary, pattern))

    restricted = InProcessRenderer().restrict(served)

    assert restricted.graph.virtual_hosts == served.virtual_hosts
    assert not restricted.diagnostics


def test_a_host_without_variants_and_patterns_has_the_plain_table() -> None:
    table = InProcessRenderer().render(graph(host("a.test", "Prefix /", "Exact /x")))

    assert type(table.hosts["a.test"]) is HostTable
