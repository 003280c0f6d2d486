"""What goes wrong at night, done to a controller on each renderer, and what an operator sees of it.

`docs/troubleshooting.md` says where to look; each test here looks there.
"""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingresskit.app import main
from ingresskit.testing.apiserver import ApiServer
from tests.features.cluster_scene import (
    LOOPBACK,
    Object,
    Pod,
    certificate,
    ingress,
    ingress_class,
    service,
    slice_of,
)
from tests.features.reference_process import ReferenceController, Reply, wait_until
from tests.features.test_cli import expired_secret

# The in-process proxy with processes of its own, so that each renderer has a program that can be killed.
RENDERERS: dict[str, tuple[str, ...]] = {"inprocess": ("--workers=2",), "haproxy": (), "nginx": ()}
PROGRAMS = {"haproxy": "haproxy", "nginx": "nginx"}
ENDPOINT_DOWN = {
    "inprocess": "endpoint failed",
    "haproxy": "endpoint takes no connections, leaving it out",
    "nginx": "nginx reported an error",
}
PROGRAM_ENDED = {
    "inprocess": ("worker failed", "worker serves"),
    "haproxy": ("program ended", "program started"),
    "nginx": ("program ended", "program started"),
}
RESTARTS = {"inprocess": "worker_restarts_total", "haproxy": "restarts_total", "nginx": "restarts_total"}
UNWRITTEN = {"haproxy": "haproxy could not be looked after", "nginx": "tables could not be written to disk"}

Record = dict[str, object]


class Drill(NamedTuple):
    """A controller that serves ``good.example``, and where its operator looks."""

    renderer: str
    controller: ReferenceController
    server: ApiServer
    access_log: Path
    pod: Pod

    def log(self, message: str, **facts: object) -> list[Record]:
        """The records of the log with that message and those facts."""
        records = [cast("Record", json.loads(line)) for line in self.controller.log.seen]
        return [item for item in records if item["message"] == message and facts.items() <= item.items()]

    def metric(self, name: str, **labels: str) -> float:
        """A sample of ``ingresskit_NAME``; 0 where there is none."""
        text = self.controller.admin("/metrics").text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"ingresskit_{name}" and labels.items() <= sample.labels.items()
        )

    def events(self, name: str) -> list[tuple[str, str]]:
        """Type and reason of each Event about an object of that name."""
        found = cast("list[Record]", self.server.list("events.k8s.io/v1", "Event", "shop"))
        return [
            (str(item["type"]), str(item["reason"]))
            for item in found
            if cast("Record", item["regarding"])["name"] == name
        ]

    def status(self) -> Record:
        return self.controller.admin("/api/status").json

    def command(self, *words: str) -> tuple[int, str]:
        """What ``ingresskit WORDS --url …`` ends with and prints."""
        with redirect_stdout(io.StringIO()) as said, redirect_stderr(said):
            status = main([*words, f"--url=http://127.0.0.1:{self.controller.admin_port}"])
        return status, said.getvalue()

    def requests(self) -> list[Record]:
        """The lines of the access log."""
        return [cast("Record", json.loads(line)) for line in self.access_log.read_text().splitlines()]

    def of_host(self, host: str) -> list[Record]:
        """Those of one host."""
        return [line for line in self.requests() if line.get("host") == host]


def answers(drill: Drill, host: str, expected: Reply) -> Callable[[], bool]:
    return lambda: drill.controller.get(host) == expected


@pytest.fixture(scope="module", params=RENDERERS)
def drill(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    renderer = str(request.param)
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    if renderer in PROGRAMS and shutil.which(PROGRAMS[renderer], path=path) is None:
        pytest.skip(f"there is no {renderer} here")
    folder = tmp_path_factory.mktemp("drill")
    with ExitStack() as stack:
        server = stack.enter_context(ApiServer.in_thread(tls=True, bookmark_seconds=0.5))
        pod = stack.enter_context(Pod("first"))
        server.load([ingress_class(), service(), slice_of(port=pod.port), ingress("good")])
        flags: tuple[str | Path, ...] = (
            *("--kubeconfig", server.kubeconfig(folder / "config"), LOOPBACK, f"--renderer={renderer}"),
            *("--no-leader-election", "--publish-address=192.0.2.1", f"--access-log={folder / 'access.log'}"),
            *RENDERERS[renderer],
        )
        running = stack.enter_context(ReferenceController(*flags))
        running.wait_ready()
        yield Drill(renderer, running, server, folder / "access.log", pod)


def test_an_endpoint_that_is_down(drill: Drill) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = int(closed.getsockname()[1])
        address = f"127.0.0.1:{port}"
        drill.server.load([service("down"), slice_of("down", port=port), ingress("down", service="down")])

        wait_until(lambda: drill.controller.get("down.example").status == 502)
        # Each look makes a request: nginx and the in-process proxy know of an endpoint by what they sent it.
        wait_until(
            lambda: (
                drill.controller.get("down.example").status == 502
                and drill.metric("proxy_endpoints_unwell", health="unreachable") == 1
            )
        )
        _, shown = drill.command("status")
        wait_until(lambda: drill.metric("proxy_request_terminations_total", reason="upstream_refused") > 0)
        wait_until(lambda: any(line["status"] == 502 for line in drill.requests()))

    assert drill.status()["endpoints"] == {
        "unwell": 1,
        "examples": [{"endpoint": address, "health": "unreachable"}],
    }
    assert f"{address} unreachable" in shown
    (record, *_) = drill.log(ENDPOINT_DOWN[drill.renderer], endpoint=address)
    assert record["level"] == "warning"
    (line, *_) = (line for line in drill.requests() if line["status"] == 502)
    assert (line["termination"], line["backend"]) == ("upstream_refused", "shop/down:80")
    assert drill.events("down") == []
    assert drill.command("check")[0] == 0

    drill.server.put(slice_of("down", port=drill.pod.port))
    wait_until(answers(drill, "down.example", Reply(200, "first")))


def test_a_service_without_endpoints(drill: Drill) -> None:
    drill.server.load([service("empty"), ingress("empty", service="empty")])

    wait_until(lambda: drill.controller.get("empty.example").status == 503)
    wait_until(lambda: ("Warning", "NoEndpoints") in drill.events("empty"))
    wait_until(lambda: any(line["status"] == 503 for line in drill.of_host("empty.example")))
    wait_until(lambda: drill.metric("proxy_request_terminations_total", reason="no_endpoint") > 0)

    assert drill.log("diagnostic appeared", reason="NoEndpoints", object="empty", namespace="shop")
    assert drill.metric("diagnostics", reason="NoEndpoints") == 1
    status, shown = drill.command("check")
    assert "NoEndpoints Ingress shop/empty" in shown
    assert status == 0, "a warning, which only --strict makes a fault"
    assert drill.of_host("empty.example")[-1]["termination"] == "no_endpoint"

    drill.server.delete("networking.k8s.io/v1", "Ingress", "empty", "shop")
    wait_until(lambda: bool(drill.log("diagnostic gone", reason="NoEndpoints", object="empty")))


def test_a_certificate_that_has_expired(drill: Drill) -> None:
    secret = {**expired_secret(), "metadata": {"name": "old", "namespace": "shop"}}
    drill.server.load([secret, ingress("secure", host="hello.example", tls="old")])

    wait_until(lambda: ("Warning", "CertificateExpired") in drill.events("old"))

    assert drill.log("diagnostic appeared", reason="CertificateExpired")
    # The metrics of certificates are of what is live, which diagnostics are ahead of.
    wait_until(lambda: drill.metric("certificates_expired") == 1)
    assert 0 < drill.metric("certificate_first_expiry_timestamp_seconds") < 1.8e9
    assert drill.metric("diagnostics", reason="CertificateExpired") == 1
    status, shown = drill.command("certs")
    assert status == 1
    assert shown.splitlines()[1].split()[0] == "shop/old"
    assert "CertificateExpired" in drill.command("check")[1]

    drill.server.put(certificate("old", "hello.example"))
    wait_until(lambda: drill.metric("certificates_expired") == 0)
    assert drill.log("diagnostic gone", reason="CertificateExpired")
    assert drill.command("certs")[0] == 0


def test_an_api_server_that_is_gone(drill: Drill) -> None:
    drill.server.refuse_connections()
    try:
        wait_until(lambda: bool(drill.log("not following the server", resource="ingresses.networking.k8s.io")))
        wait_until(lambda: drill.metric("cluster_cache_last_contact_seconds", cache="Ingress") > 1)
        wait_until(lambda: all(item["error"] for item in cast("list[Record]", drill.status()["caches"])))
        during = drill.controller.get("good.example")
        probes = drill.controller.admin("/readyz").status, drill.controller.admin("/healthz").status
        status, shown = drill.command("status")
        drill.server.put(ingress("meanwhile"))
    finally:
        drill.server.accept_connections()
    wait_until(answers(drill, "meanwhile.example", Reply(200, "first")))

    assert during == Reply(200, "first")
    assert probes == (200, 200)
    assert status == 0
    assert "not followed:" in shown
    assert "Ingress, heard of " in shown
    assert drill.log("following the server again", resource="ingresses.networking.k8s.io")
    assert not [
        item
        for item in cast("list[Record]", drill.status()["caches"])
        if item["kind"] == "Ingress" and item["error"]
    ]


def test_an_annotation_that_protects_and_cannot_be_read(drill: Drill) -> None:
    guarded = ingress("guarded")
    cast("Object", guarded["metadata"])["annotations"] = {"ingresskit.dev/allow-sources": "10.0.0.0/99"}
    drill.server.put(guarded)

    wait_until(lambda: drill.controller.get("guarded.example").status == 503)
    wait_until(lambda: ("Warning", "AnnotationInvalid") in drill.events("guarded"))

    (record, *_) = drill.log("diagnostic appeared", reason="AnnotationInvalid", object="guarded")
    assert record["field"] == "metadata.annotations[ingresskit.dev/allow-sources]"
    assert "10.0.0.0/99" in str(record["text"])
    assert drill.metric("diagnostics", reason="AnnotationInvalid", severity="error") == 1
    assert drill.command("check")[0] == 1
    assert drill.command("explain", "http://guarded.example/", "--fail")[0] == 1
    assert drill.controller.get("good.example") == Reply(200, "first")

    drill.server.put(ingress("guarded"))
    wait_until(answers(drill, "guarded.example", Reply(200, "first")))
    assert drill.log("diagnostic gone", reason="AnnotationInvalid", object="guarded")


def test_a_program_that_is_killed(drill: Drill) -> None:
    ended, started = PROGRAM_ENDED[drill.renderer]
    before = len(drill.log(started))
    pid = cast("int", drill.log(started)[-1]["pid"])
    os.kill(pid, signal.SIGKILL) if drill.renderer == "inprocess" else os.killpg(pid, signal.SIGKILL)

    wait_until(lambda: len(drill.log(started)) > before)
    wait_until(lambda: served(drill))
    wait_until(lambda: drill.metric(f"proxy_{RESTARTS[drill.renderer]}") == 1)

    (record,) = drill.log(ended, pid=pid)
    assert record["level"] == "error"
    assert "signal 9" in str(record["reason"]) or "SIGKILL" in str(record["reason"])
    wait_until(lambda: drill.controller.admin("/readyz").status == 200)


def served(drill: Drill) -> bool:
    try:
        return drill.controller.get("good.example") == Reply(200, "first")
    except OSError:
        return False


def test_a_disk_that_is_full(drill: Drill) -> None:
    """The controller may write no file, which is what a full disk is to it."""
    pid = drill.controller.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        drill.server.put(ingress("later"))
        wait_until(answers(drill, "later.example", Reply(200, "first")))
        wait_until(lambda: bool(drill.log("access log cannot be written")))
        if drill.renderer in UNWRITTEN:
            wait_until(lambda: drill.metric("proxy_state_unwritten") == 1)
        _, shown = drill.command("status")
        ready = drill.controller.admin("/readyz").status
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    drill.server.put(ingress("last"))
    wait_until(answers(drill, "last.example", Reply(200, "first")))
    wait_until(lambda: drill.metric("proxy_state_unwritten") == 0)
    wait_until(lambda: any(cast("int", line.get("dropped", 0)) > 0 for line in drill.requests()))

    assert ready == 200
    if drill.renderer in UNWRITTEN:
        assert "state:        not on disk: " in shown
        assert drill.log(UNWRITTEN[drill.renderer])
    assert drill.log("access log cannot be written", level="warning", reason="File too large")
