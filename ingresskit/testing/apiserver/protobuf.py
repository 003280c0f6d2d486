"""Reading the protobuf that kubectl sends where it builds objects itself, as in ``kubectl create secret``.

Only requests: answers are JSON, which every client takes as well.

Source: kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding; the encoding of protobuf,
protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import cast

from ingresskit.testing.apiserver.declared import KINDS, METADATA, ListOf, MapOf, One, Type, structs
from ingresskit.testing.apiserver.manifests import Manifest, micro_timestamp, timestamp

__all__ = ["from_protobuf"]

_MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def from_protobuf(body: bytes) -> Manifest:
    """The object in *body*, with its version and kind.

    Raises:
        ValueError: It is not protobuf of the API, or of a kind whose fields are not known.
    """
    if not body.startswith(_MAGIC):
        raise ValueError("it does not begin as protobuf of the API does")
    try:
        whole = _message(body[len(_MAGIC) :])
        head = _message(cast(bytes, whole[1][-1]))
        version, kind = (cast(bytes, head[number][-1]).decode() for number in (1, 2))
        name = KINDS.get((version, kind))
        if name is None:
            raise ValueError(f"the fields of {kind} in {version} are not known")
        manifest = _struct(cast(bytes, whole.get(2, [b""])[-1]), name, top=True)
    except (IndexError, KeyError, TypeError, AttributeError) as exc:
        raise ValueError("it is cut short, or something is of another type") from exc
    return {"apiVersion": version, "kind": kind, **manifest}


def _struct(data: bytes, name: str, *, top: bool = False) -> Manifest:
    found: Manifest = {}
    message = _message(data)
    declared = {"metadata": METADATA, **structs()[name]} if top else structs()[name]
    for key, one in declared.items():
        values = message.get(one.numbers[0], [])
        if len(one.numbers) > 1:
            values = [
                inner for value in values for inner in _message(cast(bytes, value)).get(one.numbers[1], [])
            ]
        if values:
            found[key] = _values(values, one.type)
    return found


def _values(values: list[int | bytes], kind: Type) -> object:
    match kind:
        case ListOf(of=of):
            return [_value(value, of) for value in values]
        case MapOf(of=of):
            return dict(_entry(cast(bytes, value), of) for value in values)
        case One():
            return _value(values[-1], kind)


def _entry(data: bytes, of: Type) -> tuple[str, object]:
    message = _message(data)
    return cast(bytes, message.get(1, [b""])[-1]).decode(), _value(message.get(2, [b""])[-1], of)


def _value(value: int | bytes, kind: Type) -> object:
    name = kind.name if isinstance(kind, One) else ""
    if isinstance(value, int):
        return bool(value) if name == "bool" else value - (1 << 64) if value >> 63 else value
    if name in structs():
        return _struct(value, name)
    match name:
        case "bytes":
            return base64.b64encode(value).decode()
        case "time" | "micro":
            return _time(value, exact=name == "micro")
        case "intstr":
            message = _message(value)
            if message.get(1, [0])[-1]:
                return cast(bytes, message.get(3, [b""])[-1]).decode()
            return _value(message.get(2, [0])[-1], One("int"))
        case "any":
            return None
        case _:
            return value.decode()


def _time(value: bytes, *, exact: bool) -> str | None:
    message = _message(value)
    seconds, nanos = (cast(int, message.get(number, [0])[-1]) for number in (1, 2))
    if not seconds and not nanos:
        return None
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)
    return micro_timestamp(moment) if exact else timestamp(moment)


def _message(data: bytes) -> Mapping[int, list[int | bytes]]:
    """The fields of a message by number, each as often as it stands there."""
    found: dict[int, list[int | bytes]] = {}
    for number, value in _fields(data):
        found.setdefault(number, []).append(value)
    return found


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = _varint(data, place)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"there is no wire type {kind}")
        if place + size > len(data):
            raise ValueError("a field is longer than what it stands in")
        yield number, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number is longer than 64 bits")
