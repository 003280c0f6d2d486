"""``ingresskit.serve`` and ``ingresskit.run``: a program in one call."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from socket import create_server
from typing import NamedTuple

import pytest

import ingresskit as ik
from ingresskit.testing import pace
from tests.features.reference_process import Lines

ROOT = Path(__file__).resolve().parents[2]
HELLO = ROOT / "examples" / "manifests" / "hello"
DEMO = ROOT / "examples" / "manifests" / "demo"
SECONDS = pace.within(30)

SERVE = f"import ingresskit as ik; ik.serve({str(DEMO)!r}, http='127.0.0.1:0', allow_loopback=True)"
RUN = f"""
import sys
from datetime import timedelta
import ingresskit as ik

proxy = ik.Proxy()
controller = ik.Controller(
    source=ik.FileSource({str(DEMO)!r}),
    renderer=ik.InProcessRenderer(),
    applier=ik.InProcessApplier(proxy),
    options=ik.TranslateOptions(),
)
ik.run(controller, proxy=proxy, http="127.0.0.1:0", shutdown_grace=timedelta(seconds=2))
print("after", flush=True)
"""
FILES = f"""
import tempfile
import anyio
import ingresskit as ik
from pathlib import Path
from ingresskit.apply import DirectoryApplier

class Hosts(ik.Renderer[ik.Rendering]):
    name = "hosts"

    def render(self, graph):
        text = " ".join(host.host for host in graph.virtual_hosts)
        return ik.Rendering((ik.RenderedFile.text("hosts", text),))

with tempfile.TemporaryDirectory() as folder:
    ik.run(ik.Controller(
        source=ik.FileSource({str(HELLO)!r}), renderer=Hosts(), applier=DirectoryApplier(Path(folder) / "files")
    ))
    print((Path(folder) / "files" / "current" / "hosts").read_text(), flush=True)
"""


class Program(NamedTuple):
    process: subprocess.Popen[str]
    log: Lines
    output: Lines

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


@contextmanager
def program(code: str) -> Generator[Program]:
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield Program(process, Lines(process.stderr), Lines(process.stdout))
        finally:
            process.kill()


def served_port(running: Program) -> int:
    line = running.log.wait_for(": serving ")
    found = re.search(r" http=127\.0\.0\.1:(\d+)", line)
    assert found, line
    return int(found[1])


def status_of(port: int, host: str) -> int:
    with closing(HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as connection:
        connection.request("GET", "/", headers={"Host": host})
        return connection.getresponse().status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("code", [SERVE, RUN], ids=["serve", "run"])
def test_it_serves_until_a_signal_and_ends_without_a_traceback(code: str, number: signal.Signals) -> None:
    with program(code) as running:
        port = served_port(running)
        known, unknown = status_of(port, "old.demo.localhost"), status_of(port, "other.demo.localhost")
        status = running.end(number)
        running.log.wait_for(f"draining signal={number.name} ")

    assert (known, unknown, status) == (301, 404, 0)
    assert [line for line in running.log.seen if "Traceback" in line] == []


def test_the_program_goes_on_after_run() -> None:
    with program(RUN) as running:
        served_port(running)
        running.end(signal.SIGINT)

        running.output.wait_for("after")


def test_requests_under_way_are_cut_by_a_second_signal() -> None:
    with create_server(("127.0.0.1", 0)) as silent:
        code = RUN.replace("ik.TranslateOptions()", "ik.TranslateOptions(destinations=DESTINATIONS)").replace(
            "proxy = ik.Proxy()",
            "from ipaddress import ip_network\n"
            "DESTINATIONS = ik.DestinationPolicy(allow=(ip_network('127.0.0.0/8'),))\n"
            "proxy = ik.Proxy()",
        )
        code = code.replace("seconds=2", "seconds=600").replace(
            f"ik.FileSource({str(DEMO)!r})", f"ik.MemorySource(objects({silent.getsockname()[1]}))"
        )
        with program(_OBJECTS + code) as running:
            port = served_port(running)
            with closing(HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as connection:
                connection.request("GET", "/", headers={"Host": "slow.example"})
                accepted, _ = silent.accept()
                with accepted:
                    running.process.send_signal(signal.SIGTERM)
                    running.log.wait_for("draining signal=SIGTERM")
                    status = running.end(signal.SIGINT)
                    running.log.wait_for("requests under way are cut signal=SIGINT")

    assert status == 1
    assert [line for line in running.log.seen if "Traceback" in line] == []


_OBJECTS = """
from ingresskit.models import EndpointSlice, Ingress, Service, decode

def objects(port):
    backend = {"service": {"name": "slow", "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    return [
        decode(Ingress, {
            "metadata": {"name": "slow", "namespace": "web",
                         "annotations": {"kubernetes.io/ingress.class": "ingresskit"}},
            "spec": {"rules": [{"host": "slow.example", "http": {"paths": paths}}]},
        }),
        decode(Service, {"metadata": {"name": "slow", "namespace": "web"}, "spec": {"ports": [{"port": 80}]}}),
        decode(EndpointSlice, {
            "metadata": {"name": "slow-1", "namespace": "web",
                         "labels": {"kubernetes.io/service-name": "slow"}},
            "addressType": "IPv4", "ports": [{"port": port}], "endpoints": [{"addresses": ["127.0.0.1"]}],
        }),
    ]
"""


def test_files_for_a_proxy_that_runs_elsewhere_need_no_proxy_here() -> None:
    with program(FILES) as running:
        running.log.wait_for("configuration live")
        status = running.end(signal.SIGINT)
        line = running.output.wait_for("hello.example")

    assert (status, line.strip()) == (0, "hello.example")


@pytest.mark.parametrize("code", [SERVE, RUN], ids=["serve", "run"])
def test_an_address_that_is_taken_is_one_line(code: str) -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-c", code.replace("127.0.0.1:0", f"127.0.0.1:{port}")],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    assert ended.returncode == 1
    assert f"cannot listen at 127.0.0.1:{port}: " in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ik.serve(tmp_path / "nowhere")

    assert ended.value.code == 1
    assert capfd.readouterr().err == f"ingresskit.serve: there is no folder {tmp_path / 'nowhere'}\n"


@pytest.mark.parametrize(
    ("addresses", "message"),
    [
        ({"http": "8080"}, r"^http: '8080' is not ADDR:PORT"),
        ({"https": "127.0.0.1:x"}, r"^https: the port in '127.0.0.1:x' is not a number"),
        ({"admin": "here"}, r"^admin: 'here' is not ADDR:PORT"),
        ({"http": None}, r"leaves nothing to listen at"),
    ],
    ids=["a port alone", "a port that is no number", "a name", "nothing"],
)
def test_a_wrong_address_is_a_configuration_error(addresses: dict[str, str | None], message: str) -> None:
    with pytest.raises(ik.ConfigurationError, match=message):
        ik.serve(HELLO, **addresses)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_an_address_without_a_proxy_is_a_configuration_error() -> None:
    controller = ik.Controller(
        source=ik.MemorySource(),
        renderer=ik.InProcessRenderer(),
        applier=ik.InProcessApplier(ik.Proxy()),
    )

    with pytest.raises(ik.ConfigurationError, match=r"ingresskit\.Proxy"):
        ik.run(controller, http="127.0.0.1:0", shutdown_grace=timedelta(seconds=1))


def test_it_is_called_from_the_main_thread_only() -> None:
    failures: list[BaseException] = []

    def elsewhere() -> None:
        try:
            ik.serve(HELLO, http="127.0.0.1:0")
        except BaseException as exc:  # noqa: BLE001 - what it is, is what is asked
            failures.append(exc)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(SECONDS)

    assert [type(item) for item in failures] == [ik.ConfigurationError]
