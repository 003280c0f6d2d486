"""No text of a tenant becomes anything but a value: a reader that is not ours sees the same tree."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingresskit.errors import RenderError
from ingresskit.models import KubeObject, Snapshot
from ingresskit.render.haproxy import (
    Bind,
    Capabilities,
    HaproxyArtifact,
    HaproxyRenderer,
    HaproxySettings,
    MapName,
    Needs,
    SlotClass,
    configuration,
    program,
    slot_name,
)
from ingresskit.render.haproxy.quoting import MAX_ROW_BYTES, map_line, quote, quote_format
from ingresskit.render.haproxy.spellings import every_spelling
from ingresskit.testing import pace
from ingresskit.testing.hostile import CANARY, HOSTILE_TEXTS, hostile_cases, victim_objects
from ingresskit.testing.planes import free_port
from ingresskit.testing.strategies import worlds
from ingresskit.translate import translate
from tests.unit.render.haproxy.grammar import Section, read_map, read_program, split_line
from tests.unit.render.haproxy.serving import BINARY, check, needs_haproxy, running, write_configuration

SETTINGS = HaproxySettings(http=(Bind("127.0.0.1", 1),), https=(Bind("127.0.0.1", 2),))
# Backends that hold a table, or reply.
NO_SLOTS = ("local-replies", "connections", "rates")
_HEADER_NAME = re.compile(r"[a-z0-9][a-z0-9.!~-]*")


def render(objects: Iterable[KubeObject]) -> HaproxyArtifact:
    renderer = HaproxyRenderer()
    return renderer.render(renderer.restrict(translate(Snapshot.of(objects)).graph).graph)


def written(artifact: HaproxyArtifact) -> dict[str, bytes]:
    """Every file, by path."""
    pools = Counter(item.slot_class for item in artifact.backends.values())
    numbers = Counter[SlotClass]()
    slots: dict[str, str] = {}
    for name, backend in artifact.backends.items():
        numbers[backend.slot_class] += 1
        slots[name] = slot_name(backend.slot_class, numbers[backend.slot_class])
    held = {slots[name]: backend.servers for name, backend in artifact.backends.items()}
    text = program(SETTINGS, Capabilities(), needs=artifact.needs, pools=pools, slots=held)
    files = configuration(artifact, program=text, slots=slots, default_certificate=b"")
    return {str(file.path): file.content for file in files}


def sections_without_slots(needs: Needs) -> tuple[Section, ...]:
    """The program as that reader sees it."""
    return read_program(program(SETTINGS, Capabilities(), needs=needs, pools=dict.fromkeys(needs.classes, 0)))


def all_hostile() -> list[KubeObject]:
    held = {(item.kind, item.key): item for item in victim_objects()}
    for case in hostile_cases():
        for item in case.objects:
            held.setdefault((item.kind, item.key), item)
    return list(held.values())


def assert_rows_are_read_as_meant(artifact: HaproxyArtifact) -> None:
    files = written(artifact)
    for name in MapName:
        meant = {
            (row.key, row.value) for block in artifact.blocks.values() for row in block.rows if row.map is name
        }
        if name in (MapName.HOSTS, MapName.SPLITS):
            meant = {(key, value) for (where, key), value in artifact.pointers.items() if where is name}
        if name is not MapName.SLOTS:
            assert set(read_map(files[name.path])) == meant


def test_hostile_objects_change_nothing_in_the_program_but_names_of_fields() -> None:
    artifact = render(all_hostile())
    names = (*artifact.needs.request_headers, *artifact.needs.response_headers)
    stand_ins = {name: f"stand-in-{number}" for number, name in enumerate(sorted(names))}
    harmless = replace(
        artifact.needs,
        request_headers={stand_ins[name]: item for name, item in artifact.needs.request_headers.items()},
        response_headers={stand_ins[name]: item for name, item in artifact.needs.response_headers.items()},
    )

    seen, meant = sections_without_slots(artifact.needs), sections_without_slots(harmless)

    assert len(names) > 3
    assert CANARY not in str(meant)
    assert all(_HEADER_NAME.fullmatch(name) for name in names)
    assert [section.header for section in seen] == [section.header for section in meant]
    for section, other in zip(seen, meant, strict=True):
        renamed = [tuple(_renamed(word, stand_ins) for word in line) for line in section.lines]
        # Rules stand in the order of the names.
        assert sorted(renamed) == sorted(other.lines)


def _renamed(word: str, stand_ins: dict[str, str]) -> str:
    for name, other in stand_ins.items():
        word = re.sub(rf"(^|/){re.escape(name)}($|\))", rf"\1{other}\2", word)
        word = word.replace(_digest(name), _digest(other))
        word = every_spelling(other) if word == every_spelling(name) else word
    return word


def _digest(name: str) -> str:
    """By which a row says that a field is among those of a route."""
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def test_hostile_servers_are_addresses_under_names_of_ours() -> None:
    sections = read_program(written(render(all_hostile()))["haproxy.cfg"].decode())

    slots = [
        section for section in sections if section.header[0] == "backend" and section.header[1] not in NO_SLOTS
    ]
    assert len(slots) > 100
    for section in slots:
        assert len(section.header) == 4
        for keyword, name, address, *_ in section.lines:
            assert keyword == "server"
            assert re.fullmatch(r"[0-9a-f.:]+_[0-9]+", name)
            assert re.fullmatch(r"ipv[46]@[0-9a-f.:]+", address)


def test_hostile_rows_are_read_as_meant() -> None:
    assert_rows_are_read_as_meant(render(all_hostile()))


def test_hostile_text_is_no_path_and_no_server_name() -> None:
    files = written(render(all_hostile()))

    assert CANARY not in " ".join(files)
    for line in files["certificates/list.txt"].decode().splitlines():
        path, *names = line.split(" ")
        assert path in files
        assert all(re.fullmatch(r"!\*|(\*\.)?[a-z0-9.-]+", name) for name in names)


def test_what_stands_around_a_certificate_goes_nowhere() -> None:
    bundles = render(all_hostile()).certificates.values()

    assert len(bundles) > 50
    for bundle in bundles:
        assert CANARY.encode() not in bundle.pem
        assert b"\n\n" not in bundle.pem
        assert bundle.pem.count(b"-----BEGIN ") == 2


@needs_haproxy
def test_the_checker_passes_hostile_objects_without_a_warning(tmp_path: Path) -> None:
    path = write_configuration(render(all_hostile()), SETTINGS, tmp_path)

    assert check(path, BINARY) == ""


@settings(max_examples=40)
@given(worlds("alpha", "beta"))
def test_any_world_is_read_as_meant(objects: list[KubeObject]) -> None:
    artifact = render(objects)

    assert_rows_are_read_as_meant(artifact)
    read_program(written(artifact)["haproxy.cfg"].decode())


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_a_quoted_text_is_one_word(text: str) -> None:
    assert split_line(f"before {quote(text)} after") == ("before", text, "after")
    assert split_line(quote_format(text)) == (text.replace("%", "%%"),)


@pytest.mark.parametrize("text", [pytest.param(text, id=attempt) for attempt, text in HOSTILE_TEXTS])
def test_what_is_not_printable_is_refused(text: str) -> None:
    if text.isascii() and text.isprintable():
        assert split_line(quote(text)) == (text,)
    else:
        with pytest.raises(RenderError):
            quote(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("", "x", id="no key"),
        pytest.param("a b", "x", id="a space in a key"),
        pytest.param("a\tb", "x", id="a tab in a key"),
        pytest.param("#a", "x", id="a key like a comment"),
        pytest.param("a\nb", "x", id="a line end in a key"),
        pytest.param("a", "", id="no value"),
        pytest.param("a", " x", id="a space before a value"),
        pytest.param("a", "x ", id="a space behind a value"),
        pytest.param("a", "x\ny", id="a line end in a value"),
        pytest.param("a", "x\ry", id="a carriage return in a value"),
        pytest.param("a", "\u00fc", id="a letter beyond ASCII"),
        pytest.param("a" * MAX_ROW_BYTES, "x", id="a long key"),
        pytest.param("a", "x" * MAX_ROW_BYTES, id="a long value"),
    ],
)
def test_what_a_map_cannot_hold_is_refused(key: str, value: str) -> None:
    with pytest.raises(RenderError):
        map_line(key, value)


@given(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1),
)
def test_a_row_is_read_as_written(key: str, value: str) -> None:
    if key.startswith("#") or value != value.strip(" "):
        return

    assert list(read_map(f"{map_line(key, value)}\n".encode())) == [(key, value)]


@needs_haproxy
def test_haproxy_reads_a_quoted_text_as_itself(tmp_path: Path) -> None:
    printable = "".join(map(chr, range(0x20, 0x7F)))
    texts = [text for _, text in HOSTILE_TEXTS if text.isascii() and text.isprintable() and len(text) < 1000]
    texts += [printable, printable[::-1], *printable, *(f"\\{one}" for one in printable), "$HOME ${HOME} \\x41"]
    port = free_port()
    lines = ["defaults", "    mode http", "    timeout client 9s", "frontend f", f"    bind 127.0.0.1:{port}"]
    for number, text in enumerate(texts):
        plain = f"    http-request return status 200 content-type text/plain string {quote(text)}"
        formatted = f"    http-request return status 200 content-type text/plain lf-string {quote_format(text)}"
        lines += [f"{plain} if {{ path /{number} }}", f"{formatted} if {{ path /f{number} }}"]
    path = tmp_path / "haproxy.cfg"
    path.write_text("\n".join(lines) + "\n")

    with running(path, port):
        connection = HTTPConnection("127.0.0.1", port, timeout=pace.within(10))
        for number, text in enumerate(texts):
            for prefix in ("", "f"):
                connection.request("GET", f"/{prefix}{number}")
                assert connection.getresponse().read().decode() == text
        connection.close()
