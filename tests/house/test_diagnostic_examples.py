"""Every example on the page of diagnostics is what a cluster like the one here really gets, to the letter."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typing_extensions import override

from ingresskit import (
    NativeDialect,
    ObjectKey,
    PolicyRegistry,
    Reason,
    Renderer,
    RouteGraph,
    TranslateOptions,
)
from ingresskit.controller.quarantine import Quarantine, Refusal
from ingresskit.controller.waiting import waiting_diagnostics
from ingresskit.errors import ApplyPostponed, DecodeError, ProblemCause
from ingresskit.graph import Withholding, parts_by_object
from ingresskit.models import KubeObject, Snapshot, decode_any
from ingresskit.policies import Dialect, DialectContext, IngressNginxDialect, Reading, RequestHeaders
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.translate import Budgets, Translator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "diagnostics.md"
EXAMPLES = {
    found[2]: found[0]
    for found in re.finditer(r"^(error|warning) (\w+) .+$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
}

Tree = dict[str, Any]
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def tree(kind: str, api: str, name: str, *, namespace: str = "shop", age: int = 0, **rest: object) -> Tree:
    """An object; *age* in days before the first of January 2026."""
    created = datetime(2026, 1, 1, tzinfo=UTC).timestamp() - age * 86_400
    metadata: Tree = {"name": name, "creationTimestamp": datetime.fromtimestamp(created, UTC).isoformat()}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def path(text: str = "/", kind: str = "Prefix", service: str = "web", port: int = 80) -> Tree:
    backend = {"service": {"name": service, "port": {"number": port}}}
    return {"path": text, "pathType": kind, "backend": backend}


def ingress(name: str = "web", *paths: Tree, namespace: str = "shop", age: int = 0, **spec: object) -> Tree:
    rules = [{"host": "shop.test", "http": {"paths": list(paths or (path(),))}}]
    whole = {"ingressClassName": "ingresskit", "rules": rules, **spec}
    return tree("Ingress", "networking.k8s.io/v1", name, namespace=namespace, age=age, spec=whole)


def annotated(annotation: str, value: str) -> Tree:
    found = ingress()
    found["metadata"]["annotations"] = {annotation: value}
    return found


def with_rule(change: Mapping[str, object]) -> Tree:
    """The usual Ingress, its only rule changed."""
    found = ingress()
    found["spec"]["rules"][0] |= change
    return found


def ingress_class(name: str = "ingresskit", **spec: object) -> Tree:
    whole = {"controller": "ingresskit.dev/ingress-controller", **spec}
    return tree("IngressClass", "networking.k8s.io/v1", name, namespace="", spec=whole)


def service(name: str = "web", **spec: object) -> Tree:
    return tree("Service", "v1", name, spec={"ports": [{"name": "http", "port": 80}], **spec})


def endpoints(*addresses: str, ready: bool = True) -> Tree:
    found = tree("EndpointSlice", "discovery.k8s.io/v1", "web-1", addressType="IPv4")
    found["metadata"]["labels"] = {"kubernetes.io/service-name": "web"}
    found["ports"] = [{"name": "http", "port": 8080}]
    found["endpoints"] = [{"addresses": [item], "conditions": {"ready": ready}} for item in addresses]
    return found


@functools.cache
def pair(host: str, until: str) -> tuple[str, str]:
    """A certificate and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime.fromisoformat(until).replace(tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM).decode(), pem.decode()


def secret(
    host: str = "shop.test", until: str = "2030-01-01", *, key_of: str = "", name: str = "web-tls"
) -> Tree:
    chain, key = pair(host, until)
    data = {"tls.crt": chain, "tls.key": pair(key_of, until)[1] if key_of else key}
    return tree("Secret", "v1", name, type="kubernetes.io/tls", stringData=data)


def tls(name: str = "web", certificate: str = "web-tls", age: int = 0) -> Tree:
    return ingress(name, path(f"/{name}"), age=age, tls=[{"hosts": ["shop.test"], "secretName": certificate}])


USUAL = [ingress_class(), service(), endpoints("10.0.0.7")]


class Caddy(Renderer[None]):
    """A renderer that honours nothing."""

    name: ClassVar[str] = "caddy"

    @override
    def render(self, graph: RouteGraph) -> None:
        return None


class Broken(Dialect):
    """A dialect with a fault of its own."""

    prefix: str = "broken.test"

    def read(self, context: DialectContext) -> Reading:
        raise RuntimeError


@dataclass(frozen=True, kw_only=True)
class Case:
    """The objects beside the usual ones (of two with the same name the later), and what is not as usual."""

    objects: tuple[Tree, ...]
    renderer: Renderer[Any]
    options: TranslateOptions
    refused: str
    problems: tuple[DecodeError, ...]
    waits: bool


def case(
    *objects: Tree,
    renderer: Renderer[Any] | None = None,
    options: TranslateOptions | None = None,
    refused: str = "",
    problems: tuple[DecodeError, ...] = (),
    waits: bool = False,
) -> Case:
    return Case(
        objects=objects,
        renderer=renderer or InProcessRenderer(),
        options=options or TranslateOptions(),
        refused=refused,
        problems=problems,
        waits=waits,
    )


def problem(cause: ProblemCause, kind: str, reason: str, namespace: str = "") -> tuple[DecodeError]:
    """What a cluster's source, or whoever writes into it, reports of a whole kind."""
    return (DecodeError(kind=kind, namespace=namespace, name="*", field="", reason=reason, cause=cause),)


def edit(item: Tree, change: Callable[[Tree], None]) -> Tree:
    changed = copy.deepcopy(item)
    change(changed)
    return changed


def backend(**changed: object) -> Tree:
    item = path()
    item["backend"] = changed
    return ingress("web", item)


PREFIXED = PolicyRegistry([NativeDialect(), NativeDialect((RequestHeaders,), prefix="other.test")])

CASES: dict[Reason, Case] = {
    Reason.OBJECT_INVALID: case(with_rule({"host": 5})),
    Reason.RIGHT_MISSING: case(
        problems=problem(
            ProblemCause.RIGHT_MISSING,
            "EndpointSlice",
            "the right to list and watch endpointslices.discovery.k8s.io in the cluster is missing;"
            " Endpoints are read in their place",
        )
    ),
    Reason.KIND_NOT_SERVED: case(
        problems=problem(
            ProblemCause.KIND_NOT_SERVED,
            "EndpointSlice",
            "the API server does not serve endpointslices.discovery.k8s.io as discovery.k8s.io/v1;"
            " Endpoints are read in their place",
        )
    ),
    Reason.CREDENTIALS_REFUSED: case(
        problems=problem(
            ProblemCause.CREDENTIALS_REFUSED,
            "Ingress",
            "the API server refuses the credentials for ingresses.networking.k8s.io (401);"
            " what was known of it before still counts",
        )
    ),
    Reason.WRITE_REFUSED: case(
        problems=problem(
            ProblemCause.WRITE_REFUSED,
            "Ingress",
            "the right to patch ingresses/status is missing; addresses are not published there",
            "shop",
        )
    ),
    Reason.INGRESS_CLASS_NOT_FOUND: case(ingress(ingressClassName="nginx")),
    Reason.INGRESS_CLASS_CONFLICT: case(
        edit(
            annotated("kubernetes.io/ingress.class", "ingresskit"),
            lambda item: item["spec"].update(ingressClassName="other"),
        ),
        ingress_class("other", controller="example.com/other"),
    ),
    Reason.INGRESS_CLASS_PARAMETERS_IGNORED: case(
        ingress_class("public", parameters={"kind": "Parameters", "name": "public"})
    ),
    Reason.EMPTY_INGRESS: case(ingress(rules=[])),
    Reason.BUDGET_EXCEEDED: case(
        ingress(rules=[{"host": host, "http": {"paths": [path()]}} for host in ("shop.test", "more.test")]),
        options=TranslateOptions(budgets=Budgets(hosts_per_ingress=1)),
    ),
    Reason.INVALID_HOST: case(with_rule({"host": "shop_1.test"})),
    Reason.INVALID_PATH: case(ingress("web", path("shop"))),
    Reason.INVALID_PATH_TYPE: case(ingress("web", path(kind="prefix"))),
    Reason.PATH_LOOKS_LIKE_REGEX: case(ingress("web", path("/shop(/|$)(.*)", "Prefix"))),
    Reason.PATH_SERVED_OTHERWISE: case(ingress("web", path("/my shop"))),
    Reason.PATH_TAKEN_LITERALLY: case(ingress("web", path("/shop/*"))),
    Reason.RULE_WITHOUT_HOST: case(
        edit(ingress(), lambda item: item["spec"]["rules"].append({"http": {"paths": [path("/api")]}}))
    ),
    Reason.RULE_WITHOUT_PATHS: case(with_rule({"http": None})),
    Reason.HOST_CONFLICT: case(ingress(age=1), ingress("late", namespace="other")),
    Reason.HOST_NOT_ALLOWED: case(
        ingress("late", namespace="other"),
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "shop", "annotations": {"ingresskit.dev/hosts": "shop.test"}},
        },
    ),
    Reason.HOST_OVERLAP: case(
        ingress(age=1),
        edit(
            ingress("wild", namespace="other", age=2),
            lambda item: item["spec"]["rules"][0].update(host="*.test"),
        ),
    ),
    Reason.ROUTE_CONFLICT: case(
        ingress("web", path("/"), path("/cart"), age=1), ingress("late", path("/cart/"))
    ),
    Reason.DEFAULT_BACKEND_UNUSED: case(ingress(defaultBackend=path()["backend"])),
    Reason.INVALID_BACKEND: case(backend(service={"name": "web", "port": {}})),
    Reason.RESOURCE_BACKEND: case(
        backend(resource={"apiGroup": "storage.test", "kind": "StorageBucket", "name": "static"})
    ),
    Reason.SERVICE_NOT_FOUND: case(ingress("web", path(service="cart"))),
    Reason.SERVICE_PORT_NOT_FOUND: case(ingress("web", path(port=8080))),
    Reason.NO_ENDPOINTS: case(ingress(), endpoints("10.0.0.7", "10.0.0.8", ready=False)),
    Reason.PLAIN_HTTP_TO_TLS_PORT: case(
        ingress("web", path(service="secure", port=443)), service("secure", ports=[{"port": 443}])
    ),
    Reason.EXTERNAL_NAME_REFUSED: case(
        ingress("web", path(service="legacy")), service("legacy", type="ExternalName", externalName="old.test")
    ),
    Reason.ADDRESS_REFUSED: case(ingress(), endpoints("169.254.169.254")),
    Reason.SECRET_NOT_FOUND: case(tls()),
    Reason.CERTIFICATE_INVALID: case(tls(), secret(key_of="shop.example")),
    Reason.CERTIFICATE_HOST_MISMATCH: case(tls(), secret("shop.example")),
    Reason.CERTIFICATE_EXPIRED: case(tls(), secret(until="2026-01-31")),
    Reason.CERTIFICATE_CONFLICT: case(
        tls(age=1), secret(), tls("late", "late-tls"), secret(name="late-tls", until="2031-01-01")
    ),
    Reason.TLS_HOST_WITHOUT_RULE: case(
        ingress(tls=[{"hosts": ["www.shop.test"], "secretName": "web-tls"}]), secret("www.shop.test")
    ),
    Reason.ANNOTATION_UNKNOWN: case(annotated("ingresskit.dev/conect-timeout", "5s")),
    Reason.ANNOTATION_INVALID: case(annotated("ingresskit.dev/read-timeout", "30")),
    Reason.ANNOTATION_IGNORED: case(
        edit(
            annotated("ingresskit.dev/request-headers-remove", "X-A"),
            lambda item: item["metadata"]["annotations"].update({"other.test/request-headers-remove": "X-B"}),
        ),
        options=TranslateOptions(policies=PREFIXED),
    ),
    Reason.ANNOTATION_FOREIGN: case(
        annotated("nginx.ingress.kubernetes.io/whitelist-source-range", "10.11.0.0/16")
    ),
    Reason.ANNOTATION_UNSUPPORTED: case(
        annotated("nginx.ingress.kubernetes.io/enable-modsecurity", "true"),
        options=TranslateOptions(policies=PolicyRegistry([IngressNginxDialect()])),
    ),
    Reason.CONFIG_MAP_NOT_FOUND: case(
        ingress(),
        options=TranslateOptions(
            policies=PolicyRegistry([IngressNginxDialect(settings=ObjectKey("ops", "settings"))])
        ),
    ),
    Reason.POLICY_UNSUPPORTED: case(annotated("ingresskit.dev/load-balancing", "random"), renderer=Caddy()),
    Reason.PROTOCOL_UNSUPPORTED: case(
        ingress("web", path(service="grpc", port=50051)),
        service("grpc", ports=[{"port": 50051, "appProtocol": "kubernetes.io/h2c"}]),
        renderer=Caddy(),
    ),
    Reason.PROXY_REFUSED: case(
        ingress(), endpoints("10.0.0.7"), refused="gen-000002/hosts/0001.conf:12: invalid value"
    ),
    Reason.CHANGE_WAITS: case(ingress(), waits=True),
    Reason.INTERNAL_ERROR: case(
        annotated("broken.test/x", ""), options=TranslateOptions(policies=PolicyRegistry([Broken()]))
    ),
}


def told(wanted: Case) -> list[str]:
    """Every diagnostic of the objects of a case, as a line."""
    objects: list[KubeObject] = []
    problems = [*wanted.problems]
    for item in (*USUAL, *wanted.objects):
        try:
            found = decode_any(item, location="web.yaml, document 1")
        except DecodeError as exc:
            problems.append(exc)
        else:
            assert found is not None, item
            objects.append(found)
    snapshot = Snapshot.of(objects, problems=problems)
    translation = Translator(wanted.options).translate(snapshot, now=NOW)
    restricted = wanted.renderer.restrict(translation.graph)
    quarantine = Quarantine()
    if wanted.refused:
        refusal = Refusal(measure=Withholding.CONTENT, saying=wanted.refused)
        quarantine.add(restricted.graph, dict.fromkeys(parts_by_object(restricted.graph), refusal))
    refused = quarantine.reduce(restricted.graph, None)[1]
    subjects = [("Ingress", ("shop", "web"))] if wanted.waits else []
    waiting = waiting_diagnostics(
        ApplyPostponed("reloaded just now", retry_after=timedelta(seconds=1), subjects=subjects)
    )
    return [str(item) for item in (*translation.diagnostics, *restricted.diagnostics, *refused, *waiting)]


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_the_example_on_the_page_is_what_is_said(reason: Reason) -> None:
    assert EXAMPLES[reason] in told(CASES[reason])


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_one_mistake_is_told_once(reason: Reason) -> None:
    assert sum(f" {reason} " in line for line in told(CASES[reason])) == 1


@pytest.mark.parametrize("cause", ProblemCause, ids=str)
def test_every_cause_of_a_problem_is_a_reason(cause: ProblemCause) -> None:
    assert Reason[cause.name].value == cause.value
