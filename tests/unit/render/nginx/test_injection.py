"""No text of a tenant becomes configuration: a tokenizer that is not ours sees the tree that we meant."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import crossplane
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ingresskit.graph import Backend, BackendKey, RouteGraph
from ingresskit.models import KubeObject, Snapshot
from ingresskit.render.nginx import NginxRenderer, NginxSettings
from ingresskit.render.nginx.static.hosts import host_nodes
from ingresskit.render.nginx.static.locations import served
from ingresskit.render.nginx.tree import (
    Argument,
    Block,
    Comment,
    Condition,
    Directive,
    Node,
    Prepared,
    TextRefused,
    Value,
    Variable,
    write,
)
from ingresskit.testing.hostile import CANARY, hostile_cases, victim_objects
from ingresskit.translate import TranslateOptions, translate

SETTINGS = NginxSettings(state="/run/ik", http=("0.0.0.0:80",), https=("0.0.0.0:443",))

# All that the files of hosts and upstreams ever consist of.
DIRECTIVES = frozenset(
    (
        "add_header",
        "client_max_body_size",
        "geo",
        "hash",
        "if",
        "include",
        "keepalive",
        "keepalive_requests",
        "keepalive_timeout",
        "least_conn",
        "listen",
        "location",
        "map",
        "proxy_connect_timeout",
        "proxy_hide_header",
        "proxy_next_upstream",
        "proxy_next_upstream_tries",
        "proxy_pass",
        "proxy_read_timeout",
        "proxy_send_timeout",
        "proxy_set_header",
        "random",
        "return",
        "rewrite",
        "server",
        "server_name",
        "split_clients",
        "upstream",
        "zone",
    )
)
TABLES = frozenset(("geo", "map", "split_clients"))


class Read(NamedTuple):
    """A directive as somebody read it; backslashes as they stand in the file."""

    name: str
    args: tuple[str, ...]
    body: tuple[Read, ...] | None


def meant(nodes: Iterable[Node]) -> tuple[Read, ...]:
    """What a reader should make of *nodes*."""
    found: list[Read] = []
    for node in nodes:
        match node:
            case Comment():
                continue
            case Directive(name, args):
                found.append(Read(text_of(name), tuple(map(text_of, args)), None))
            case Block(name, args, body):
                found.append(Read(name, tuple(map(text_of, args)), meant(body)))
            case Prepared():
                raise AssertionError("the mode that is read here prepares no lines")
    return tuple(found)


def text_of(argument: Argument) -> str:
    match argument:
        case str():
            return argument.replace("\\", "\\\\")
        case Variable(name) | Condition(Variable(name)):
            return f"${name}"
        case _:
            parts: list[str] = []
            for part in argument.parts:
                if isinstance(part, str):
                    parts.append(part.replace("\\", "\\\\").replace("$", "${ik_dollar}"))
                else:
                    parts.append(f"${{{part.name}}}" if isinstance(part, Variable) else "\\n")
            return "".join(parts)


def read(content: bytes, folder: Path) -> tuple[Read, ...]:
    """What crossplane makes of a file."""
    path = folder / "file.conf"
    path.write_bytes(content)
    # crossplane has no types.
    parse = cast("Callable[..., dict[str, list[dict[str, object]]]]", crossplane.parse)  # pyright: ignore
    payload = parse(
        str(path), single=True, comments=True, check_ctx=False, check_args=False, catch_errors=False
    )
    return tuple(_read(payload["config"][0]["parsed"]))


def _read(items: object) -> Iterator[Read]:
    for item in cast("list[dict[str, object]]", items):
        body = tuple(_read(item["block"])) if "block" in item else None
        yield Read(str(item["directive"]), tuple(cast("list[str]", item["args"])), body)


def names(directives: Iterable[Read], *, table: bool = False) -> Iterator[str]:
    for item in directives:
        if not table:
            yield item.name
        yield from names(item.body or (), table=item.name in TABLES)


def graphs() -> Iterator[RouteGraph]:
    """The whole corpus, a few hundred cases in each graph."""
    cases = iter(hostile_cases())
    while chunk := list(itertools.islice(cases, 300)):
        objects: dict[tuple[object, ...], KubeObject] = {
            (item.kind, item.key): item for item in victim_objects()
        }
        for case in chunk:
            objects |= {(item.kind, item.key): item for item in case.objects}
        yield translate(Snapshot.of(objects.values()), TranslateOptions()).graph


def test_hostile_objects_are_read_as_they_are_meant(tmp_path: Path) -> None:
    renderer, seen = NginxRenderer(SETTINGS), 0
    for graph in graphs():
        restricted = renderer.restrict(graph).graph
        artifact = renderer.render(restricted)
        for host in restricted.virtual_hosts:
            nodes, _, _ = host_nodes(
                host, served((host,)), SETTINGS, available(restricted), long_locations=False
            )
            found = read(artifact.hosts[host.host].content, tmp_path)

            assert found == meant(nodes)
            assert set(names(found)) <= DIRECTIVES
            seen += 1
        assert artifact.upstreams is not None
        assert set(names(read(artifact.upstreams.content, tmp_path))) <= DIRECTIVES
    assert seen > 200


def test_hostile_text_names_nothing_and_stands_in_no_comment(tmp_path: Path) -> None:
    renderer, carried = NginxRenderer(SETTINGS), False
    for graph in graphs():
        artifact = renderer.render(renderer.restrict(graph).graph)
        for item in artifact.files():
            assert CANARY not in str(item.path)
            content = item.content.decode("utf-8", "surrogateescape")
            carried = carried or CANARY in content
            for line in content.splitlines():
                assert not (line.lstrip().startswith("#") and CANARY in line)
        for file in artifact.hosts.values():
            assert not [name for name in names(read(file.content, tmp_path)) if CANARY in name]
    # Else the test above would say nothing.
    assert carried


def texts() -> SearchStrategy[str]:
    odd = st.sampled_from(("$", "${", "}", "{", ";", '"', "'", "\\", "#", " ", "=", "~", "^~", "@", "\\n", "ü"))
    return st.lists(st.one_of(odd, st.text(max_size=4)), max_size=12).map("".join)


@given(st.lists(st.tuples(texts(), texts()), min_size=1, max_size=5))
def test_any_text_is_one_token(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    nodes = [
        Block("location", ("=", plain), (Directive("return", ("200", Value(expanded, Variable("uri")))),))
        for plain, expanded in pairs
    ]
    try:
        written = write(nodes)
    except (TextRefused, UnicodeEncodeError):
        assert any(
            ord(letter) < 32 or ord(letter) == 127 or "\ud800" <= letter <= "\udfff"
            for pair in pairs
            for text in pair
            for letter in text
        )
        return

    assert read(written.content, tmp_path_factory.mktemp("read")) == meant(nodes)


def available(graph: RouteGraph) -> Callable[[BackendKey], Backend | None]:
    def find(key: BackendKey) -> Backend | None:
        backend = graph.backends.get(key)
        return backend if backend is not None and backend.endpoints else None

    return find
