"""A name server for the endpoints of upstreams, so that nginx follows them without a reload.

nginx from 1.27.4 on looks the servers of an upstream up once a second, where its files say so: first the
``SRV`` records of the upstream, whose targets are names that spell an address, then those addresses.
Nothing but one nginx asks, on loopback. Of a name that is not known nothing is said that nginx would
believe: it goes on with what it knew, as it does while nobody answers.

Source: RFC 1035, RFC 2782; ``ngx_resolver.c`` and ``ngx_http_upstream_zone_module.c`` of nginx 1.30.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Mapping
from datetime import timedelta

import anyio
import anyio.abc

from ingresskit.errors import ApplyError
from ingresskit.graph import Endpoint
from ingresskit.render.nginx.static.upstreams import LOOKED_UP_AS

__all__ = ["NameServer"]

_A, _AAAA, _SRV = 1, 28, 33
_SERVER_FAILURE = 2
# What nginx takes in one datagram.
_DATAGRAM = 4096
_SECONDS = 0  # nothing is remembered longer than nginx is told in its files
_PATIENCE = timedelta(seconds=10)


class NameServer:
    """Serves endpoints by the name of their upstream. One task changes them.

    Args:
        address: Where to be asked: ``"127.0.0.1:5300"``, by UDP and TCP.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._host = host.strip("[]")
        self._port = int(port)
        self._endpoints: Mapping[str, tuple[Endpoint, ...]] = {}
        self._asked: dict[str, int] = {}
        self._heard = anyio.Event()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Respond until cancelled.

        Raises:
            ApplyError: The address cannot be had.
        """
        try:
            udp = await anyio.create_udp_socket(local_host=self._host, local_port=self._port)
            async with udp:
                listener = await anyio.create_tcp_listener(local_host=self._host, local_port=self._port)
                async with listener, anyio.create_task_group() as tasks:
                    tasks.start_soon(listener.serve, self._serve)
                    task_status.started()
                    async for packet, (host, port) in udp:
                        if answer := self.answer(packet, _DATAGRAM):
                            await udp.sendto(answer, host, port)
        except OSError as exc:
            raise ApplyError(
                f"the name server for nginx cannot listen at {self._host}:{self._port}: {exc.strerror or exc}"
            ) from exc

    def tell(self, endpoints: Mapping[str, tuple[Endpoint, ...]]) -> frozenset[str]:
        """Respond with these from now on.

        Returns:
            The names whose answer changed.
        """
        before, self._endpoints = self._endpoints, endpoints
        changed = frozenset(name for name, item in endpoints.items() if before.get(name) != item)
        for name in changed:
            self._asked[name] = 0
        for name in before.keys() - endpoints.keys():
            self._asked.pop(name, None)
        return changed

    async def wait_known(self, names: Iterable[str]) -> None:
        """Wait until nginx serves what was told last of *names*: it asks again once it has taken an answer.

        Raises:
            ApplyError: It did not ask within ten seconds.
        """
        waiting = set(names)
        with anyio.move_on_after(_PATIENCE.total_seconds()):
            while waiting := {name for name in waiting if self._asked.get(name, 2) < 2}:
                self._heard = anyio.Event()
                await self._heard.wait()
        if waiting:
            raise ApplyError(f"nginx did not ask for the endpoints of {len(waiting)} upstreams")

    def answer(self, packet: bytes, limit: int) -> bytes:
        """The response to a query, of *limit* bytes at most, else one that asks for TCP; empty: none."""
        question = _read_question(packet)
        if question is None:
            return b""
        name, kind, end = question
        records = self._records(name, kind)
        if records is None:
            return _message(packet, end, (), status=_SERVER_FAILURE)
        whole = _message(packet, end, records)
        return whole if len(whole) <= limit else _message(packet, end, (), truncated=True)

    def _records(self, name: str, kind: int) -> list[bytes] | None:
        """The records of *name*; ``None`` when nothing is known of it."""
        first, _, parent = name.partition(".")
        if parent == LOOKED_UP_AS.domain and (address := _spelled(first)) is not None:
            wanted = _A if address.version == 4 else _AAAA
            return [_record(wanted, address.packed)] if kind == wanted else []
        service, _, upstream = name.removesuffix(f".{LOOKED_UP_AS.domain}").partition("._tcp.")
        if service != f"_{LOOKED_UP_AS.service}" or upstream not in self._endpoints:
            return None
        if kind != _SRV:
            return []
        self._asked[upstream] = self._asked.get(upstream, 0) + 1
        self._heard.set()
        return [
            _record(
                _SRV, struct.pack(">HHH", 0, 1, item.port) + _encoded(f"{_spell(item)}.{LOOKED_UP_AS.domain}")
            )
            for item in self._endpoints[upstream]
        ]

    async def _serve(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            received = b""
            try:
                while True:
                    received += await stream.receive()
                    while len(received) >= 2 and len(received) - 2 >= (size := int.from_bytes(received[:2])):
                        answer = self.answer(received[2 : 2 + size], 65535)
                        received = received[2 + size :]
                        await stream.send(struct.pack(">H", len(answer)) + answer)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return


def _read_question(packet: bytes) -> tuple[str, int, int] | None:
    """The name in lower case, the type, and where the question ends; ``None`` when it is none of nginx."""
    if len(packet) < 17 or packet[2] & 0x80 or packet[4:6] != b"\0\1":
        return None
    labels: list[str] = []
    place = 12
    while place < len(packet) and packet[place]:
        size = packet[place]
        if size > 63 or place + size + 5 >= len(packet):
            return None
        labels.append(packet[place + 1 : place + 1 + size].decode("latin-1").lower())
        place += 1 + size
    kind = int.from_bytes(packet[place + 1 : place + 3])
    return ".".join(labels), kind, place + 5


def _message(
    packet: bytes, end: int, records: Iterable[bytes], *, status: int = 0, truncated: bool = False
) -> bytes:
    held = list(records)
    flags = 0x8580 | (0x0200 if truncated else 0) | status
    head = packet[:2] + struct.pack(">HHHHH", flags, 1, len(held), 0, 0)
    return b"".join((head, packet[12:end], *held))


def _record(kind: int, data: bytes) -> bytes:
    # The name is that of the question, which always stands at the same place.
    return b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, _SECONDS, len(data)) + data


def _encoded(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split(".")) + b"\0"


def _spell(endpoint: Endpoint) -> str:
    """An address as a label: ``a`` and 8, or ``b`` and 32 hexadecimal digits."""
    address = ipaddress.ip_address(endpoint.address)
    return ("a" if address.version == 4 else "b") + address.packed.hex()


def _spelled(label: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if len(label) in (9, 33) and label[0] == ("a" if len(label) == 9 else "b"):
        try:
            return ipaddress.ip_address(bytes.fromhex(label[1:]))
        except ValueError:
            return None
    return None
