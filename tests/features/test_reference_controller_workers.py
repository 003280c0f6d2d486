"""The reference controller with worker processes: changed, killed, renewed and taken over under load."""

from __future__ import annotations

import json
import os
import signal
import ssl
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import pytest

from ingresskit.app.flags import parse_flags
from ingresskit.testing import pace
from ingresskit.testing.apiserver import ApiServer
from ingresskit.testing.ports import free_port
from tests.features.cluster_scene import (
    LOOPBACK,
    Pod,
    certificate,
    fingerprint,
    ingress,
    ingress_class,
    served_fingerprint,
    service,
    slice_of,
)
from tests.features.reference_process import ReferenceController, wait_until

DEADLINE = pace.within(20.0)
CONNECTIONS = 6


@pytest.fixture
def server() -> Generator[ApiServer]:
    with ApiServer.in_thread(tls=True, bookmark_seconds=0.5) as running:
        yield running


@pytest.fixture
def pod() -> Iterator[Pod]:
    with Pod("first") as running:
        yield running


@contextmanager
def controller(server: ApiServer, folder: Path, *flags: str) -> Generator[ReferenceController]:
    config = server.kubeconfig(folder / "config")
    with ReferenceController("--kubeconfig", config, LOOPBACK, "--workers=2", *flags) as running:
        yield running


def insecure() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Load:
    """Clients that ask without a pause: each on a connection that it keeps for as long as the proxy does.

    Half of them speak TLS. Requests with the same words are theirs to repeat, and they do not: each that gets
    no response of status 200 is a failure.
    """

    def __init__(self, http: int, https: int, host: str = "a.example") -> None:
        self._ports = http, https
        self._host = host
        self._ended = threading.Event()
        self.responses: int = 0
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._ask, args=[number % 2 == 1]) for number in range(CONNECTIONS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(DEADLINE)

    def wait_more(self, count: int) -> None:
        """Return after *count* more responses."""
        wanted = self.responses + count
        wait_until(lambda: self.responses >= wanted)

    def _ask(self, tls: bool) -> None:
        http, https = self._ports
        connection: HTTPConnection = (
            HTTPSConnection("127.0.0.1", https, timeout=DEADLINE, context=insecure())
            if tls
            else HTTPConnection("127.0.0.1", http, timeout=DEADLINE)
        )
        while not self._ended.is_set():
            try:
                # Makes a connection where the last response has ended the one before.
                connection.request("GET", "/", headers={"Host": self._host})
                response = connection.getresponse()
                response.read()
            except (OSError, HTTPException) as exc:
                self.failures.append(repr(exc))
                connection.close()
                continue
            if response.status != 200:
                self.failures.append(str(response.status))
            self.responses += 1
        connection.close()


def populate(server: ApiServer, pod: Pod) -> None:
    server.load(
        [
            ingress_class(),
            service(),
            slice_of(port=pod.port),
            certificate("a-tls", "a.example"),
            ingress("a", tls="a-tls"),
        ]
    )


def workers(running: ReferenceController) -> list[int]:
    pid = running.process.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def metric(running: ReferenceController, name: str) -> float:
    lines = running.admin("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"ingresskit_proxy_{name}"))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def https_port(running: ReferenceController) -> int:
    return int(str(running.wait_record("serving")["https"]).rpartition(":")[2])


def plain(server: ApiServer) -> None:
    """Plain HTTP is served too."""
    made = ingress("a", tls="a-tls")
    metadata = cast("dict[str, object]", made["metadata"])
    metadata["annotations"] = {"ingresskit.dev/tls-redirect": "false"}
    server.put(made)


def test_under_load_only_the_connections_of_a_killed_worker_fail(
    server: ApiServer, pod: Pod, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    changes_wanted = int(str(pytestconfig.getoption("--changes")))
    log = tmp_path / "access.log"
    populate(server, pod)
    plain(server)
    with controller(server, tmp_path, f"--access-log={log}") as running, Pod("second") as second:
        running.wait_ready()
        wait_until(lambda: metric(running, "workers_serving") == 2)
        wait_until(lambda: running.get("a.example").status == 200)
        with Load(running.http_port, https_port(running)) as load:
            for step in range(changes_wanted // 10):
                # An endpoint, a host and a certificate; each is live everywhere before the next one.
                server.put(slice_of(port=(second if step % 2 == 0 else pod).port))
                server.put(ingress("b", host=f"b{step}.example"))
                server.put(certificate("a-tls", "a.example", salt=str(step)))
                wait_until(lambda step=step: running.get(f"b{step}.example").status == 200)  # type: ignore[misc]
                shown = fingerprint("a.example", salt=str(step))
                wait_until(lambda shown=shown: served_fingerprint(https_port(running), "a.example") == shown)  # type: ignore[misc]
            assert load.failures == []

            before = workers(running)
            running.process.send_signal(signal.SIGUSR2)
            running.wait_record("worker processes renewed")
            load.wait_more(50)
            assert load.failures == []
            wait_until(lambda: len(workers(running)) == 2)
            assert not set(before) & set(workers(running))

            for _ in range(2):
                known = len(load.failures)
                os.kill(workers(running)[0], signal.SIGKILL)
                load.wait_more(50)
                wait_until(lambda: metric(running, "workers_serving") == 2 and len(workers(running)) == 2)
                assert len(load.failures) - known <= CONNECTIONS
            assert running.admin("/readyz").status == 200
            load.stop()
        assert metric(running, "worker_restarts_total") == 2
        assert metric(running, 'responses_total{status="200"}') <= load.responses + 1000
        children = workers(running)
        assert running.stop() == 0
        wait_until(lambda: not any(map(is_running, children)))

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sum(line["host"] == "a.example" and line["status"] == 200 for line in lines) >= load.responses * 0.9


def test_workers_end_with_a_controller_that_is_killed(server: ApiServer, pod: Pod, tmp_path: Path) -> None:
    populate(server, pod)
    with controller(server, tmp_path) as running:
        running.wait_ready()
        children = workers(running)
        running.process.kill()
        running.process.wait(DEADLINE)

        assert len(children) == 2
        wait_until(lambda: not any(map(is_running, children)))


def test_a_rate_is_counted_once_for_all_workers(server: ApiServer, pod: Pod, tmp_path: Path) -> None:
    populate(server, pod)
    made = ingress("limited")
    metadata = cast("dict[str, object]", made["metadata"])
    metadata["annotations"] = {"ingresskit.dev/rate-limit": "1/m", "ingresskit.dev/rate-limit-burst": "15"}
    server.put(made)
    with controller(server, tmp_path) as running:
        running.wait_ready()
        wait_until(lambda: metric(running, "workers_serving") == 2)
        wait_until(lambda: running.get("a.example").status != 404)
        # Each on a connection of its own: the kernel spreads them over both workers.
        statuses = [running.get("limited.example").status for _ in range(40)]

    # One more for each minute that it took, on a slow machine.
    assert 15 <= statuses.count(200) <= 18
    assert set(statuses) == {200, 429}


def test_the_next_controller_takes_the_ports_over_without_a_lost_request(
    server: ApiServer, pod: Pod, tmp_path: Path
) -> None:
    populate(server, pod)
    plain(server)
    http, https = free_port(), free_port()
    flags = [
        f"--http=127.0.0.1:{http}",
        f"--https=127.0.0.1:{https}",
        "--takeover",
        f"--state-dir={tmp_path / 'state'}",
    ]
    with controller(server, tmp_path, *flags) as first:
        first.wait_ready()
        wait_until(lambda: first.get("a.example").status == 200)
        with Load(http, https) as load:
            load.wait_more(50)
            with controller(server, tmp_path, *flags, "--workers=3") as second:
                second.wait_record("ports taken over from the controller before this one")
                assert first.wait() == 0
                load.wait_more(100)
                load.stop()

                assert load.failures == []
                assert second.stop() == 0


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--workers=0"], "not a number of processes"),
        (["--workers=2", "--renderer=haproxy"], "for the in-process proxy"),
        (["--takeover"], "add --workers"),
        (["--takeover", "--workers=2"], "--state-dir"),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    flags: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_flags(["--manifests=.", *flags])
    assert text in capsys.readouterr().err
