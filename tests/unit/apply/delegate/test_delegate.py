"""A delegate process under its owner: started, changed, adopted, started again, ended."""

from __future__ import annotations

import ipaddress
import os
import signal
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import anyio
import pytest
from typing_extensions import override

from ingresskit.apply import ProcessSettings, ProxyProcess
from ingresskit.apply.delegate import Delegate, DelegateOptions
from ingresskit.errors import ConfigurationError
from ingresskit.graph import BackendKey, PathMatch, Redirect, Route, VirtualHost
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import Origin
from ingresskit.render.access import AccessRecord
from ingresskit.render.delegate import DelegateSettings
from ingresskit.render.inprocess import HostTable, RoutingTable, TargetMaker
from ingresskit.testing import pace
from ingresskit.translate import DestinationPolicy

pytestmark = pytest.mark.anyio

DEADLINE = pace.within(30.0)
ORIGIN = Origin(ObjectRef("Ingress", ObjectKey("shop", "web")), "spec")
SAID = "Ingresskit-Delegate: 1 203.0.113.7 https 1 443 * Prefix "
QUICK = DelegateOptions(
    settle=timedelta(milliseconds=50),
    linger=timedelta(milliseconds=100),
    statistics_interval=timedelta(milliseconds=20),
    process=ProcessSettings(restart_first=timedelta(milliseconds=10)),
)


@pytest.fixture
def state() -> Iterator[Path]:
    # Not tmp_path: the path of a socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="ik-") as folder:
        yield Path(folder) / "delegate"


def make_delegate(
    state: Path, options: DelegateOptions = QUICK, access_log: Callable[[AccessRecord], None] | None = None
) -> Delegate:
    return Delegate(DelegateSettings(), state=state, options=options, access_log=access_log)


def make_table(**locations: str) -> RoutingTable:
    """A table that redirects requests for each path (``a``: ``/a``)."""
    routes = tuple(
        Route(match=PathMatch.prefix(f"/{name}"), action=Redirect(location=to), origin=ORIGIN)
        for name, to in locations.items()
    )
    maker = TargetMaker(VirtualHost(host="*", routes=routes))
    prefixes = {route.match.value: maker.target(route) for route in routes}
    return RoutingTable(hosts={"*": HostTable(host="*", prefixes=prefixes)})


async def ask(delegate: Delegate, path: str = "/a") -> str:
    """The status and the location of the response; empty while nobody listens."""
    try:
        stream = await anyio.connect_unix(delegate.socket)
    except OSError:
        return ""
    async with stream:
        head = f"GET {path} HTTP/1.1\r\nHost: web.example\r\n{SAID}{path}\r\nConnection: close\r\n\r\n"
        text = b""
        try:
            await stream.send(head.encode())
            while True:
                text += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass
    lines = text.decode().split("\r\n")
    if not lines[0]:
        return ""
    location = next((line.partition(": ")[2] for line in lines if line.lower().startswith("location:")), "")
    return f"{lines[0].split()[1]} {location}".strip()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - other processes cannot be waited for
        await anyio.sleep(0.005)


async def until_answered(delegate: Delegate, wanted: str, path: str = "/a") -> None:
    while await ask(delegate, path) != wanted:  # noqa: ASYNC110 - another process cannot be waited for
        await anyio.sleep(0.01)


async def test_nothing_runs_before_the_first_route(state: Path) -> None:
    with anyio.fail_after(DEADLINE):
        async with make_delegate(state) as delegate:
            await delegate.serve(RoutingTable())
            delegate.settle()

            assert delegate.pid is None
            assert delegate.problem == ""


async def test_table_is_served_when_serve_returns(state: Path) -> None:
    with anyio.fail_after(DEADLINE):
        async with make_delegate(state) as delegate:
            await delegate.serve(make_table(a="/one"))
            assert await ask(delegate) == "308 /one"
            await delegate.serve(make_table(a="/two"))
            assert await ask(delegate) == "308 /two"


async def test_sockets_are_for_their_owner_only(state: Path) -> None:
    with anyio.fail_after(DEADLINE):
        async with make_delegate(state) as delegate:
            await delegate.serve(make_table(a="/one"))

            assert mode(state) == 0o700
            assert mode(state / "front.sock") == mode(state / "control.sock") == 0o600


async def test_route_that_is_gone_is_served_until_the_front_has_settled(state: Path) -> None:
    options = DelegateOptions(settle=timedelta(milliseconds=50), statistics_interval=timedelta(milliseconds=20))
    with anyio.fail_after(DEADLINE):
        async with make_delegate(state, options) as delegate:
            await delegate.serve(make_table(a="/one", b="/one"))
            delegate.settle()
            await delegate.serve(make_table(b="/two"))
            await anyio.sleep(0.2)

            assert await ask(delegate, "/a") == "308 /one"
            assert await ask(delegate, "/b") == "308 /two"
            delegate.settle()
            await until_answered(delegate, "503", "/a")
            assert await ask(delegate, "/b") == "308 /two"


async def test_one_that_is_killed_serves_the_same_again(state: Path) -> None:
    with anyio.fail_after(DEADLINE):
        async with make_delegate(state) as delegate:
            await delegate.serve(make_table(a="/one"))
            first = delegate.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(lambda: delegate.pid not in (None, first))

            await until_answered(delegate, "308 /one")
            assert delegate.problem == ""


async def test_one_that_is_killed_between_delegate_and_front_serves_what_both_need(state: Path) -> None:
    options = DelegateOptions(process=ProcessSettings(restart_first=timedelta(milliseconds=10)))
    with anyio.fail_after(DEADLINE):
        async with make_delegate(state, options) as delegate:
            await delegate.serve(make_table(a="/one"))
            delegate.settle()
            await delegate.serve(make_table(b="/two"))
            first = delegate.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)

            await until_answered(delegate, "308 /two", "/b")
            assert await ask(delegate, "/a") == "308 /one"


async def leave_one(state: Path, table: RoutingTable) -> int:
    """A delegate that a controller left behind: its pid."""
    async with make_delegate(state) as delegate:
        await delegate.serve(table)
        pid = delegate.pid
        delegate.leave()
    assert pid is not None
    return pid


async def test_next_controller_adopts_it_with_its_routes(state: Path) -> None:
    with anyio.fail_after(DEADLINE):
        pid = await leave_one(state, make_table(a="/one"))
        async with make_delegate(state) as delegate:
            assert delegate.pid == pid
            assert await ask(delegate) == "308 /one"
            await delegate.serve(make_table(b="/two"))
            assert await ask(delegate, "/a") == "308 /one"
            assert await ask(delegate, "/b") == "308 /two"
            delegate.settle()
            await until_answered(delegate, "503", "/a")
            assert delegate.pid == pid


async def test_one_with_other_settings_is_replaced(state: Path) -> None:
    with anyio.fail_after(DEADLINE):
        pid = await leave_one(state, make_table(a="/one"))
        async with Delegate(DelegateSettings(https_port=8443), state=state, options=QUICK) as delegate:
            await delegate.serve(make_table(a="/two"))

            assert delegate.pid not in (None, pid)
            assert await ask(delegate) == "308 /two"


async def test_one_with_the_same_settings_is_kept(state: Path) -> None:
    def made() -> DelegateSettings:
        networks = (ipaddress.ip_network("127.0.0.0/8"),)
        return DelegateSettings(destination_fault=DestinationPolicy(allow=networks).fault)

    with anyio.fail_after(DEADLINE):
        async with Delegate(made(), state=state, options=QUICK) as first:
            await first.serve(make_table(a="/one"))
            pid = first.pid
            await first.serve(make_table(a="/two"))
            assert first.pid == pid
            first.leave()
        async with Delegate(made(), state=state, options=QUICK) as second:
            await second.serve(make_table(a="/three"))
            assert second.pid == pid


class _Broken(Delegate):
    """A delegate whose program ends at once."""

    @override
    def _make_process(self) -> ProxyProcess:
        return ProxyProcess("delegate", ["false"], state=self._state, settings=QUICK.process)


async def test_one_that_does_not_work_holds_up_one_change_only(state: Path) -> None:
    options = DelegateOptions(push_timeout=timedelta(milliseconds=300), process=QUICK.process)
    with anyio.fail_after(DEADLINE):
        async with _Broken(DelegateSettings(), state=state, options=options) as delegate:
            # A wait for each would take three times the deadline.
            for number in range(int(DEADLINE * 10)):
                await delegate.serve(make_table(a=f"/{number}"))
                delegate.settle()

            assert delegate.problem


async def test_it_is_ended_some_time_after_its_last_route(state: Path) -> None:
    with anyio.fail_after(DEADLINE):
        async with make_delegate(state) as delegate:
            await delegate.serve(make_table(a="/one"))
            delegate.settle()
            await delegate.serve(RoutingTable())
            delegate.settle()
            await until(lambda: delegate.pid is None)
            assert not delegate.socket.exists()

            await delegate.serve(make_table(a="/three"))
            assert await ask(delegate) == "308 /three"


async def test_leaving_the_context_ends_it(state: Path) -> None:
    with anyio.fail_after(DEADLINE):
        async with make_delegate(state) as delegate:
            await delegate.serve(make_table(a="/one"))
            pid = delegate.pid

        assert pid is not None
        assert not os.path.exists(f"/proc/{pid}")  # noqa: ASYNC240, PTH110 - /proc does not block


async def test_records_and_counts_reach_its_owner(state: Path) -> None:
    records: list[AccessRecord] = []
    with anyio.fail_after(DEADLINE):
        async with make_delegate(state, access_log=records.append) as delegate:
            await delegate.serve(make_table(a="/one"))
            while not records:
                await ask(delegate)
            await until(lambda: delegate.counts().requests.get("*", {}).get(3, 0) > 0)

        assert records[0].client == "203.0.113.7"
        assert (records[0].method, records[0].path, records[0].status) == ("GET", "/a", 308)


def test_folder_that_is_too_long_for_its_sockets_is_refused_at_once() -> None:
    fits = Path("/" + "x" * 93)

    make_delegate(fits)
    with pytest.raises(
        ConfigurationError, match=r"/control\.sock is too long for a socket: 108 bytes, 107 at most"
    ):
        make_delegate(fits.with_name("x" * 94))


async def test_table_that_cannot_be_sent_is_a_problem_and_ends_nothing(state: Path) -> None:
    table = make_table(a="/one")
    unsendable = replace(table, backends={BackendKey("a", "b", 1): lambda: None})  # type: ignore[dict-item]
    with anyio.fail_after(DEADLINE):
        async with make_delegate(state) as delegate:
            await delegate.serve(table)
            # What a wait for it ends in is another test's; here the reason counts.
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(delegate.serve, unsendable)
                await until(lambda: delegate.problem.startswith("a policy's filters cannot be sent"))
                assert await ask(delegate) == "308 /one"

                await delegate.serve(make_table(a="/two"))

            assert delegate.problem == ""
            assert await ask(delegate) == "308 /two"


async def test_table_of_a_module_that_the_delegate_lacks_is_a_problem(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("only_the_controller_has_it")
    kind = type("Filter", (), {"__module__": module.__name__})
    vars(module)["Filter"] = kind
    monkeypatch.setitem(sys.modules, module.__name__, module)
    unreadable = replace(make_table(a="/two"), backends={BackendKey("a", "b", 1): kind()})
    with anyio.fail_after(DEADLINE):
        async with make_delegate(state) as delegate, anyio.create_task_group() as tasks:
            await delegate.serve(make_table(a="/one"))
            tasks.start_soon(delegate.serve, unreadable)
            await until(lambda: "No module named 'only_the_controller_has_it'" in delegate.problem)
            assert await ask(delegate) == "308 /one"
            tasks.cancel_scope.cancel()
