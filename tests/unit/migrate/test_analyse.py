"""Every value that ingress-nginx is told has an outcome, and the flags to run with follow."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ingresskit.migrate import FLAGS, Analysis, ControllerFlags, Finding, Outcome, analyse, read_flags
from ingresskit.models import ConfigMap, Ingress, KubeObject, ObjectKey, ObjectMeta, Secret
from ingresskit.testing import ingress, service

_NGINX = "nginx.ingress.kubernetes.io"


def web(name: str = "web", host: str = "shop.test", namespace: str = "a", **annotations: str) -> Ingress:
    notes = {f"{_NGINX}/{name.replace('_', '-')}": value for name, value in annotations.items()}
    return ingress(name, {host: {"/": "web"}}, namespace=namespace, ingress_class="nginx", annotations=notes)


def settings(data: Mapping[str, str]) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(namespace="edge", name="conf"), data=data)


def found_of(analysis: Analysis, name: str) -> Finding:
    (found,) = [item for item in analysis.findings if item.name == name]
    return found


@pytest.mark.parametrize(
    ("name", "value", "outcome"),
    [
        ("ssl-redirect", "false", Outcome.SAME),
        ("proxy-body-size", "8m", Outcome.SAME),
        ("proxy-body-size", "huge", Outcome.DIFFERENT),
        ("proxy-buffer-size", "8k", Outcome.SAME),
        ("http2-push-preload", "true", Outcome.SAME),
        ("no-such-annotation", "x", Outcome.UNNEEDED),
        ("configuration-snippet", "deny all;", Outcome.LOST),
        ("whitelist-source-range", "nonsense", Outcome.LOST),
        ("auth-secret", "users", Outcome.UNKNOWN),
    ],
)
def test_each_value_of_an_annotation_has_an_outcome(name: str, value: str, outcome: Outcome) -> None:
    more = {"auth-type": "basic"} if name == "auth-secret" else {}
    notes = {key.replace("-", "_"): text for key, text in {name: value, **more}.items()}

    assert found_of(analyse([web(**notes)]), name).outcome is outcome


def test_what_is_lost_has_a_request_that_it_concerns() -> None:
    found = found_of(analyse([web(configuration_snippet="deny all;")]), "configuration-snippet")

    assert found.example is not None
    assert (found.example.host, found.example.path) == ("shop.test", "/")


def test_ingress_whose_routes_close_is_named() -> None:
    closing = web("closing", configuration_snippet="deny all;")

    assert list(analyse([closing, web()]).closed) == [closing.ref]


def test_ingresses_of_another_class_are_not_judged() -> None:
    other = ingress("other", {"b.test": {"/": "web"}}, annotations={f"{_NGINX}/nonsense": "x"})

    found = analyse([other, web()])

    assert (found.ingresses, found.ours) == (2, 1)
    assert found.by_annotation() == {}


def test_keys_of_the_configmap_are_judged() -> None:
    flags = read_flags(["--configmap=$(POD_NAMESPACE)/conf"], "edge")
    found = analyse([settings({"hsts": "false", "no-such-key": "1"}), web()], flags)

    assert found_of(found, "hsts").outcome is Outcome.SAME
    assert found_of(found, "no-such-key").outcome is Outcome.LOST


def test_a_configmap_that_was_not_given_is_proposed_and_said_to_be_unjudged() -> None:
    found = analyse([web()], read_flags(["--configmap=edge/conf"]))

    assert ["not judged" in item.why for item in found.proposals if item.flag.startswith("--configmap")] == [
        True
    ]


def test_flags_become_flags() -> None:
    words = [
        "/nginx-ingress-controller",
        "--publish-status-address=192.0.2.1,192.0.2.2",
        "--ingress-class",
        "edge",
    ]
    words += ["--enable-ssl-passthrough", "--v=2", "--made-up"]
    found = analyse([], read_flags(words))

    assert {"--publish-address 192.0.2.1", "--publish-address 192.0.2.2", "--ingress-class edge"} <= {
        item.flag for item in found.proposals
    }
    assert "--enable-ssl-passthrough" in {item.flag for item in found.proposals}
    assert found_of(found, "v").outcome is Outcome.UNNEEDED
    assert found_of(found, "made-up").outcome is Outcome.UNNEEDED


def test_hosts_that_namespaces_share_ask_for_shared_ownership() -> None:
    found = analyse([web(namespace="a"), web(namespace="b"), web("own", "b.test")])

    (proposal,) = [item for item in found.proposals if "host-ownership" in item.flag]
    assert proposal.flag == "--host-ownership shared"
    assert "shop.test" in proposal.why
    assert "b.test" not in proposal.why


def test_a_secret_that_is_given_is_no_longer_unknown() -> None:
    objects: list[KubeObject] = [web(auth_type="basic", auth_secret="users")]
    objects.append(
        Secret(
            metadata=ObjectMeta(namespace="a", name="users"),
            data={"auth": b"u:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs="},
        )
    )

    assert found_of(analyse(objects), "auth-secret").outcome is Outcome.SAME


def test_counts_are_those_of_the_findings() -> None:
    found = analyse([web(ssl_redirect="false"), web("two", configuration_snippet="x;")])

    assert sum(found.counts().values()) == len(found.findings)
    assert found.by_annotation()["ssl-redirect"] == {Outcome.SAME: 1}
    assert found.by_namespace()["a"][Outcome.LOST] == 1
    assert not found.clean
    assert analyse([web(ssl_redirect="false")]).clean


def test_the_prefix_of_the_flags_counts() -> None:
    flags = ControllerFlags(values={"annotations-prefix": "edge.example"})
    moved = ingress(
        "web",
        {"a.test": {"/": "web"}},
        ingress_class="nginx",
        annotations={"edge.example/ssl-redirect": "false"},
    )

    assert found_of(analyse([moved], flags), "ssl-redirect").outcome is Outcome.SAME
    assert ControllerFlags(values={"configmap": "broken"}).configmap is None
    assert ControllerFlags(values={"configmap": "a/b"}).configmap == ObjectKey("a", "b")


def streams(name: str, **entries: str) -> ConfigMap:
    data = {port.removeprefix("p"): value for port, value in entries.items()}
    return ConfigMap(metadata=ObjectMeta(namespace="edge", name=name), data=data)


def test_entries_of_tcp_and_udp_services_are_judged_one_by_one() -> None:
    flags = read_flags(["--tcp-services-configmap=edge/tcp", "--udp-services-configmap=edge/udp"])
    tcp = streams("tcp", p9000="a/web:80", p9001="a/gone:80:PROXY", p9002="nonsense", p70000="a/web:80")
    udp = streams("udp", p53="a/web:53")

    found = {
        (item.subject.key.name, item.name): item
        for item in analyse([tcp, udp, service("web", namespace="a")], flags).findings
        if item.subject.kind == "ConfigMap"
    }

    assert found["udp", "53"].outcome is Outcome.LOST
    assert "give UDP port 53 a Service of type LoadBalancer" in found["udp", "53"].message
    built = not FLAGS["tcp-services-configmap"].lost
    assert found["tcp", "9000"].outcome is (Outcome.SAME if built else Outcome.LOST)
    assert found["tcp", "9001"].outcome is (Outcome.UNKNOWN if built else Outcome.LOST)
    assert found["tcp", "9002"].outcome is found["tcp", "70000"].outcome is Outcome.UNNEEDED
    assert "'nonsense' is not NAMESPACE/SERVICE:PORT" in found["tcp", "9002"].message


def test_a_configmap_of_services_that_was_not_given_is_unknown() -> None:
    flags = read_flags(["--tcp-services-configmap=edge/tcp"])

    (found,) = [item for item in analyse([], flags).findings if item.subject.kind == "ConfigMap"]

    assert found.outcome is Outcome.UNKNOWN
    assert found.message == "--tcp-services-configmap names it, and it was not given"
