"""``ingresskit migrate prove --old --new``: a real nginx as ingress-nginx configures it, and a controller."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import anyio
import pytest

from ingresskit.app import main
from ingresskit.app.reading import first_snapshot
from ingresskit.migrate import SAFE_METHODS
from ingresskit.models import Ingress
from ingresskit.sources import FileSource
from ingresskit.testing import pace
from tests.features.cluster_scene import LOOPBACK, certificate, service, slice_of
from tests.features.reference_process import ReferenceController
from tests.old_edge import OldEdge

PREFIX = "nginx.ingress.kubernetes.io"
Object = dict[str, object]


class Backend:
    """An endpoint that answers with its name, and remembers what it was asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[tuple[str, str]] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                seen.append((self.command, self.path))
                length = int(self.headers.get("Content-Length", "0"))
                self.rfile.read(length)
                body = f"backend={name} path={self.path}".encode()
                self.send_response(200)
                self.send_header("X-Backend", name)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.do_GET()

            def do_OPTIONS(self) -> None:
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(pace.within(20))


@pytest.fixture(scope="module")
def backends() -> Iterator[dict[str, Backend]]:
    made = {name: Backend(name) for name in ("web", "api")}
    yield made
    for backend in made.values():
        backend.close()


def edge_ingress(
    name: str, host: str, paths: dict[str, str], notes: dict[str, str] | None = None, *, tls: bool = False
) -> Object:
    rules = [
        {
            "path": path,
            "pathType": "ImplementationSpecific" if "(" in path else "Prefix",
            "backend": {"service": {"name": to, "port": {"number": 80}}},
        }
        for path, to in paths.items()
    ]
    spec: Object = {"ingressClassName": "nginx", "rules": [{"host": host, "http": {"paths": rules}}]}
    if tls:
        spec["tls"] = [{"hosts": [host], "secretName": "cert"}]
    annotations = {f"{PREFIX}/{key}": value for key, value in (notes or {}).items()}
    metadata = {"name": name, "namespace": "shop", "annotations": annotations}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}


def fleet(**changed: Object) -> dict[str, Object]:
    """The Ingresses of the old edge; *changed* are others in place of some."""
    objects = {
        "plain": edge_ingress("plain", "plain.test", {"/": "web", "/api": "api"}),
        "pattern": edge_ingress(
            "pattern", "pattern.test", {"/v1(/|$)(.*)": "api"}, {"rewrite-target": "/$2", "use-regex": "true"}
        ),
        "secure": edge_ingress("secure", "secure.test", {"/": "web"}, tls=True),
        "open": edge_ingress("open", "open.test", {"/": "web"}),
        "moved": edge_ingress("moved", "moved.test", {"/": "web"}, {"permanent-redirect": "https://x.test/a"}),
    }
    return {**objects, **changed}


def write(folder: Path, objects: dict[str, Object], backends: dict[str, Backend]) -> Path:
    folder.mkdir(exist_ok=True)
    more: list[Object] = [certificate("cert", "secure.test")]
    klass = {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "nginx"}}
    more.append({**klass, "spec": {"controller": "k8s.io/ingress-nginx"}})
    for name, backend in backends.items():
        more += [service(name), slice_of(name, port=backend.port)]
    text = "---\n".join(json.dumps(item) + "\n" for item in (*objects.values(), *more))
    (folder / "all.yaml").write_text(text, encoding="utf-8")
    return folder


@contextmanager
def old_edge(folder: Path, root: Path, backends: dict[str, Backend]) -> Generator[OldEdge]:
    def upstream(item: Ingress, path: str) -> str:
        for rule in item.spec.rules:
            for found in rule.http.paths if rule.http is not None else ():
                if found.path == path and found.backend.service is not None:
                    return f"127.0.0.1:{backends[found.backend.service.name].port}"
        raise KeyError(path)

    snapshot = anyio.run(first_snapshot, FileSource(folder))
    with OldEdge(root, upstream) as edge:
        edge.serve(snapshot.by_key(Ingress).values())
        yield edge


@contextmanager
def new_edge(folder: Path, *flags: str) -> Generator[ReferenceController]:
    words = (
        "--dialect",
        "ingress-nginx",
        "--controller-name",
        "k8s.io/ingress-nginx",
        "--ingress-class",
        "nginx",
    )
    more = (LOOPBACK, "--public-https-port", "443", *flags)
    with ReferenceController("--manifests", str(folder), *words, *more) as running:
        yield running.wait_ready()


def addresses(edge: OldEdge | ReferenceController) -> list[str]:
    if isinstance(edge, OldEdge):
        return [f"--old=http://127.0.0.1:{edge.http[1]}", f"--old=https://127.0.0.1:{edge.https[1]}"]
    serving = edge.wait_record("serving")
    ports = [str(serving[scheme]).rpartition(":")[2] for scheme in ("http", "https")]
    return [f"--new=http://127.0.0.1:{ports[0]}", f"--new=https://127.0.0.1:{ports[1]}"]


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, backends: dict[str, Backend]
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """A folder, and the flags of the old edge and of one that serves the same."""
    root = tmp_path_factory.mktemp("edges")
    folder = write(root / "fleet", fleet(), backends)
    with old_edge(folder, root / "old", backends) as old, new_edge(folder) as new:
        yield folder, addresses(old), addresses(new)


FAST = ("--rate", "500", "--insecure", "--requests", "20")
MARKED = ("--backend-body", "backend=([a-z]+)", "--compare-header", "Strict-Transport-Security")


@pytest.mark.parametrize("renderer", ["inprocess", "haproxy", "nginx"])
def test_an_edge_that_serves_the_same_is_proved(
    renderer: str,
    scene: tuple[Path, list[str], list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, old, _ = scene
    with new_edge(folder, "--renderer", renderer) as new:
        status = main(["migrate", "prove", str(folder), *old, *addresses(new), *FAST, *MARKED])

    text = capsys.readouterr().out
    assert "differences: 0" in text, text
    assert status == 0
    asked = re.search(r"^(\d+) requests, (\d+) answered alike", text, re.MULTILINE)
    assert asked is not None
    assert int(asked[1]) == int(asked[2]) > 50
    assert "not sent: " in text
    assert "(a method that may change something)" in text


PLANTED: dict[str, tuple[Object, str]] = {
    "plain": (edge_ingress("plain", "plain.test", {"/": "web", "/api": "web"}), "api there, web here"),
    "pattern": (edge_ingress("pattern", "pattern.test", {"/v2": "api"}), "200 there, 404 here"),
    "moved": (
        edge_ingress("moved", "moved.test", {"/": "web"}, {"permanent-redirect": "https://y.test/"}),
        "to https://x.test/a there, to https://y.test/ here",
    ),
    "secure": (
        edge_ingress("secure", "secure.test", {"/": "web"}, {"ssl-redirect": "false"}, tls=True),
        "308 there, 200 here",
    ),
    "open": (
        edge_ingress("open", "open.test", {"/": "web"}, {"denylist-source-range": "127.0.0.1"}),
        "200 there, 403 here",
    ),
}


@pytest.fixture(scope="module")
def changed(scene: tuple[Path, list[str], list[str]], backends: dict[str, Backend]) -> Iterator[list[str]]:
    """The flags of an edge on which everything is otherwise."""
    objects = {name: item for name, (item, _) in PLANTED.items()}
    folder = write(scene[0].parent / "changed", fleet(**objects), backends)
    with new_edge(folder) as new:
        yield addresses(new)


@pytest.mark.parametrize("form", ["json", "text"])
def test_what_the_new_edge_does_otherwise_is_found(
    form: str,
    scene: tuple[Path, list[str], list[str]],
    changed: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, old, _ = scene

    assert main(["migrate", "prove", str(folder), *old, *changed, *FAST, *MARKED, "--format", form]) == 1

    text = capsys.readouterr().out
    for name, (_, why) in PLANTED.items():
        match form:
            case "json":
                found = json.loads(text)
                shown = [item for item in found["differences"] if item["ingress"] == f"Ingress shop/{name}"]
                assert why in [item["why"] for item in shown]
                assert found["ingresses"][f"Ingress shop/{name}"]["other"] > 0
            case _:
                assert why in text


def test_number_and_methods_are_bounded(
    scene: tuple[Path, list[str], list[str]],
    backends: dict[str, Backend],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, old, new = scene
    for backend in backends.values():
        backend.seen.clear()

    assert main(["migrate", "prove", str(folder), *old, *new, *FAST, "--most", "20"]) == 0

    text = capsys.readouterr().out
    assert "20 requests, 20 answered alike" in text
    assert "(more than 20)" in text
    seen = [method for backend in backends.values() for method, _ in backend.seen]
    assert 0 < len(seen) <= 40
    assert set(seen) <= SAFE_METHODS


def test_every_method_is_sent_when_asked_for(
    scene: tuple[Path, list[str], list[str]],
    backends: dict[str, Backend],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, old, new = scene
    backends["web"].seen.clear()

    words = ["migrate", "prove", str(folder), *old, *new, *FAST, "--every-method"]
    assert main([*words, "--most", "2000"]) == 0

    assert "POST" in {method for method, _ in backends["web"].seen}
    assert "may change something" not in capsys.readouterr().out


def test_header_fields_are_sent_with_every_request(
    scene: tuple[Path, list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, old, new = scene
    words = ["migrate", "prove", str(folder), *old, *new, *FAST, "--most", "5", "--header", "X-Probe: 1"]

    assert main([*words, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["asked"] == 5


def test_certificates_are_verified_unless_told_otherwise(
    scene: tuple[Path, list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, old, new = scene
    words = ["migrate", "prove", str(folder), *old, *new, "--rate", "500"]

    assert main(words) == 2

    text = capsys.readouterr().err
    assert "TLS fails: CERTIFICATE_VERIFY_FAILED; see --ca and --insecure" in text
    assert text.count("\n") == 1


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_edge_that_is_away_is_one_line(
    scene: tuple[Path, list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, old, _ = scene
    status = main(["migrate", "prove", str(folder), *old, f"--new=http://127.0.0.1:{closed_port()}", *FAST])

    text = capsys.readouterr().err
    assert status == 2
    assert "the new edge takes no connection for http at 127.0.0.1:" in text
    assert text.count("\n") == 1


def test_an_edge_that_never_answers_is_one_line(
    scene: tuple[Path, list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, old, _ = scene
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        new = f"--new=http://127.0.0.1:{silent.getsockname()[1]}"
        status = main(["migrate", "prove", str(folder), *old, new, *FAST, "--timeout", "1"])

    text = capsys.readouterr().err
    assert status == 2
    assert "the new edge answered 5 requests in a row over http with nothing: no response in 1 seconds" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--old", "192.0.2.1"], "--old and --new stand together"),
        (["--insecure"], "--insecure is for requests that are sent"),
        (["--old", "ftp://x", "--new", "192.0.2.1"], "--old ftp://x: give an address"),
        (["--old", "192.0.2.1:80", "--new", "192.0.2.1"], "--old 192.0.2.1:80: give an address"),
        (["--old", "http://[", "--new", "192.0.2.1"], "give an address"),
        (["--backend-body", "("], "is not a regular expression"),
        (["--header", "nonsense"], "must be a header field"),
        (
            ["--old", "192.0.2.1", "--new", "192.0.2.1", "--ca", "/nonexistent"],
            "--ca /nonexistent: No such file",
        ),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    line: str,
    scene: tuple[Path, list[str], list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        status = main(["migrate", "prove", str(scene[0]), *words])
    except SystemExit as exc:
        status = cast("int", exc.code)

    text = capsys.readouterr().err
    assert status == 2
    assert line in text
    assert text.count("\n") == 1
