"""The first message of a TLS client: read as OpenSSL reads it, and never a fault."""

from __future__ import annotations

import contextlib
import ssl
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingresskit._fallback_certificate import make_fallback_certificate
from ingresskit.proxy.listen.client_hello import MOST_BYTES, BadClientHello, parse_client_hello
from ingresskit.proxy.tls_contexts import load_chain
from tests.dataplane.passed import client_hello, records

_LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
_NAMES = st.lists(_LABELS, min_size=1, max_size=4).map(".".join).filter(lambda name: not name[-1].isdigit())


@cache
def _server() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_chain(context, *make_fallback_certificate())
    return context


def _of_openssl(data: bytes) -> tuple[bool, str | None]:
    """Whether a server of OpenSSL takes the message, and the name that it finds."""
    found: list[str | None] = []
    context = _server()

    def note(_connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        found.append(name)

    context.sni_callback = note
    incoming = ssl.MemoryBIO()
    incoming.write(data)
    with contextlib.suppress(ssl.SSLError):
        context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
    return bool(found), found[0] if found else None


def _ours(data: bytes) -> tuple[bool, str | None]:
    try:
        hello = parse_client_hello(data)
    except BadClientHello:
        return False, None
    return hello is not None, None if hello is None else hello.server_name


@given(_NAMES, st.lists(st.integers(1, 300), max_size=6))
@settings(max_examples=50, deadline=None)
def test_name_is_read_from_any_records_as_openssl_reads_it(name: str, sizes: list[int]) -> None:
    data = records(client_hello(name), sizes)

    assert _ours(data) == (True, name) == _of_openssl(data)


@given(_NAMES, st.data())
@settings(max_examples=50, deadline=None)
def test_part_of_a_message_waits_for_the_rest(name: str, data: st.DataObject) -> None:
    whole = records(client_hello(name), [data.draw(st.integers(1, 100))])

    assert parse_client_hello(whole[: data.draw(st.integers(0, len(whole) - 1))]) is None


@given(st.binary(max_size=600))
@settings(max_examples=200, deadline=None)
def test_octets_of_any_kind_are_no_fault(data: bytes) -> None:
    _ours(data)


# Python reads a name as ASCII before it calls back, and tells of another one on the side.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@given(_NAMES, st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_changed_message_has_no_other_name_than_openssl_finds(
    name: str, changes: list[tuple[int, int]]
) -> None:
    changed = bytearray(client_hello(name))
    for place, value in changes:
        changed[place % len(changed)] = value
    taken, found = _of_openssl(bytes(changed))
    read, ours = _ours(bytes(changed))

    # OpenSSL also refuses what is not read here, such as ciphers; what both take, both read alike.
    if taken and read:
        assert found == ours
    if taken and found is not None and all(" " < letter < "\x7f" for letter in found):
        assert read


def _extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2) + len(body).to_bytes(2) + body


def _hello(*extensions: bytes, message: int = 1, more: bytes = b"") -> bytes:
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    joined = b"".join(extensions)
    body += len(joined).to_bytes(2) + joined
    whole = bytes([message]) + len(body).to_bytes(3) + body + more
    return b"\x16\x03\x01" + len(whole).to_bytes(2) + whole


def _names(*names: bytes, kind: int = 0) -> bytes:
    listed = b"".join(bytes([kind]) + len(name).to_bytes(2) + name for name in names)
    return _extension(0, len(listed).to_bytes(2) + listed)


def test_what_nobody_knows_is_passed_over() -> None:
    grease, inner = _extension(0x2A2A, b"\x00"), _extension(0xFE0D, bytes(200))
    hello = parse_client_hello(_hello(grease, _names(b"public.example"), inner, _extension(0x3A3A, b"")))

    assert hello is not None
    assert hello.server_name == "public.example"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="HTTP"),
        pytest.param(b"\x80\x2e\x01\x03\x01", id="SSL 2"),
        pytest.param(b"\x16\x02", id="another protocol"),
        pytest.param(b"\x16\x03\x01\x00\x00", id="a record of nothing"),
        pytest.param(b"\x16\x03\x01\x7f\xff", id="a record that is too long"),
        pytest.param(_hello(message=2), id="another message"),
        pytest.param(_hello(more=b"\x00"), id="more in the record"),
        pytest.param(_hello(_names(b"a.test"), _names(b"b.test")), id="the extension twice"),
        pytest.param(_hello(_names(b"a.test", b"b.test")), id="two names"),
        pytest.param(_hello(_names(b"a.test", kind=1)), id="another kind of name"),
        pytest.param(_hello(_names(b"")), id="an empty name"),
        pytest.param(_hello(_names(b"a" * 256)), id="a name that is too long"),
        pytest.param(_hello(_names(b"a\x00.test")), id="a NUL"),
        pytest.param(_hello(_names(b"\xc3\xa4.test")), id="no ASCII"),
        pytest.param(_hello(_extension(0, b"\x00\x09")), id="a name that ends too early"),
        pytest.param(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", id="a message that is too long"),
    ],
)
def test_what_is_no_first_message_is_refused(data: bytes) -> None:
    with pytest.raises(BadClientHello):
        parse_client_hello(data)


def test_a_message_of_crumbs_ends() -> None:
    crumbs = (
        b"\x16\x03\x01\x00\x01\x01" + b"\x16\x03\x01\x00\x03\x00\xff\x00" + b"\x16\x03\x01\x00\x01\x00" * 20000
    )

    with pytest.raises(BadClientHello):
        parse_client_hello(crumbs[:MOST_BYTES])
