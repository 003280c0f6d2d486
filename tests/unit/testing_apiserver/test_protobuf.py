"""Protobuf as kubectl sends it is read, and what is none is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingresskit.testing.apiserver import ApiServer
from ingresskit.testing.apiserver.calls import call
from ingresskit.testing.apiserver.protobuf import from_protobuf

PROTOBUF = "application/vnd.kubernetes.protobuf"


def varint(number: int) -> bytes:
    number %= 1 << 64
    out = bytearray()
    while number >= 128:
        out.append(number % 128 + 128)
        number //= 128
    return bytes([*out, number])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def packed(version: str, kind: str, *fields: bytes) -> bytes:
    return b"k8s\0" + field(1, field(1, version) + field(2, kind)) + field(2, b"".join(fields))


METADATA = field(1, field(1, "web") + field(11, field(1, "app") + field(2, "shop")))


def test_maps_bytes_numbers_and_nested_messages_are_read() -> None:
    port = field(1, "http") + field(3, 80) + field(4, field(1, 1) + field(3, "web"))
    other = field(3, 443) + field(4, field(1, 0) + field(2, -1)) + field(5, 30000)
    service = packed("v1", "Service", METADATA, field(2, field(1, port) + field(1, other)))
    secret = packed("v1", "Secret", METADATA, field(2, field(1, "k") + field(2, b"\x00\xff")))

    assert from_protobuf(service) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "labels": {"app": "shop"}},
        "spec": {
            "ports": [
                {"name": "http", "port": 80, "targetPort": "web"},
                {"port": 443, "targetPort": -1, "nodePort": 30000},
            ]
        },
    }
    assert from_protobuf(secret)["data"] == {"k": "AP8="}


def test_a_field_in_a_message_that_json_does_not_show_is_found() -> None:
    path = field(1, "/") + field(3, "Prefix") + field(2, field(4, field(1, "web") + field(2, field(2, 80))))
    rule = field(1, "a.example") + field(2, field(1, field(1, path)))
    ingress = packed("networking.k8s.io/v1", "Ingress", METADATA, field(2, field(3, rule)))

    backend = {"service": {"name": "web", "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    assert from_protobuf(ingress)["spec"] == {"rules": [{"host": "a.example", "http": {"paths": paths}}]}


def test_times_are_written_as_json_has_them() -> None:
    time = field(1, 1767225600) + field(2, 5000)
    lease = packed("coordination.k8s.io/v1", "Lease", METADATA, field(2, field(1, "x") + field(3, time)))

    spec = from_protobuf(lease)["spec"]

    assert spec == {"holderIdentity": "x", "acquireTime": "2026-01-01T00:00:00.000005Z"}


@given(st.binary(max_size=60))
def test_junk_is_refused_and_nothing_else_happens(junk: bytes) -> None:
    for body in (junk, b"k8s\0" + junk, packed("v1", "Service", junk), packed("v1", "Service", field(2, junk))):
        try:
            from_protobuf(body)
        except ValueError:
            continue


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"k8s\0", packed("v1", "Nothing"), packed("v1", "Service", METADATA)[:-3]],
    ids=["nothing", "JSON", "an empty envelope", "an unknown kind", "a part of an object"],
)
def test_a_server_says_that_it_cannot_read_it(body: bytes) -> None:
    with ApiServer.in_thread() as server:
        path = "/api/v1/namespaces/default/services"

        assert call(server, "POST", path, body, content_type=PROTOBUF).status == 400
