"""``ingresskit render``, ``check`` and ``explain``: what they say about a folder of manifests."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ingresskit.app import main
from ingresskit.testing import pace

SECONDS = pace.within(60)

MANIFESTS = Path(__file__).resolve().parents[2] / "examples" / "manifests"
LOOPBACK = "--allow-endpoint=127.0.0.0/8"
DEMO = [str(MANIFESTS / "demo"), LOOPBACK]
HELLO = str(MANIFESTS / "hello")
MISTAKES = str(MANIFESTS / "mistakes")

FLAG_MISTAKES: dict[str, tuple[list[str], str]] = {
    "no folder": (["check"], "the following arguments are required: DIR, or --url URL"),
    "no URL": (["explain", HELLO], "the following arguments are required: URL"),
    "unknown flag": (["check", HELLO, "--xyzzy"], "unknown flag --xyzzy; see --help"),
    "misspelt flag": (["check", HELLO, "--stric"], "unknown flag --stric; did you mean --strict?"),
    "unknown renderer": (
        ["check", HELLO, "--renderer=x"],
        "--renderer: 'x' is not one of inprocess, haproxy and nginx",
    ),
    "output": (["render", HELLO, "--output=xml"], "--output: invalid choice: 'xml'"),
    "range": (["check", HELLO, "--allow-endpoint=all"], "--allow-endpoint: 'all' is not an address range"),
    "controller name": (
        ["check", HELLO, "--controller-name=me"],
        "--controller-name: the controller name 'me'",
    ),
    "class": (["check", HELLO, "--ingress-class="], "--ingress-class: the ingress class has no name"),
    "selector": (["check", HELLO, "--ingress-selector=a b"], "--ingress-selector: 'a b' in the label selector"),
    "ownership": (
        ["check", HELLO, "--host-ownership=x"],
        "--host-ownership: 'x' is not strict, exact or shared",
    ),
    "protections": (
        ["check", HELLO, "--foreign-protections=open"],
        "--foreign-protections: 'open' is neither close nor warn",
    ),
    "backend": (
        ["check", HELLO, "--default-backend-service=x"],
        "--default-backend-service: 'x' is not NAMESPACE",
    ),
    "header": (["explain", HELLO, "http://a", "--header=x"], "--header: 'x' is not a header field such as"),
    "cookie": (["explain", HELLO, "http://a", "--cookie=x"], "--cookie: 'x' is not a cookie such as"),
    "client": (["explain", HELLO, "http://a", "--client=me"], "--client: 'me' is not an IP address"),
}


@pytest.mark.parametrize(("argv", "message"), FLAG_MISTAKES.values(), ids=FLAG_MISTAKES)
def test_a_wrong_flag_is_one_line(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)

    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert line.startswith(f"ingresskit {argv[0]}: ")
    assert message in line


@pytest.mark.parametrize("command", [["render"], ["check"], ["explain", "--json"]])
def test_a_folder_that_is_not_there_is_one_line(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = ["http://a"] if "explain" in command else []

    status = main([*command, str(tmp_path / "nowhere"), *url])

    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert str(tmp_path / "nowhere") in line


def test_a_url_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["explain", HELLO, "hello.example/"])

    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    meant = "did you mean http://hello.example/?"
    assert said.err == (
        f"ingresskit explain: 'hello.example/' is not an http or https URL with a host; {meant}\n"
    )


def test_check_finds_nothing_in_a_clean_folder(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["check", HELLO])

    assert (status, capsys.readouterr().out) == (0, "")


def test_check_names_file_object_and_field_of_each_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["check", MISTAKES])

    lines = capsys.readouterr().out.splitlines()
    assert status == 1
    assert [line.partition("mistakes.yaml, ")[2].split(": ")[0] for line in lines] == [
        *["document 2"] * 4,
        *["document 1"] * 3,
        "document 3",
    ]
    assert any("RouteConflict" in line or "HostConflict" in line for line in lines)
    assert any(
        "Ingress web/first, metadata.annotations[ingresskit.dev/conect-timeout]: " in line
        and "did you mean ingresskit.dev/connect-timeout?" in line
        for line in lines
    )
    assert any("Ingress web/unreadable, spec.rules[0].host: " in line for line in lines)


def test_warnings_fail_only_a_strict_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (MANIFESTS / "hello" / "hello.yaml").read_text(encoding="utf-8")
    line = "    kubernetes.io/ingress.class: ingresskit\n"
    assert line in text
    (tmp_path / "a.yaml").write_text(text.replace(line, line + "    ingresskit.dev/nonsense: x\n"))

    statuses = main(["check", str(tmp_path)]), main(["check", "--strict", str(tmp_path)])

    assert statuses == (0, 1)
    assert "AnnotationUnknown" in capsys.readouterr().out


def test_a_broken_file_costs_only_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.yaml").write_bytes((MANIFESTS / "hello" / "hello.yaml").read_bytes())
    (tmp_path / "bad.yaml").write_text("a: [1, 2\n", encoding="utf-8")

    statuses = main(["check", str(tmp_path)]), main(["render", str(tmp_path)])

    said = capsys.readouterr()
    assert statuses == (1, 1)
    assert "bad.yaml" in said.out.splitlines()[0]
    assert "hello.example" in said.out


def test_render_shows_hosts_rules_and_endpoints(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["render", HELLO])

    assert status == 0
    assert capsys.readouterr().out == (
        "hello.example (owned by web)\n"
        "  Prefix /  web/hello:80 (10.0.0.10:8000)  [Ingress web/hello, spec.rules[0].http.paths[0]]\n"
    )


def test_render_json_is_the_route_graph(capsys: pytest.CaptureFixture[str]) -> None:
    main(["render", "--output=json", *DEMO])

    graph = json.loads(capsys.readouterr().out)

    hosts = {host["host"] for host in graph["virtualHosts"]}
    assert {"shop.demo.localhost", "*.tenants.demo.localhost", "old.demo.localhost"} <= hosts
    assert len(graph["backends"]["demo/shop:80"]["endpoints"]) == 3


def test_explain_names_the_rule_and_the_near_misses(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["explain", *DEMO, "http://shop.demo.localhost/apis"])

    said = capsys.readouterr().out
    assert status == 0
    assert (
        "  rule: Prefix / of shop.demo.localhost, from Ingress demo/shop, spec.rules[0].http.paths[0]\n" in said
    )
    assert "PathType: Prefix /api takes whole elements between slashes" in said


def test_explain_says_who_holds_the_host_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", *DEMO, "http://shop.demo.localhost/apis"])

    held = "shop.demo.localhost is held by namespace demo: it claimed the host first, and still claims it\n"
    assert f"  host: {held}" in capsys.readouterr().out


def test_explain_says_why_an_ingress_of_another_class_is_not_served(capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", *DEMO, "--json", "http://elsewhere.demo.localhost/"])

    explanation = json.loads(capsys.readouterr().out)

    assert explanation["status"] == 404
    near = explanation["nearMisses"][0]
    assert near["origin"]["object"] == "Ingress demo/somebody-elses"
    assert near["reason"] == "ClassNotOurs"


def test_a_host_header_replaces_the_host_of_the_url(capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", HELLO, "--json", "--header", "Host: hello.example", "http://192.0.2.1/x"])

    assert json.loads(capsys.readouterr().out)["virtualHost"] == "hello.example"


@pytest.mark.parametrize(("url", "status"), [("http://hello.example/", 0), ("http://other.example/", 1)])
def test_a_404_is_an_exit_status_only_where_that_is_asked_for(
    url: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses = main(["explain", HELLO, url]), main(["explain", "--fail", HELLO, url])

    assert statuses == (0, status)
    assert capsys.readouterr().err == ""


def test_explain_counts_the_near_misses_that_it_does_not_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (MANIFESTS / "hello" / "hello.yaml").read_text(encoding="utf-8")
    document = next(item for item in text.split("\n---\n") if "kind: Ingress\n" in item)
    rule = "    - host: hello.example"
    assert rule in document
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    for number in range(20):
        other = document.replace("name: hello\n", f"name: hello{number}\n", 1)
        (tmp_path / f"b{number}.yaml").write_text(
            other.replace(rule, f"    - host: t{number}.shop.example"), encoding="utf-8"
        )

    main(["explain", str(tmp_path), "http://shop.example/"])

    assert "near misses (8 of 20 shown):" in capsys.readouterr().out


def test_explain_takes_cookies_and_repeated_headers(capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", HELLO, "--cookie", "a=b", "--header", "X: 1", "--header", "X: 2", "http://hello.example/"])

    assert "hello.example" in capsys.readouterr().out


def test_flags_decide_what_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    main(["render", "--output=json", "--controller-name=k8s.io/ingress-nginx", *DEMO])
    nginx = json.loads(capsys.readouterr().out)
    main(["render", "--output=json", "--watch-namespace=other", *DEMO])
    other = json.loads(capsys.readouterr().out)

    assert [host["host"] for host in nginx["virtualHosts"]] == ["elsewhere.demo.localhost"]
    assert other["virtualHosts"] == []


def test_an_expired_certificate_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (MANIFESTS / "hello" / "hello.yaml").read_text(encoding="utf-8")
    text = text.replace(
        "spec:\n  rules:", "spec:\n  tls:\n    - {hosts: [hello.example], secretName: t}\n  rules:", 1
    )
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "secret.json").write_text(json.dumps(expired_secret()), encoding="utf-8")

    main(["check", str(tmp_path)])

    assert "CertificateExpired" in capsys.readouterr().out


def expired_secret() -> dict[str, object]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hello.example")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=9))
        .not_valid_after(datetime.now(UTC) - timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hello.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "t", "namespace": "web"},
        "stringData": {"tls.crt": certificate.public_bytes(Encoding.PEM).decode(), "tls.key": pem},
    }


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, timeout=SECONDS
    )


def test_it_is_a_module_that_runs() -> None:
    ended = run("-m", "ingresskit", "check", MISTAKES)

    assert ended.returncode == 1
    assert len(ended.stdout.splitlines()) == 8
    assert ended.stderr == "2 Ingresses, 2 of this controller; errors: 6, warnings: 2\n"


def test_it_needs_neither_proxy_nor_admin_extras() -> None:
    absent = ["h11", "httptools", "prometheus_client", "uvloop", "cryptography", "kubernetes"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        "from ingresskit.app import main\n"
        f"sys.exit(main(['explain', {HELLO!r}, 'http://hello.example/']))"
    )

    ended = run("-c", program)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Prefix / of hello.example" in ended.stdout


def test_a_reader_that_has_enough_is_no_fault() -> None:
    program = f"{sys.executable} -m ingresskit render --output json {DEMO[0]} | head -c 1"

    ended = subprocess.run(
        ["bash", "-c", program], capture_output=True, text=True, check=False, timeout=SECONDS
    )

    assert ended.stdout == "{"
    assert "Traceback" not in ended.stderr
    assert "Broken pipe" not in ended.stderr


def test_the_protections_of_other_controllers_can_be_let_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (MANIFESTS / "hello" / "hello.yaml").read_text(encoding="utf-8")
    line = "    kubernetes.io/ingress.class: ingresskit\n"
    (tmp_path / "a.yaml").write_text(text.replace(line, line + "    nginx.org/basic-auth-secret: users\n"))

    statuses = main(["check", str(tmp_path)]), main(["check", "--foreign-protections=warn", str(tmp_path)])

    closed, opened = capsys.readouterr().out.splitlines()
    assert statuses == (1, 0)
    assert "error AnnotationForeign" in closed
    assert "respond 503" in closed
    assert "warning AnnotationForeign" in opened
    assert "open to every client" in opened


SHOP = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: web, annotations: {CLASS}}
spec:
  tls: [{hosts: [shop.test], secretName: shop-tls}]
  rules:
  - host: shop.test
    http:
      paths:
      - path: /shop|cart
        pathType: ImplementationSpecific
        backend: {service: {name: shop, port: {number: 80}}}
      - {path: /grpc, pathType: Prefix, backend: {service: {name: shop, port: {number: 50051}}}}
      - {path: /api, pathType: Exact, backend: {service: {name: shop, port: {number: 443}}}}
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: web}
spec:
  ports:
  - {name: http, port: 80}
  - {name: grpc, port: 50051, appProtocol: kubernetes.io/h2c}
  - {name: https, port: 443}
"""
OURS = "kubernetes.io/ingress.class: ingresskit"
SLICE = """
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: shop-1, namespace: web, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: grpc, port: 8081}, {name: https, port: 8443}]
endpoints: [{addresses: [10.0.0.1]}]
"""


def shop_folder(folder: Path, annotations: str = OURS, *, slices: bool = True) -> str:
    (folder / "shop.yaml").write_text(SHOP.replace("CLASS", annotations) + (SLICE if slices else ""))
    return str(folder)


@pytest.mark.parametrize(
    ("annotations", "why"),
    [
        ("", "it names no class"),
        ("kubernetes.io/ingress.class: nginx", "is 'nginx', not 'ingresskit'"),
    ],
    ids=["no class", "another class"],
)
def test_a_folder_in_which_nothing_is_ours_says_why(
    annotations: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shop_folder(tmp_path, annotations)

    statuses = main(["check", folder]), main(["check", "--strict", folder]), main(["render", folder])

    said = capsys.readouterr()
    assert statuses == (0, 1, 0)
    assert said.err.count("1 Ingress, 0 of this controller; errors: 0, warnings: 0\n") == 2
    assert said.err.count("note: Ingress web/shop is not of this controller: ") == 3
    assert why in said.err
    assert "note: no Ingress is of this controller: " in said.err


def test_a_folder_without_endpoint_slices_gives_one_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shop_folder(tmp_path, f"{OURS}, cert-manager.io/issuer: le", slices=False)

    status = main(["check", "--renderer=haproxy", folder])

    said = capsys.readouterr()
    assert status == 0
    assert "NoEndpoints" not in said.out
    assert said.err.count("note: the folder has no EndpointSlices") == 1
    assert "warning SecretNotFound" in said.out
    assert "cert-manager (cert-manager.io/issuer) is expected to create" in said.out


def test_with_slices_every_backend_without_endpoints_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shop_folder(tmp_path)
    (tmp_path / "shop.yaml").write_text(
        (tmp_path / "shop.yaml").read_text().replace("endpoints: [{addresses: [10.0.0.1]}]", "endpoints: []")
    )

    main(["check", folder])

    said = capsys.readouterr()
    assert said.out.count("NoEndpoints") == 3
    assert "note:" not in said.err


@pytest.mark.parametrize(("renderer", "spoken"), [("inprocess", True), ("nginx", False), ("haproxy", True)])
def test_what_a_renderer_cannot_do_is_seen_without_its_program(
    renderer: str, spoken: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [shop_folder(tmp_path), f"--renderer={renderer}"]

    main(["check", *words])
    checked = capsys.readouterr().out
    main(["explain", *words, "https://shop.test/grpc"])
    explained = capsys.readouterr().out
    main(["render", *words])
    rendered = capsys.readouterr().out

    assert ("ProtocolUnsupported Service web/shop, spec.ports[1].appProtocol: " in checked) is not spoken
    assert ("503" in explained.splitlines()[1]) is not spoken
    assert ("web/shop:50051 (10.0.0.1:8081)" in rendered) is spoken


def test_explain_shows_paths_and_types_as_they_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["explain", shop_folder(tmp_path), "https://shop.test/shop%7Ccart/1"])

    assert "  rule: ImplementationSpecific /shop|cart of shop.test, from " in capsys.readouterr().out


def test_explain_tells_what_is_wrong_on_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", shop_folder(tmp_path), "https://shop.test/api"])

    said = capsys.readouterr().out
    assert "  warning: PlainHttpToTlsPort Service web/shop, spec.ports[2]: " in said
    assert "PathLooksLikeRegex" not in said.partition("near misses:")[0]
