"""The reference controller over a folder: live changes, an orderly end, and what ends it otherwise."""

from __future__ import annotations

import json
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ingresskit.testing import pace
from tests.features.reference_process import DEADLINE, EXAMPLES, ReferenceController, Reply, wait_until

LOOPBACK = "--allow-endpoint=127.0.0.0/8"


class Pod:
    """A server that answers ``/`` at once and ``/slow`` when `release` is set."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.asked = threading.Event()
        pod = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/slow":
                    pod.asked.set()
                    pod.release.wait(DEADLINE)
                body = f"pod:{self.path}".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=[0.05])
        self.thread.start()

    def close(self) -> None:
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(DEADLINE)

    def objects(self, host: str) -> list[dict[str, object]]:
        """An Ingress for *host*, its Service, and this pod as the endpoint."""
        backend = {"service": {"name": "pod", "port": {"number": 80}}}
        paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
        labels = {"kubernetes.io/service-name": "pod"}
        return [
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "metadata": {
                    "name": host,
                    "namespace": "web",
                    "annotations": {"kubernetes.io/ingress.class": "ingresskit"},
                },
                "spec": {"rules": [{"host": host, "http": {"paths": paths}}]},
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "pod", "namespace": "web"},
                "spec": {"ports": [{"port": 80}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": "pod", "namespace": "web", "labels": labels},
                "addressType": "IPv4",
                "ports": [{"port": self.server.server_port}],
                "endpoints": [{"addresses": ["127.0.0.1"]}],
            },
        ]


@pytest.fixture
def pod() -> Iterator[Pod]:
    pod = Pod()
    yield pod
    pod.close()


def write(folder: Path, objects: list[dict[str, object]], name: str = "all.yaml") -> Path:
    """Put the objects into a file of *folder*, in one step. JSON is YAML too."""
    file = folder / name
    draft = folder / f".{name}"
    draft.write_text("\n---\n".join(json.dumps(item) for item in objects), encoding="utf-8")
    draft.rename(file)
    return file


def run(*flags: str | Path) -> subprocess.CompletedProcess[str]:
    """The controller, run until it ends by itself."""
    words = [sys.executable, str(EXAMPLES / "reference_controller.py"), *map(str, flags)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=pace.within(60))


class Asking(threading.Thread):
    """A request under way."""

    def __init__(self, controller: ReferenceController, host: str, path: str) -> None:
        super().__init__()
        self.reply: Reply | None = None
        self._ask = partial(controller.get, host, path)
        self.start()

    def run(self) -> None:
        try:
            self.reply = self._ask()
        except OSError:
            self.reply = None


def test_a_change_of_a_manifest_is_live_without_a_restart(tmp_path: Path, pod: Pod) -> None:
    write(tmp_path, pod.objects("one.test"))
    with ReferenceController("--manifests", tmp_path, LOOPBACK) as controller:
        controller.wait_ready()
        before = controller.get("one.test").text, controller.get("two.test").status

        write(tmp_path, pod.objects("two.test"))
        wait_until(lambda: controller.get("two.test").status == 200)

        assert before == ("pod:/", 404)
        assert controller.get("one.test").status == 404


def test_a_broken_file_is_reported_and_what_it_held_is_served(tmp_path: Path, pod: Pod) -> None:
    file = write(tmp_path, pod.objects("one.test"))
    with ReferenceController("--manifests", tmp_path, LOOPBACK) as controller:
        controller.wait_ready()

        file.write_text("{ this is no YAML: [", encoding="utf-8")
        wait_until(lambda: "all.yaml" in controller.admin("/api/diagnostics").text)

        assert controller.get("one.test").text == "pod:/"


def test_requests_under_way_are_finished_after_sigterm(tmp_path: Path, pod: Pod) -> None:
    write(tmp_path, pod.objects("one.test"))
    with ReferenceController("--manifests", tmp_path, LOOPBACK) as controller:
        controller.wait_ready()
        asking = Asking(controller, "one.test", "/slow")
        assert pod.asked.wait(DEADLINE)

        controller.process.send_signal(signal.SIGTERM)
        controller.wait_record("draining")
        not_ready = controller.admin("/readyz")
        pod.release.set()
        asking.join(DEADLINE)

        assert asking.reply == Reply(200, "pod:/slow")
        assert controller.wait() == 0
        assert not_ready.status == 503
        assert "shutting down" in not_ready.text


def test_requests_that_outlast_the_grace_are_cut_and_the_end_is_orderly(tmp_path: Path, pod: Pod) -> None:
    write(tmp_path, pod.objects("one.test"))
    with ReferenceController("--manifests", tmp_path, LOOPBACK, "--shutdown-grace=200ms") as controller:
        controller.wait_ready()
        asking = Asking(controller, "one.test", "/slow")
        assert pod.asked.wait(DEADLINE)

        status = controller.stop(signal.SIGINT)
        asking.join(DEADLINE)

        assert (status, asking.reply) == (0, None)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_to_rotate_logs_cuts_no_request_and_reopens_the_access_log(
    tmp_path: Path, pod: Pod, number: signal.Signals
) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    write(folder, pod.objects("one.test"))
    log, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    with ReferenceController("--manifests", folder, LOOPBACK, "--access-log", log) as controller:
        controller.wait_ready()
        controller.get("one.test", "/before")
        wait_until(lambda: "/before" in log.read_text())
        log.rename(moved)
        asking = Asking(controller, "one.test", "/slow")
        assert pod.asked.wait(DEADLINE)

        controller.process.send_signal(number)
        controller.wait_record("reopening the access log")
        pod.release.set()
        asking.join(DEADLINE)
        wait_until(lambda: log.exists() and "/slow" in log.read_text())

        assert asking.reply == Reply(200, "pod:/slow")
        assert "/slow" not in moved.read_text()
        assert controller.stop() == 0


def test_new_connections_are_taken_for_a_while_after_readiness_is_off(tmp_path: Path, pod: Pod) -> None:
    write(tmp_path, pod.objects("one.test"))
    with ReferenceController("--manifests", tmp_path, LOOPBACK, "--shutdown-delay=1h") as controller:
        controller.wait_ready()
        controller.process.send_signal(signal.SIGTERM)
        controller.wait_record("draining")

        late = controller.get("one.test", "/late")

        assert controller.admin("/readyz").status == 503
        assert late.text == "pod:/late"
        assert controller.stop() == 1  # the second signal does not wait


def test_a_second_signal_does_not_wait(tmp_path: Path, pod: Pod) -> None:
    write(tmp_path, pod.objects("one.test"))
    with ReferenceController("--manifests", tmp_path, LOOPBACK, "--shutdown-grace=1h") as controller:
        controller.wait_ready()
        asking = Asking(controller, "one.test", "/slow")
        assert pod.asked.wait(DEADLINE)
        controller.process.send_signal(signal.SIGTERM)
        controller.wait_record("draining")

        status = controller.stop()
        asking.join(DEADLINE)

        assert (status, asking.reply) == (1, None)
        assert controller.wait_record("requests under way are cut")


def test_a_signal_before_anything_is_served_ends_it_at_once(tmp_path: Path) -> None:
    with ReferenceController("--manifests", tmp_path) as controller:
        controller.wait_record("controller started")

        assert controller.stop() == 0


def test_the_access_log_has_a_line_for_each_request(tmp_path: Path, pod: Pod) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    write(folder, pod.objects("one.test"))
    log = tmp_path / "access.log"
    with ReferenceController("--manifests", folder, LOOPBACK, "--access-log", log) as controller:
        controller.wait_ready()
        controller.get("one.test", "/a?secret=1")
        controller.get("two.test")
        assert controller.stop() == 0

    first, second = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())

    assert (first["host"], first["status"], first["backend"]) == ("one.test", 200, "web/pod:80")
    assert first["path"] == "/a"
    assert (second["host"], second["status"], second["backend"]) == ("two.test", 404, None)


def test_it_opens_as_many_files_as_it_may(tmp_path: Path, pod: Pod) -> None:
    write(tmp_path, pod.objects("one.test"))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] // 2, before[1]))
    try:
        controller = ReferenceController("--manifests", tmp_path, LOOPBACK)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    with controller:
        controller.wait_ready()

        soft, hard = resource.prlimit(controller.process.pid, resource.RLIMIT_NOFILE)

    assert soft == min(hard, 65536)


def test_a_state_folder_is_made_private(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with ReferenceController("--demo", "--state-dir", state) as controller:
        controller.wait_ready().output.wait_for("demo-authority.pem")

        assert state.stat().st_mode & 0o777 == 0o700
        assert {item.name for item in state.iterdir()} == {"affinity.key", "demo-authority.pem"}
        assert (state / "affinity.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("flag", ["--http", "--https", "--admin"])
def test_a_port_that_is_taken_ends_it_with_one_line(flag: str, tmp_path: Path) -> None:
    listeners = {"--http": "127.0.0.1:0", "--https": "127.0.0.1:0", "--admin": "127.0.0.1:0"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listeners[flag] = f"127.0.0.1:{taken.getsockname()[1]}"

        ended = run("--manifests", tmp_path, "--log-level=error", *(f"{k}={v}" for k, v in listeners.items()))

    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert flag.removeprefix("--") in line
    assert listeners[flag] in line
    assert "in use" in line


def test_a_folder_that_is_not_there_ends_it_with_one_line(tmp_path: Path) -> None:
    ended = run("--manifests", tmp_path / "nowhere")

    assert ended.returncode == 1
    assert ended.stderr == f"reference_controller.py: --manifests: there is no folder {tmp_path / 'nowhere'}\n"


def test_an_access_log_that_cannot_be_written_ends_it_with_one_line(tmp_path: Path) -> None:
    ended = run("--manifests", tmp_path, "--access-log", tmp_path / "no" / "log")

    assert ended.returncode == 1
    assert re.fullmatch(
        r"reference_controller.py: --access-log: \S+/no/log: No such file or directory\n", ended.stderr
    )


def test_print_config_prints_what_would_be_served(tmp_path: Path, pod: Pod) -> None:
    write(tmp_path, pod.objects("one.test"))

    ended = run("--manifests", tmp_path, LOOPBACK, "--print-config")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert [host["host"] for host in json.loads(ended.stdout)["virtualHosts"]] == ["one.test"]


def test_print_config_ends_with_1_when_something_is_refused(tmp_path: Path, pod: Pod) -> None:
    write(tmp_path, pod.objects("one.test"))

    ended = run("--manifests", tmp_path, "--print-config")

    assert ended.returncode == 1
    assert "AddressRefused" in ended.stderr
    assert json.loads(ended.stdout)["virtualHosts"]


def test_the_admin_server_and_the_command_line_say_the_same(tmp_path: Path, pod: Pod) -> None:
    write(tmp_path, pod.objects("one.test"))
    with ReferenceController("--manifests", tmp_path, LOOPBACK) as controller:
        controller.wait_ready()
        graph = controller.admin("/api/graph").text
        explanation: dict[str, dict[str, object]] = json.loads(
            controller.admin("/api/explain?url=http://one.test/x").text
        )

    offline = [sys.executable, "-m", "ingresskit"]
    rendered = output_of(*offline, "render", "--output=json", LOOPBACK, str(tmp_path))
    explained = output_of(*offline, "explain", "--json", LOOPBACK, str(tmp_path), "http://one.test/x")
    found = json.loads(explained)
    assert rendered == graph
    assert found["holder"].pop("since") is None  # a dry run holds nothing
    assert explanation["holder"].pop("since") is not None
    assert found == explanation


def output_of(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=pace.within(60)).stdout


def test_a_wrong_flag_ends_it_with_2_and_one_line() -> None:
    ended = run("--manifests", ".", "--http", "8080")

    assert ended.returncode == 2
    assert ended.stderr == (
        "reference_controller.py: --http: '8080' is not ADDR:PORT such as 0.0.0.0:8080, nor off\n"
    )
