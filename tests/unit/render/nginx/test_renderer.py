from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, cast

import pytest
from typing_extensions import override

from ingresskit.diagnostics import Reason
from ingresskit.errors import ConfigurationError
from ingresskit.graph import Redirect, Respond, RouteGraph
from ingresskit.models import KubeObject, Snapshot
from ingresskit.policies import ResponseHeaders
from ingresskit.policies.values import parse_networks
from ingresskit.render import Renderer
from ingresskit.render.nginx import Capabilities, Mode, NginxArtifact, NginxRenderer, NginxSettings
from ingresskit.testing import (
    RendererContract,
    endpoint_slice,
    ingress,
    ingress_class,
    service,
    tls_secret,
)
from ingresskit.testing.plugin import Golden
from ingresskit.translate import Translator, translate


class _Told(TypedDict):
    host: str
    lines: list[tuple[int, int, str, str]]


SETTINGS = NginxSettings(state="/run/ik", http=("0.0.0.0:80",), https=("0.0.0.0:443",))


class TestNginxRenderer(RendererContract[NginxArtifact]):
    @override
    def renderer(self) -> Renderer[NginxArtifact]:
        return NginxRenderer(SETTINGS)

    @override
    def readable(self, artifact: NginxArtifact) -> bytes:
        return b"\n".join((repr(artifact).encode(), *(item.content for item in artifact.files())))


def world(*more: KubeObject) -> list[KubeObject]:
    return [ingress_class(), service("web"), endpoint_slice("web", "10.0.0.1", "10.0.0.2"), *more]


def graph_of(*more: KubeObject) -> RouteGraph:
    return translate(Snapshot.of(world(*more))).graph


def host_file(host: str, *more: KubeObject) -> str:
    renderer = NginxRenderer(SETTINGS)
    return renderer.render(renderer.restrict(graph_of(*more)).graph).hosts[host].content.decode()


def test_a_changed_host_changes_its_own_file_only() -> None:
    translator, renderer = Translator(), NginxRenderer(SETTINGS)
    objects = {f"h{number}": ingress(f"h{number}", {f"h{number}.test": {"/": "web"}}) for number in range(3)}
    before = renderer.render(translator.translate(Snapshot.of(world(*objects.values()))).graph)
    objects["h1"] = ingress("h1", {"h1.test": {"/": "web", "/more": "web"}})

    after = renderer.render(translator.translate(Snapshot.of(world(*objects.values()))).graph)

    assert {host for host in after.hosts if after.hosts[host] is not before.hosts[host]} == {"h1.test"}
    assert after.main is before.main
    assert after.upstreams is before.upstreams
    assert after.server_names is before.server_names
    assert after.generation != before.generation


def test_a_changed_endpoint_changes_the_upstreams_only() -> None:
    translator, renderer = Translator(), NginxRenderer(SETTINGS)
    rules = ingress("web", {"a.test": {"/": "web"}})
    before = renderer.render(translator.translate(Snapshot.of(world(rules))).graph)
    moved = [ingress_class(), service("web"), endpoint_slice("web", "10.0.0.9"), rules]

    after = renderer.render(translator.translate(Snapshot.of(moved)).graph)

    assert after.hosts == before.hosts
    assert after.upstreams is not None
    assert b"10.0.0.9:80" in after.upstreams.content
    assert b"10.0.0.1:80" not in after.upstreams.content


def test_a_backend_without_endpoints_answers_503_without_an_upstream() -> None:
    renderer = NginxRenderer(SETTINGS)
    graph = graph_of(service("idle"), ingress("idle", {"a.test": {"/": "idle"}}))

    artifact = renderer.render(graph)

    assert b"return 503" in artifact.hosts["a.test"].content
    assert artifact.upstreams is not None
    assert b"upstream" not in artifact.upstreams.content


def test_a_rotated_certificate_changes_no_file() -> None:
    rules = ingress("web", {"a.test": {"/": "web"}}, tls={"tls": ["a.test"]})
    renderer = NginxRenderer(SETTINGS)

    before = renderer.render(graph_of(rules, tls_secret("a.test")))
    after = renderer.render(graph_of(rules, tls_secret("a.test", salt="new")))

    assert "a.test" in before.hosts
    assert list(before.files()) == list(after.files())
    assert before.certificates.keys() == after.certificates.keys()
    assert before.certificates != after.certificates


def test_every_location_can_be_traced_to_its_ingress() -> None:
    artifact = NginxRenderer(SETTINGS).render(
        graph_of(ingress("web", {"a.test": {"/one": "web"}}), ingress("more", {"a.test": {"=/two": "web"}}))
    )
    file = artifact.hosts["a.test"]
    lines = file.content.decode().splitlines()

    owners = {
        line.split()[2]: origin.subject.key.name
        for number, line in enumerate(lines, 1)
        if "location" in line and (origin := artifact.origin_of(f"/etc/x/{file.path}", number))
    }

    assert owners == {"/one": "web", "/one/": "web", "/two": "more"}


def test_an_exact_path_with_a_slash_does_not_redirect_the_path_without() -> None:
    text = host_file("a.test", ingress("web", {"a.test": {"=/foo/": "web", "/bar": "web"}}))

    assert "location = /foo {\n        return 404" in text


def test_a_host_that_redirects_everywhere_says_so_once() -> None:
    rules = ingress("web", {"a.test": {"/": "web", "/x": "web"}}, tls={"tls": ["a.test"]})

    assert host_file("a.test", rules, tls_secret("a.test")).count("return 308") == 1


def test_who_is_not_let_in_is_turned_away_before_anything_else() -> None:
    annotations = {"allow-sources": "10.0.0.0/8", "redirect": "/new"}
    text = host_file("a.test", ingress("web", {"a.test": {"/": "web"}}, annotations=annotations))

    assert text.index("return 403") < text.index('return 308 "/new"')
    assert 'default "1"' in text or "default 1" in text


def test_an_allow_list_that_lets_nobody_in_by_default_is_written_as_one() -> None:
    text = host_file(
        "a.test", ingress("web", {"a.test": {"/": "web"}}, annotations={"allow-sources": "10.0.0.0/8"})
    )

    assert "    default 1;\n    10.0.0.0/8 0;\n" in text


@pytest.mark.parametrize("character", ["$", '"', "\\"], ids=["dollars", "quotes", "backslashes"])
def test_a_header_value_that_nginx_cannot_read_costs_its_policy_only(character: str) -> None:
    long = ingress(
        "long", {"a.test": {"/": "web"}}, annotations={"request-headers-set": f"X-A: {character * 3000}"}
    )
    renderer = NginxRenderer(SETTINGS)

    restricted = renderer.restrict(graph_of(long))

    assert [(item.reason, item.subject.key.name) for item in restricted.diagnostics] == [
        (Reason.POLICY_UNSUPPORTED, "long")
    ]
    assert "request-headers-set" in restricted.diagnostics[0].field
    assert b"X-A" not in renderer.render(restricted.graph).hosts["a.test"].content
    assert renderer.restrict(graph_of(long)).diagnostics == restricted.diagnostics


def test_a_redirect_that_nginx_cannot_read_answers_503() -> None:
    graph = graph_of(ingress("long", {"a.test": {"/": "web"}}, annotations={"redirect": "/" + "$" * 1500}))
    found = graph.resolve("a.test", "/")
    assert found is not None
    assert isinstance(found.action, Redirect)

    restricted = NginxRenderer(SETTINGS).restrict(graph)

    route = restricted.graph.resolve("a.test", "/")
    assert route is not None
    assert isinstance(route.action, Respond)
    assert route.action.status == 503
    assert [item.reason for item in restricted.diagnostics] == [Reason.POLICY_UNSUPPORTED]


def test_an_endpoint_that_is_a_name_is_left_out_and_told() -> None:
    graph = graph_of(ingress("web", {"a.test": {"/": "web"}}))
    (key, backend), *_ = graph.backends.items()
    named = replace(backend, endpoints=(replace(backend.endpoints[0], address="db.example.com"),))

    restricted = NginxRenderer(SETTINGS).restrict(replace(graph, backends={key: named}))

    assert restricted.graph.backends[key].endpoints == ()
    assert [item.reason for item in restricted.diagnostics] == [Reason.EXTERNAL_NAME_REFUSED]


def test_a_program_that_cannot_do_what_is_asked_for_is_refused() -> None:
    trusting = replace(SETTINGS, trusted_proxies=parse_networks("10.0.0.0/8"))

    with pytest.raises(ConfigurationError, match=r"1\.20\.0 is too old; at least 1\.22\.0"):
        NginxRenderer(SETTINGS, Capabilities(version=(1, 20, 0)))
    with pytest.raises(ConfigurationError, match="real-IP"):
        NginxRenderer(trusting, Capabilities(realip=False))
    with pytest.raises(ConfigurationError, match="Lua"):
        NginxRenderer(SETTINGS, mode=Mode.DYNAMIC)


def test_what_a_newer_nginx_can_do_is_used() -> None:
    graph = graph_of()
    old = NginxRenderer(SETTINGS, Capabilities(version=(1, 26, 3))).render(graph).main.content
    new = NginxRenderer(SETTINGS, Capabilities(version=(1, 30, 4))).render(graph).main.content

    for directive in (b"keepalive_min_timeout", b"ssl_certificate_cache"):
        assert directive not in old
        assert directive in new


def test_nginx_with_a_known_fault_is_warned_of() -> None:
    assert Capabilities(version=(1, 30, 4)).warning() == ""
    assert Capabilities(version=(1, 31, 3)).warning() == ""
    assert Capabilities(version=(1, 32, 0)).warning() == ""
    for version in ((1, 22, 1), (1, 30, 3), (1, 31, 2), (1, 29, 9)):
        assert "older than 1.30.4 or 1.31.3" in Capabilities(version=version).warning()
    assert "distribution" in Capabilities(version=(1, 22, 1), patched=True).warning()


def test_fields_that_nginx_writes_itself_are_left_alone_and_told() -> None:
    annotations = {"response-headers-set": "Server: mine\nX-A: b", "response-headers-remove": "Date"}
    graph = graph_of(ingress("web", {"a.test": {"/": "web"}}, annotations=annotations))

    restricted = NginxRenderer(SETTINGS).restrict(graph)

    route = restricted.graph.resolve("a.test", "/")
    assert route is not None
    assert route.policies.get(ResponseHeaders) == ResponseHeaders(set=(("X-A", "b"),))
    assert {item.field for item in restricted.diagnostics} == {
        "metadata.annotations[ingresskit.dev/response-headers-set]",
        "metadata.annotations[ingresskit.dev/response-headers-remove]",
    }


def test_the_main_files_are_what_was_read_in_review(golden: Golden) -> None:
    settings = replace(
        SETTINGS, trusted_proxies=parse_networks("10.0.0.0/8"), access_log="/var/log/ingresskit/access.log"
    )
    artifact = NginxRenderer(settings, Capabilities(version=(1, 30, 4))).render(RouteGraph())

    for item in (artifact.main, *artifact.common):
        golden.check(Path(__file__).parent / "golden" / item.path, item.content)


def test_the_side_file_says_who_asked_for_which_lines() -> None:
    artifact = NginxRenderer(SETTINGS).render(graph_of(ingress("web", {"a.test": {"/x": "web"}})))
    file = artifact.hosts["a.test"]
    told = cast("_Told", json.loads(artifact.origins().content)[file.path])
    lines = file.content.decode().splitlines()

    assert told["host"] == "a.test"
    assert [(lines[first - 1].split()[:3], item) for first, _, item, _ in told["lines"]] == [
        (["location", "=", "/x"], "Ingress default/web"),
        (["location", "^~", "/x/"], "Ingress default/web"),
    ]
    assert {field for *_, field in told["lines"]} == {"spec.rules[0].http.paths[0]"}


def test_no_form_of_a_known_fault_is_ever_written() -> None:
    """The rewrite module's faults need unnamed captures, or a ``?`` in what replaces a path."""
    renderer, rewrites = NginxRenderer(SETTINGS), 0
    for scenario in TestNginxRenderer().scenarios():
        artifact = renderer.render(renderer.restrict(scenario.translate().graph).graph)
        for item in artifact.files():
            for line in item.content.decode("utf-8", "surrogateescape").splitlines():
                words = line.split()
                if words and words[0] == "rewrite":
                    rewrites += 1
                    assert "$1" not in line
                    assert "?" not in line.replace("(?<ik_rest>", "")

    assert rewrites > 5


@pytest.mark.parametrize("protocol", ["grpc", "grpcs"])
def test_endpoints_of_grpc_are_reported_with_what_is_missing(protocol: str) -> None:
    objects = world(ingress("web", {"web.example": {"/": "web"}}))
    objects[1] = service("web", app_protocol=protocol)
    graph = translate(Snapshot.of(objects)).graph
    lua = Capabilities(lua=True)

    off = NginxRenderer(SETTINGS, lua, mode=Mode.DYNAMIC).restrict(graph)
    on = NginxRenderer(replace(SETTINGS, http2=True), lua, mode=Mode.DYNAMIC).restrict(graph)

    assert [item.message for item in off.diagnostics] == [
        (
            f"the nginx renderer does not support {protocol} without HTTP/2 to clients (--http2 on);"
            " its routes respond 503"
        )
    ]
    assert on.diagnostics == ()
