"""A real nginx, without any module, on the files of the static mode."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import NamedTuple

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ingresskit.graph import Backend, BackendKey, Endpoint, PathRefused, RouteGraph, normalise_path
from ingresskit.models import Snapshot
from ingresskit.policies import Algorithm, LoadBalancing, PolicySet
from ingresskit.render.nginx.static.upstreams import Upstream, upstream_node
from ingresskit.render.nginx.tree import (
    DOLLAR,
    MAX_TOKEN_BYTES,
    Block,
    Directive,
    Node,
    TextRefused,
    Value,
    token,
    write,
)
from ingresskit.testing import Ask, Scenario, endpoint_slice, ingress, ingress_class, load_scenarios, service
from ingresskit.testing.loopback import LoopbackWorld, open_loopback
from ingresskit.translate import translate
from tests.nginx_program import NginxOnDisk, nginx_folder

FOR_A_DELEGATE = {
    "AllowedMethods",
    "BasicAuth",
    "Cors",
    "DeniedAgents",
    "DigestAuth",
    "ExternalAuth",
    "JwtAuth",
    "RegexRewrite",
}


@pytest.mark.parametrize("scenario", load_scenarios(), ids=str)
def test_nginx_answers_as_the_scenario_says(scenario: Scenario) -> None:
    assert not anyio.run(_faults, scenario)


def test_the_renderer_can_do_what_every_scenario_needs_but_what_it_leaves_to_a_delegate() -> None:
    """So that the test above is about all the others."""
    with nginx_folder() as nginx:
        lacking = {str(scenario): scenario.missing(nginx.renderer) for scenario in load_scenarios()}

    assert {name for what in lacking.values() for name in what} == FOR_A_DELEGATE


async def _faults(scenario: Scenario) -> tuple[str, ...]:
    with nginx_folder() as nginx:
        if scenario.missing(nginx.renderer):
            pytest.skip("for a delegate")
        async with open_loopback(scenario.translate().graph) as world:
            nginx.write(nginx.renderer.render(nginx.renderer.restrict(world.graph).graph))
            with nginx.running():
                return await world.run(scenario, http=nginx.http, https=nginx.https)


class Running(NamedTuple):
    nginx: NginxOnDisk
    world: LoopbackWorld
    graph: RouteGraph


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def running(anyio_backend: str) -> AsyncGenerator[Running]:
    """One host with rules that odd paths may take, or be mistaken for."""
    paths = ("/", "/a", "/a/b", "/a%2Fb", "/ü", "/ü/a b", "/[x]", "/a;v=1", "/%25", "=/a/", "=/ü", "=/a%2Fb/c")
    rules = {path: f"s{number}" for number, path in enumerate(paths)}
    names = [*rules.values()]
    objects = [
        ingress_class(),
        ingress(
            "odd", {"a.test": {f"~{path}" if path[0] == "/" else path: name for path, name in rules.items()}}
        ),
        ingress(
            "moved",
            {"b.test": {f"~{path}": "s0" for path in paths[1:9]}},
            annotations={"rewrite-prefix": "/new"},
        ),
        *(service(name) for name in names),
        *(endpoint_slice(name, f"10.0.0.{number + 1}") for number, name in enumerate(names)),
    ]
    graph = translate(Snapshot.of(objects)).graph
    with nginx_folder() as nginx:
        async with open_loopback(graph) as world:
            nginx.write(nginx.renderer.render(world.graph))
            with nginx.running():
                yield Running(nginx, world, graph)


_COMMON = (
    *("/", "/", "/a", "/b", "/ü", "//", "/.", "/..", "/%2e", "%2e%2E", "a", "b", "[x]", "~", "*", ";v=1"),
    *("%2F", "%2f", "%25", "%5B", "%5b", "%20", "%C3%BC", "%c3%bc", "%7e", "%41", "%%", "%zz", "%00"),
    *("/..;", "/.%3b", "/..%2f", "%5C..", "\\", "|", '"', "'", "<"),
)


def raw_paths() -> SearchStrategy[str]:
    escapes = st.integers(0x20, 0xFF).map(lambda code: f"%{code:02x}")
    upper = escapes.map(str.upper)
    common = st.sampled_from(_COMMON)
    return st.lists(st.one_of(common, common, common, escapes, upper), max_size=8).map(
        lambda parts: "/" + "".join(parts)
    )


# Escapes of %, of / and of what may stand in a path by itself; brackets in any form.
_LOSSY = re.compile(r"%(?:2[1456789abcf]|3[abd]|40|5[bd])|[\[\]]", re.IGNORECASE)


def may_be_refused(path: str) -> bool:
    """What docs/nginx.md says plain nginx answers 400, though it has a normal form."""
    return bool(_LOSSY.search(path)) and normalise_path(path) != path


@pytest.mark.anyio
@settings(max_examples=120)
@given(st.lists(raw_paths(), min_size=5, max_size=15), st.sampled_from(("a.test", "b.test")))
async def test_matching_and_forwarding_are_of_one_normal_form(
    running: Running, paths: list[str], host: str
) -> None:
    for path in paths:
        answer = await running.world.ask(Ask(host=host, path=f"{path}?q=/../%2f"), http=running.nginx.http)
        if not path.isascii():
            assert answer.status == 400, path
            continue
        try:
            normal = normalise_path(path)
        except PathRefused:
            assert answer.status == 400, path
            continue
        if answer.status == 400 and may_be_refused(path):
            continue
        route = running.graph.resolve(host, path)
        if route is None:
            assert answer.status == 404, path
            continue
        if host == "b.test":
            normal = "/new" + normal[len(route.match.value) :]
        expected = running.graph.resolve(host, path)
        assert expected is not None
        services = frozenset(
            f"{key.namespace}/{key.service}" for key, _ in getattr(expected.action, "backends", ())
        )
        assert (answer.status, answer.services, answer.forwarded) == (200, services, f"{normal}?q=/../%2f"), (
            path
        )


@pytest.mark.anyio
@pytest.mark.parametrize(("length", "status"), [(8000, 200), (8001, 400)])
async def test_path_beyond_8000_octets_is_refused(running: Running, length: int, status: int) -> None:
    answer = await running.world.ask(Ask(host="a.test", path="/" + "x" * (length - 1)), http=running.nginx.http)

    assert answer.status == status


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path",
    ["/a%2fb", "//a%2Fb", "/./a%2Fb", "/x/../a%2Fb", "/a%2Fb/%2e/c", "/[x]/y", "/a%2Fb/c%3b", "/a%5Bb%5D//"],
)
async def test_simple_faults_beside_reserved_escapes_are_mended(running: Running, path: str) -> None:
    answer = await running.world.ask(Ask(host="a.test", path=path), http=running.nginx.http)

    assert (answer.status, answer.forwarded) == (200, normalise_path(path))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("authorization", "connection"),
    [("NTLM TlRMTVNT", "close"), ("negotiate YII=", "close"), ("Basic YTpi", None), ("Negotiator x", None)],
)
async def test_a_connection_that_a_client_authenticates_is_not_kept(
    running: Running, authorization: str, connection: str | None
) -> None:
    ask = Ask(host="a.test", headers={"Authorization": authorization})
    answer = await running.world.ask(ask, http=running.nginx.http)

    assert answer.request_headers is not None
    assert answer.request_headers["authorization"] == authorization
    assert answer.request_headers.get("connection") == connection


def test_any_text_comes_out_of_nginx_as_it_went_in() -> None:
    """The one writer of text against the one reader that counts."""
    texts = [
        *(
            '"',
            "\\",
            "$",
            "${",
            "${uri}",
            "$uri",
            "$1",
            "\\n",
            "\\\\",
            '\\"',
            "'",
            ";",
            "}",
            "{",
            "#",
            " ",
            "  a  ",
        ),
        *(f"a{chr(code)}b" for code in range(0x20, 0x7F)),
        *("ü", "☃", '"; } location /x { return 200 "', "a" * (MAX_TOKEN_BYTES - 2), "$" * 300, "\\" * 1999),
    ]
    dollar = Block("geo", (DOLLAR,), (Directive("default", ("$",)),))
    locations = [
        Block("location", ("=", f"/{number}"), (Directive("return", ("200", Value(text))),))
        for number, text in enumerate(texts)
    ]
    # In a name nothing is expanded: the same texts, asked for by their escapes.
    names = [Block("location", ("=", f"/t/{text}"), (Directive("return", ("204",)),)) for text in texts[:-4]]

    with nginx_folder() as nginx:
        server = Block("server", (), (Directive("listen", nginx.settings.http), *locations, *names))
        http = Block("http", (), (dollar, Directive("access_log", ("off",)), server))
        nginx.write_text(write([Block("events", (), ()), *nginx.basics(), http]).content)
        with nginx.running():
            bodies = [nginx.get(f"/{number}")[1] for number in range(len(texts))]
            found = {
                text: nginx.get("/t/" + "".join(f"%{byte:02X}" for byte in text.encode()))[0]
                for text in texts[:-4]
            }

    assert bodies == [text.encode() for text in texts]
    assert set(found.values()) == {204}


def test_nginx_reads_the_largest_of_everything() -> None:
    """What one user may ask for must never keep nginx from reading what others ask for."""
    label = "a" * 63
    longest = ".".join((label, label, label, "b" * 61))
    wildcard = f"*.{longest[2:]}"
    assert len(longest) == len(wildcard) == 253
    names = [f"{'h' * 124}-{number:02}" for number in range(64)]
    shares = [f"{'s' * 60}-{number:02}" for number in range(16)]
    annotations = {
        "request-headers-set": "\n".join(f"{name}: {'v' * 1}" for name in names[:60]),
        "request-headers-remove": ", ".join(name.upper() for name in names[60:]),
        "response-headers-set": f"X-A: {'b' * 3900}",
        "response-headers-remove": ", ".join(names[:64]),
        "read-timeout": "24h",
        "send-timeout": "1ms",
        "body-limit": "1048576g",
        "retries": "10",
        "rewrite-prefix": "/" + "$" * 300,
        "allow-sources": ", ".join(f"10.{number >> 8}.{number & 255}.0/24" for number in range(10_000)),
        "traffic-split": ", ".join(
            f"{name}={weight}" for name, weight in zip(shares, [1] * 15 + [999_999], strict=True)
        ),
        "load-balancing": "least-connections",
    }
    path = "/" + "p" * 2990
    objects = [
        ingress_class(),
        ingress(
            "largest",
            {
                longest: {path: shares[0], f"={path}/": shares[0], "~/" + "%C3%BC" * 480: shares[0]},
                wildcard: {"/": shares[0]},
            },
            annotations=annotations,
        ),
        ingress("redirect", {"b.test": {"/": shares[0]}}, annotations={"redirect": "/" + "x" * 1990}),
        *(service(name) for name in shares),
        *(
            endpoint_slice(name, *(f"10.1.{number}.{last}" for last in range(1, 200)))
            for number, name in enumerate(shares)
        ),
    ]
    translation = translate(Snapshot.of(objects))

    with nginx_folder() as nginx:
        restricted = nginx.renderer.restrict(translation.graph)
        nginx.write(nginx.renderer.render(restricted.graph))
        complaint = nginx.check()

    assert complaint == ""
    # All of it was written: nothing was refused on the way, which would make this easy.
    assert not translation.diagnostics
    assert not restricted.diagnostics
    assert restricted.graph == translation.graph


def test_any_number_of_endpoints_fits_into_what_workers_share() -> None:
    key = BackendKey("default", "web", 80)
    with nginx_folder() as nginx:
        blocks: list[Node] = []
        for count in (1, 63, 64, 127, 128, 255, 256, 2000):
            endpoints = tuple(
                Endpoint(
                    address=f"2001:db8:aaaa:bbbb:cccc:dddd:{number >> 12:x}:{number & 0xFFF | 0x1000:x}",
                    port=65535,
                )
                for number in range(count)
            )
            held = PolicySet([LoadBalancing(algorithm=Algorithm.LEAST_CONNECTIONS)])
            backend = Backend(key=key, endpoints=endpoints, policies=held)
            blocks.append(upstream_node(Upstream(key, f"h{count}.test"), backend, nginx.settings, 1))
        temporary = [
            Directive(f"{kind}_temp_path", (f"{nginx.state}/temp/{kind}",))
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ]
        http = Block("http", (), (Directive("access_log", ("off",)), *temporary, *blocks))
        nginx.write_text(write([Block("events", (), ()), *nginx.basics(), http]).content)

        assert nginx.check() == ""


def test_a_text_of_the_longest_length_is_the_longest_that_nginx_reads() -> None:
    with pytest.raises(TextRefused):
        token("a" * (MAX_TOKEN_BYTES + 1))
    with nginx_folder() as nginx:
        for size, taken in ((MAX_TOKEN_BYTES, True), (5000, False)):
            line = b"env X=" + b"a" * (size - 2) + b";\n"
            nginx.write_text(line + write([Block("events", (), ()), *nginx.basics()]).content)
            assert (nginx.check() == "") is taken
