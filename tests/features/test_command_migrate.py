"""``ingresskit migrate analyse``: a folder as ingress-nginx has it, in four forms, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from ingresskit.app import main
from ingresskit.migrate import FLAGS
from ingresskit.testing.apiserver import ApiServer, Resource
from ingresskit.testing.apiserver.builtin import BUILTIN

CONTROLLER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: ingress-nginx-controller, namespace: edge}
spec:
  template:
    spec:
      containers:
        - name: controller
          image: registry.k8s.io/ingress-nginx/controller:v1.15.0
          args:
            - /nginx-ingress-controller
            - --publish-service=$(POD_NAMESPACE)/front
            - --configmap=$(POD_NAMESPACE)/conf
---
apiVersion: v1
kind: ConfigMap
metadata: {name: conf, namespace: edge}
data: {proxy-body-size: 20m}
"""
INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: shop
  annotations: {%s}
spec:
  ingressClassName: nginx
  rules:
    - host: shop.test
      http: {paths: [{path: /x, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
"""
PREFIX = "nginx.ingress.kubernetes.io"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "controller.yaml").write_text(CONTROLLER, encoding="utf-8")
    write(tmp_path, f"{PREFIX}/ssl-redirect: 'false'")
    return tmp_path


def write(folder: Path, annotations: str) -> None:
    (folder / "web.yaml").write_text(INGRESS % annotations, encoding="utf-8")


def test_nothing_lost_ends_with_0_and_says_how_to_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "analyse", str(folder)]) == 0

    text = capsys.readouterr().out
    assert "1 Ingresses, 1 of ingress-nginx; values: " in text
    assert "  --publish-service edge/front  # --publish-service" in text
    assert "  --configmap edge/conf  # --configmap" in text


def test_what_is_lost_is_named_and_ends_with_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, f"{PREFIX}/configuration-snippet: 'deny all;'")

    assert main(["migrate", "analyse", str(folder)]) == 1

    text = capsys.readouterr().out
    assert f"lost: Ingress shop/web, metadata.annotations[{PREFIX}/configuration-snippet] = 'deny all;'" in text
    assert "for example GET https://shop.test/x" in text
    assert "closed: Ingress shop/web responds 503" in text


@pytest.mark.parametrize("form", ["json", "markdown", "sarif"])
def test_other_forms_have_the_same(folder: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, f"{PREFIX}/server-snippet: 'a | b <i>'")

    assert main(["migrate", "analyse", str(folder), "--format", form]) == 1

    text = capsys.readouterr().out
    match form:
        case "json":
            found = json.loads(text)
            assert [item["outcome"] for item in found["findings"] if item["kind"] == "Ingress"] == ["lost"]
            assert found["counts"]["lost"] == 1
        case "sarif":
            (run,) = json.loads(text)["runs"]
            assert [item["ruleId"] for item in run["results"]] == ["server-snippet"]
            assert run["results"][0]["level"] == "error"
        case _:
            assert "a \\| b &lt;i>" in text


def test_flags_can_be_given(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "analyse", str(folder), "--arg=--ingress-class=edge"]) == 0
    assert "no Ingress is of ingress-nginx's class" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "give one of analyse"),
        (["analyse"], "give a folder"),
        (["analyse", "/nonexistent"], "/nonexistent"),
    ],
)
def test_mistakes_are_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(["migrate", *words])
    except SystemExit as exc:
        status = int(str(exc.code))

    text = capsys.readouterr().err
    assert status == 2
    assert line in text
    assert text.count("\n") == 1


def test_every_flag_that_is_proposed_is_one_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])

    known = capsys.readouterr().out.split()
    assert [doc.here for doc in FLAGS.values() if doc.here and doc.here.split()[0] not in known] == []


def test_prove_ends_with_0_where_all_is_alike(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "prove", str(folder)]) == 0
    assert "answered alike; differences: 0" in capsys.readouterr().out


def test_prove_shows_the_request_and_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, f"{PREFIX}/configuration-snippet: 'deny all;'")

    assert main(["migrate", "prove", str(folder), "--requests", "5"]) == 1

    text = capsys.readouterr().out
    assert "lost: GET https://shop.test/x: an endpoint's response there, 503 here" in text
    assert "  because: AnnotationUnsupported: no snippet is ever executed" in text


@pytest.mark.parametrize("form", ["json", "markdown", "sarif"])
def test_other_forms_of_a_proof_have_the_same(
    folder: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, f"{PREFIX}/configuration-snippet: 'deny all;'")

    assert main(["migrate", "prove", str(folder), "--requests", "5", "--format", form]) == 1

    text = capsys.readouterr().out
    match form:
        case "json":
            (found,) = json.loads(text)["differences"]
            assert (found["agreement"], found["ingress"]) == ("lost", "Ingress shop/web")
        case "sarif":
            (run,) = json.loads(text)["runs"]
            (result,) = run["results"]
            assert (result["ruleId"], result["level"]) == ("lost", "error")
            place = result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]
            assert place == "Ingress shop/web"
        case _:
            assert "| lost | GET https://shop.test/x | an endpoint's response there, 503 here |" in text


def test_prove_reads_an_access_log(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "access.log"
    log.write_text('{"host": "shop.test", "path": "/x/logged"}\n', encoding="utf-8")

    counts: list[int] = []
    for more in ([], ["--access-log", str(log)]):
        assert main(["migrate", "prove", str(folder), "--format", "json", *more]) == 0
        counts.append(json.loads(capsys.readouterr().out)["asked"])

    assert counts[1] == counts[0] + 1
    assert main(["migrate", "prove", str(folder), "--access-log", "/nonexistent"]) == 2


def test_a_cluster_is_analysed_with_its_configmaps(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, f"{PREFIX}/ssl-redirect: 'false'")
    meta = {"name": "tcp", "namespace": "edge"}
    ports = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"9000": "nonsense"}}
    with ApiServer.in_thread(tls=True, bookmark_seconds=0.5) as server:
        server.load([yaml.safe_load(INGRESS % ""), *yaml.safe_load_all(CONTROLLER.partition("---")[2]), ports])
        config = str(server.kubeconfig(tmp_path / "config"))
        words = ["--arg=--configmap=edge/conf", "--arg=--tcp-services-configmap=edge/tcp", "--format", "json"]
        main(["migrate", "analyse", "--kubeconfig", config, *words])

    found = json.loads(capsys.readouterr().out)
    fields = {(item["field"], item["outcome"]) for item in found["findings"] if item["kind"] == "ConfigMap"}
    assert found["ours"] == 1
    assert fields == {("data[proxy-body-size]", "same"), ("data[9000]", "unneeded")}


def test_flags_are_those_of_the_workload_in_the_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workload, settings = yaml.safe_load_all(CONTROLLER)
    workload["spec"] |= {"selector": {"matchLabels": {"app": "x"}}}
    workload["spec"]["template"]["metadata"] = {"labels": {"app": "x"}}
    deployments = Resource(group="apps", version="v1", plural="deployments", kind="Deployment")
    with ApiServer.in_thread(tls=True, bookmark_seconds=0.5, resources=[*BUILTIN, deployments]) as server:
        server.load([yaml.safe_load(INGRESS % ""), settings, workload])
        config = str(server.kubeconfig(tmp_path / "config"))

        assert main(["migrate", "analyse", "--kubeconfig", config]) == 0

    text = capsys.readouterr().out
    assert "  --publish-service edge/front  # --publish-service" in text
    assert "  --configmap edge/conf  # --configmap" in text


def test_flags_that_cannot_be_read_are_said_to_be_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ApiServer.in_thread(tls=True, bookmark_seconds=0.5) as server:
        server.load([yaml.safe_load(INGRESS % "")])
        config = str(server.kubeconfig(tmp_path / "config"))

        assert main(["migrate", "analyse", "--kubeconfig", config]) == 0

    assert "no Deployment or DaemonSet of ingress-nginx can be read" in capsys.readouterr().err
