"""Rows go live together or not at all, whatever happens to a push."""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress

import anyio
import pytest

from ingresskit.apply.nginx.control import Row, encode_rows
from ingresskit.errors import ApplyError
from ingresskit.graph import RouteGraph
from ingresskit.models import Snapshot
from ingresskit.render.nginx.dynamic.rows import to_json
from ingresskit.testing import ingress, ingress_class
from ingresskit.translate import translate
from tests.unit.apply.nginx.conftest import Running

pytestmark = pytest.mark.anyio


def answering(host: str, status: int) -> Row:
    """A host on which every path is answered with *status*."""
    target = {"guards": [["respond", {"status": status}]]}
    return f"h:{host}", to_json(
        {"host": host, "exact": {}, "prefixes": {"": 1}, "longest": 0, "targets": [target]}
    )


async def push(running: Running, *rows: Row, base: str | None = None) -> None:
    served = await running.nginx.control.served()
    generation = served.highest + 1
    base = served.state if base is None else base
    await running.nginx.control.push(rows, generation=generation, base=base, state=f"state{generation}")


async def send_part(
    running: Running, rows: Sequence[Row], *, generation: int, base: str, fields: Mapping[str, str]
) -> int:
    """One part of a push, whatever it says of itself; returns the status of the answer."""
    body = encode_rows(rows)
    head = {
        "X-Generation": str(generation),
        "X-Base": base,
        "X-Part": "1",
        "X-Rows": str(len(rows)),
        "X-Checksum": f"{zlib.crc32(body):08x}",
        **fields,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    text = f"POST /push HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    async with await anyio.connect_unix(running.nginx.settings.status_socket) as stream:
        await stream.send(text.encode() + body)
        return int((await stream.receive()).split(b" ", 2)[1])


async def test_rows_are_served_once_they_are_pushed(running: Running) -> None:
    await push(running, answering("a.test", 403))
    before = (await running.status("a.test"), await running.status("b.test"))
    await push(running, answering("a.test", 503), answering("b.test", 403))
    after = (await running.status("a.test"), await running.status("b.test"))
    await push(running, ("h:a.test", None))

    assert before == (403, 404)
    assert after == (503, 403)
    assert (await running.status("a.test"), await running.status("b.test")) == (404, 403)


async def test_push_that_never_ends_changes_nothing(running: Running) -> None:
    await push(running, answering("a.test", 403))
    served = await running.nginx.control.served()

    rows = [answering("a.test", 503), answering("b.test", 503)]
    status = await send_part(running, rows, generation=served.highest + 1, base=served.state, fields={})
    during = (await running.status("a.test"), await running.status("b.test"))
    await push(running, answering("c.test", 403))

    assert status == 200
    assert during == (403, 404)
    assert [await running.status(host) for host in ("a.test", "b.test", "c.test")] == [403, 404, 403]
    assert (await running.nginx.control.served()).generation > served.highest + 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"X-Checksum": "00000000"},
        {"X-Rows": "3"},
        {"X-Base": "another"},
        {"X-Part": "2"},
        {"X-Generation": "1"},
        {"X-Generation": "many"},
    ],
    ids=["checksum", "number of rows", "base", "part", "old generation", "no number"],
)
async def test_push_that_is_not_what_it_says_changes_nothing(running: Running, wrong: dict[str, str]) -> None:
    await push(running, answering("a.test", 403))
    served = await running.nginx.control.served()

    rows = [answering("a.test", 503), answering("b.test", 503)]
    status = await send_part(
        running, rows, generation=served.highest + 1, base=served.state, fields={"X-State": "new"} | wrong
    )

    assert status in (400, 409)
    assert (await running.status("a.test"), await running.status("b.test")) == (403, 404)
    assert (await running.nginx.control.served()).state == served.state


@pytest.mark.parametrize(
    "line",
    [
        b"x:a.test\t{}\n",
        b"h:a.test\t{}\t{}\n",
        b"generation\t9\n",
        b"s:state\tmine\n",
        b"h:a.test\t{}",
        b"\t{}\n",
    ],
    ids=["unknown kind", "three parts", "its own key", "the state", "no end", "no key"],
)
async def test_line_that_is_no_row_is_refused(running: Running, line: bytes) -> None:
    served = await running.nginx.control.served()
    text = (
        f"POST /push HTTP/1.1\r\nHost: x\r\nX-Generation: {served.highest + 1}\r\nX-Base: {served.state}\r\n"
        f"X-Part: 1\r\nX-Rows: 1\r\nX-State: new\r\nX-Checksum: {zlib.crc32(line):08x}\r\n"
        f"Content-Length: {len(line)}\r\nConnection: close\r\n\r\n"
    )
    async with await anyio.connect_unix(running.nginx.settings.status_socket) as stream:
        await stream.send(text.encode() + line)
        answer = await stream.receive()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert (await running.nginx.control.served()).state == served.state


async def test_push_of_every_row_removes_the_others(running: Running) -> None:
    await push(running, answering("a.test", 403), answering("b.test", 403))
    many = [answering(f"host{number}.test", 403) for number in range(5000)]

    await push(running, answering("b.test", 503), *many, base="-")

    assert [await running.status(host) for host in ("a.test", "b.test", "host4999.test")] == [404, 503, 403]


async def test_requests_never_see_half_of_a_push(running: Running) -> None:
    """Host and default change together in each push; a request that met one of each would say so by its 404."""

    def rows(number: int) -> list[Row]:
        there, gone = ("even.test", "odd.test") if number % 2 == 0 else ("odd.test", "even.test")
        # What the host does not have, "any" has in that state only.
        return [answering(there, 503), (f"h:{gone}", None), answering("*", 403)]

    seen: set[int] = set()
    await push(running, *rows(0))

    async def ask() -> None:
        while True:
            seen.add(await running.status("even.test"))
            seen.add(await running.status("odd.test"))

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(ask)
        for number in range(1, 60):
            await push(running, *rows(number))
        tasks.cancel_scope.cancel()

    assert seen == {503, 403}


async def test_pushed_rows_outlive_the_program(running: Running) -> None:
    """What was pushed past the applier is not on its disk, so this goes through it."""
    for hosts in (["a.test"], ["a.test", "b.test"], ["b.test", "c.test"]):
        objects = [ingress_class(), *(ingress(host[0], {host: {"/": "web"}}) for host in hosts)]
        await running.serve(translate(Snapshot.of(objects)).graph)
    journal = running.state / "journal"
    written = journal.read_bytes()

    pid = running.nginx.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until_restarted(running)

    assert written.count(b"push ") == 3
    assert [await running.status(host) for host in ("a.test", "b.test", "c.test")] == [404, 503, 503]


async def test_refused_push_says_why(running: Running) -> None:
    with pytest.raises(ApplyError, match=r"refused new tables \(409\): the state is .*, not another"):
        await push(running, answering("a.test", 403), base="another")


async def until_restarted(running: Running) -> None:
    deadline = anyio.current_time() + 10
    while anyio.current_time() < deadline:
        await anyio.sleep(0.02)
        if running.nginx.restarts:
            with suppress(OSError, anyio.EndOfStream, anyio.BrokenResourceError):
                await running.status("a.test")
                return
    raise AssertionError("nginx was not started again")


async def test_what_the_disk_did_not_take_is_written_with_the_next_change(running: Running) -> None:
    def graph(*hosts: str) -> RouteGraph:
        objects = [ingress_class(), *(ingress(host[0], {host: {"/": "web"}}) for host in hosts)]
        return translate(Snapshot.of(objects)).graph

    await running.serve(graph("a.test"))
    (running.state / "journal").unlink(missing_ok=True)
    (running.state / "journal").mkdir()  # nothing can be written there
    await running.serve(graph("a.test", "b.test"))
    served = await running.status("b.test")
    (running.state / "journal").rmdir()
    await running.serve(graph("a.test", "b.test", "c.test"))
    assert running.nginx.pid is not None
    os.kill(running.nginx.pid, signal.SIGKILL)
    await until_restarted(running)

    assert served == 503
    assert [await running.status(host) for host in ("a.test", "b.test", "c.test")] == [503, 503, 503]
