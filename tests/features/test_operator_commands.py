"""The commands for operators: of a controller that runs, for pipelines, and over what people have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from ingresskit.app import main
from ingresskit.testing import pace
from tests.features.reference_process import EXAMPLES, ReferenceController
from tests.features.test_cli import expired_secret

HELLO = EXAMPLES / "manifests" / "hello"
MISTAKES = EXAMPLES / "manifests" / "mistakes"
SECONDS = pace.within(60)

PROGRAM = Path(sys.executable).parent / "ingresskit"
TOKEN = "a-token-of-the-tests"

CHART = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec:
  ingressClassName: public
  rules:
    - host: shop.test
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
"""


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A controller that runs, over a folder with an expired certificate: its URL, and the file of its token."""
    folder = tmp_path_factory.mktemp("served")
    text = (HELLO / "hello.yaml").read_text(encoding="utf-8")
    text = text.replace(
        "spec:\n  rules:", "spec:\n  tls:\n    - {hosts: [hello.example], secretName: t}\n  rules:", 1
    )
    (folder / "a.yaml").write_text(text, encoding="utf-8")
    (folder / "secret.json").write_text(json.dumps(expired_secret()), encoding="utf-8")
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(f"{TOKEN}\n", encoding="ascii")
    with ReferenceController("--manifests", folder) as running:
        running.wait_ready()
        yield f"http://127.0.0.1:{running.admin_port}", str(token)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main(list(words))
    return status, capsys.readouterr().out


def test_a_controller_that_runs_is_asked_by_its_url(
    controller: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--url", controller[0], "--token-file", controller[1]]

    explained = said(capsys, "explain", *at, "http://www.hello.example/", "--fail")
    taken = said(capsys, "explain", *at, "-o", "json", "https://hello.example/x?y=1")
    checked = said(capsys, "check", *at)
    routes = said(capsys, "routes", *at)
    rendered = said(capsys, "render", *at, "-o", "yaml")
    certs = said(capsys, "certs", *at)
    status = said(capsys, "status", *at)

    assert explained[0] == 1
    assert "404: no Ingress claims the host www.hello.example." in explained[1]
    assert "each needs a rule of its own" in explained[1]
    assert taken[0] == 0
    assert json.loads(taken[1])["virtualHost"] == "hello.example"
    assert "warning CertificateExpired Secret web/t, data[tls.crt]: " in checked[1]
    assert routes[0] == 0
    assert routes[1].splitlines()[1].split()[:5] == ["hello.example", "Prefix", "/", "yes", "web/hello:80"]
    assert yaml.safe_load(rendered[1])["virtualHosts"][0]["host"] == "hello.example"
    assert certs[0] == 1
    assert certs[1].splitlines()[1].startswith("web/t ")
    assert status[0] == 0
    assert "ready:        ok" in status[1].splitlines()


def test_a_folder_gives_the_same_tables(capsys: pytest.CaptureFixture[str]) -> None:
    status, routes = said(capsys, "routes", str(HELLO))
    certs = said(capsys, "certs", str(HELLO), "-o", "json")

    assert status == 0
    assert routes.splitlines()[0].split() == ["HOST", "PATH", "TLS", "ACTION", "OBJECT"]
    assert "hello.example" in routes
    assert (certs[0], json.loads(certs[1])["certificates"]) == (0, {})


REFUSED: dict[str, tuple[list[str], str]] = {
    "no scheme": (["status", "--url", "127.0.0.1:8580"], "is not the URL of an admin API, such as"),
    "a path": (["status", "--url", "http://127.0.0.1:8580/api"], "is not the URL of an admin API, such as"),
    "no port": (["status", "--url", "http://127.0.0.1:99999"], "is not a URL: Port out of range"),
    "no URL": (["status"], "the following arguments are required: --url"),
    "a folder beside it": (["routes", "--url", "http://127.0.0.1:1", "x"], "--url and x are two sources"),
    "a flag of folders": (["check", "--url=http://127.0.0.1:1", "--renderer=nginx"], "unknown flag --renderer"),
    "two standard inputs": (["check", "-", "-"], "the standard input can be read once"),
}


@pytest.mark.parametrize(("argv", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_asked_is_one_line(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)

    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert message in line


def test_a_controller_that_is_not_there_or_another_server_is_one_line(
    tmp_path: Path, controller: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "token"
    statuses = (
        main(["status", "--url", "http://127.0.0.1:1"]),
        main(["status", "--url", controller[0], "--token-file", str(missing)]),
    )

    first, second = capsys.readouterr().err.splitlines()
    assert statuses == (2, 2)
    assert first.startswith("ingresskit status: http://127.0.0.1:1 cannot be asked: ")
    assert f"the token in {missing} cannot be read" in second


class Door(BaseHTTPRequestHandler):
    """Lets in who has the token, and redirects who asks for something else than the status."""

    def do_GET(self) -> None:
        if self.path != "/api/status":
            self.send_response(302)
            self.send_header("Location", "/api/status")
            self.end_headers()
        elif self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b'{"error": {"message": "give a token"}}')
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(
                b'{"live": {"status": "ok"}, "ready": {"status": "unavailable", "problems": ["late"]}}'
            )

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
        pass


def test_the_token_is_sent_and_redirects_are_not_followed(
    controller: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    server = HTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    try:
        at = ["--url", f"http://127.0.0.1:{server.server_port}"]
        token = ["--token-file", controller[1]]
        statuses = [
            main(["status", *at]),
            main(["status", *at, *token]),
            main(["routes", *at, *token]),
        ]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(SECONDS)

    found = capsys.readouterr()
    assert statuses == [2, 1, 2]
    assert "ready:        unavailable: late" in found.out.splitlines()
    refused, elsewhere = found.err.splitlines()
    assert refused.endswith("/api/status responds 401: give a token")
    assert elsewhere.endswith("/api/graph responds 302: this is not the admin API of ingresskit")


def test_a_chart_without_class_and_endpoints_is_checked_with_what_is_assumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "chart.yaml").write_text(CHART, encoding="utf-8")
    bare, assumed = ["--strict"], ["--strict", "--assume-class=public", "--assume-endpoints"]

    statuses = main(["check", str(tmp_path), *bare]), main(["check", str(tmp_path), *assumed])
    routes = said(capsys, "explain", str(tmp_path), *assumed[1:], "http://shop.test/")

    assert statuses == (1, 0)
    assert routes[0] == 0
    assert "takes it and forwards it to shop/web:80." in routes[1]


def test_a_class_that_is_annotated_can_be_assumed_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (HELLO / "hello.yaml").read_text(encoding="utf-8")
    (tmp_path / "a.yaml").write_text(text.replace("class: ingresskit", "class: public"), encoding="utf-8")

    assert main(["routes", str(tmp_path), "--assume-class", "public"]) == 0
    assert "hello.example" in capsys.readouterr().out


def test_several_paths_are_one_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents = (HELLO / "hello.yaml").read_text(encoding="utf-8").split("\n---\n")
    paths: list[str] = []
    for number, document in enumerate([*documents, documents[0]]):
        path = tmp_path / f"{number}.yaml"
        path.write_text(document, encoding="utf-8")
        paths.append(str(path))

    status = main(["check", *paths])

    found = capsys.readouterr()
    assert (status, found.out) == (0, "")
    assert f"note: Ingress web/hello of {paths[-1]} is left out: {paths[0]} has it too" in found.err
    assert "1 Ingress, 1 of this controller; errors: 0, warnings: 0" in found.err


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_manifests_come_from_the_standard_input(form: str) -> None:
    text = (MISTAKES / "mistakes.yaml").read_text(encoding="utf-8")
    if form == "json":
        items = [item for item in yaml.safe_load_all(text) if item]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, default=str, indent="\t")

    done = subprocess.run(
        [sys.executable, "-m", "ingresskit", "check", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )

    assert done.returncode == 1
    assert done.stdout.startswith("stdin, ")


@pytest.mark.parametrize("command", ["check", "render", "routes"])
def test_a_folder_without_manifests_is_not_right(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "values.txt").write_text("a: 1\n", encoding="utf-8")

    status = main([command, str(tmp_path)])

    assert status == 2
    assert capsys.readouterr().err.startswith(f"ingresskit {command}: there are no manifests in {tmp_path}")


def test_sarif_names_the_file_and_the_object(capsys: pytest.CaptureFixture[str]) -> None:
    status, out = said(capsys, "check", str(MISTAKES), "-o", "sarif")

    log = json.loads(out)
    (run,) = log["runs"]
    assert status == 1
    assert log["version"] == "2.1.0"
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {item["ruleId"] for item in run["results"]} == rules
    (location,) = run["results"][-1]["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == str(MISTAKES / "mistakes.yaml")
    assert location["logicalLocations"][0]["fullyQualifiedName"].startswith("Ingress web/")
    assert {item["level"] for item in run["results"]} <= {"error", "warning", "note"}


def test_annotations_of_github_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    status, out = said(capsys, "check", str(MISTAKES), "-o", "github")

    lines = out.splitlines()
    assert status == 1
    assert len(lines) == 8
    assert all(line.startswith(("::error file=", "::warning file=", "::notice file=")) for line in lines)
    assert any(",title=AnnotationUnknown::Ingress web/first, metadata.annotations[" in line for line in lines)


def test_a_path_in_sarif_is_a_uri(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "with space"
    shutil.copytree(MISTAKES, folder)

    _, out = said(capsys, "check", str(folder), "-o", "sarif")

    uris = [
        item["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for item in json.loads(out)["runs"][0]["results"]
    ]
    assert uris == [f"{tmp_path}/with%20space/mistakes.yaml"] * len(uris)


@pytest.mark.skipif(
    shutil.which("kubectl") is None or not PROGRAM.exists(), reason="kubectl or the program is not installed"
)
def test_kubectl_finds_the_command_as_a_plugin(tmp_path: Path) -> None:
    link = tmp_path / "kubectl-ingresskit"
    link.symlink_to(PROGRAM)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"

    done = subprocess.run(
        ["kubectl", "ingresskit", "routes", str(HELLO)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env={**os.environ, "PATH": path},
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "hello.example" in done.stdout
