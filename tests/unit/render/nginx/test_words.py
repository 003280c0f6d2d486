"""Words of nginx's files that no other fast test looks at: of listeners, rewrites, and the dynamic mode."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from ingresskit.graph import RouteGraph
from ingresskit.models import KubeObject, Snapshot
from ingresskit.policies.values import parse_networks
from ingresskit.render.nginx import Capabilities, Mode, NginxArtifact, NginxRenderer, NginxSettings
from ingresskit.render.nginx.dynamic.main import dynamic_main
from ingresskit.render.nginx.dynamic.program import program_settings
from ingresskit.render.nginx.dynamic.rows import certificate_row
from ingresskit.render.nginx.tree import Block, Directive, Value, Variable
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service, tls_secret
from ingresskit.translate import translate

SETTINGS = NginxSettings(state="/run/ik", http=("0.0.0.0:80",), https=("0.0.0.0:443",))


def graph_of(*more: KubeObject) -> RouteGraph:
    world = [ingress_class(), service("web"), endpoint_slice("web", "10.0.0.1"), *more]
    return translate(Snapshot.of(world)).graph


def rendered(settings: NginxSettings, *more: KubeObject, mode: Mode = Mode.STATIC) -> NginxArtifact:
    renderer = NginxRenderer(settings, Capabilities(lua=mode is Mode.DYNAMIC), mode=mode)
    return renderer.render(renderer.restrict(graph_of(*more)).graph)


def test_every_address_of_clients_reads_the_proxy_protocol_where_it_is_asked_for() -> None:
    settings = replace(SETTINGS, proxy_protocol=True, trusted_proxies=parse_networks("10.0.0.0/8"))
    artifact = rendered(settings, ingress("web", {"a.test": {"/": "web"}, "": {"/": "web"}}))

    lines = [
        line.strip().rstrip(";").split()
        for file in artifact.files()
        for line in file.content.decode().splitlines()
        if line.strip().startswith(("listen 0.0.0.0:80", "listen 0.0.0.0:443"))
    ]
    assert len(lines) >= 4
    assert [words for words in lines if words[-1] != "proxy_protocol"] == []


def test_no_address_of_clients_reads_the_proxy_protocol_unasked() -> None:
    artifact = rendered(SETTINGS, ingress("web", {"a.test": {"/": "web"}}))

    assert not [
        file.path
        for file in artifact.files()
        if b"listen" in file.content and b" proxy_protocol;" in file.content
    ]


def test_a_prefix_before_every_path_keeps_the_whole_path() -> None:
    artifact = rendered(
        SETTINGS, ingress("web", {"a.test": {"/": "web"}}, annotations={"rewrite-prefix": "/v2"})
    )

    (line,) = [
        line.strip()
        for line in artifact.hosts["a.test"].content.decode().splitlines()
        if line.strip().startswith("rewrite ")
    ]
    assert line.split()[1].strip('"') == "^.{0}(?<ik_rest>/.*)$"
    assert line.split()[2].strip('"') == "/v2${ik_rest}"


def test_the_row_of_a_certificate_is_its_chain_and_its_key_as_they_are() -> None:
    rules = ingress("web", {"a.test": {"/": "web"}}, tls={"tls": ["a.test"]})
    graph = graph_of(rules, tls_secret("a.test"))
    (certificate,) = graph.certificates.values()

    row = json.loads(certificate_row(certificate))

    assert row == {"chain": certificate.chain.decode(), "key": certificate.private_key.decode()}


def test_an_octet_that_is_not_ascii_in_a_certificate_costs_no_row() -> None:
    rules = ingress("web", {"a.test": {"/": "web"}}, tls={"tls": ["a.test"]})
    (certificate,) = graph_of(rules, tls_secret("a.test")).certificates.values()
    odd = replace(certificate, chain=b"# \xe9\n" + certificate.chain)

    assert json.loads(certificate_row(odd))["chain"].endswith(certificate.chain.decode())


def test_the_program_is_told_every_setting_of_the_operator() -> None:
    settings = replace(
        SETTINGS,
        trusted_proxies=parse_networks("10.0.0.0/8"),
        proxy_protocol=True,
        access_log="/var/log/ik.log",
        connect_timeout=timedelta(seconds=2),
        read_timeout=timedelta(seconds=3),
        send_timeout=timedelta(milliseconds=4500),
    )

    told = json.loads(program_settings(settings))

    assert {name: told[name] for name in ("proxy_protocol", "log")} == {"proxy_protocol": True, "log": True}
    assert {name: told[name] for name in ("connect", "read", "send")} == {"connect": 2, "read": 3, "send": 4.5}
    assert len(told["trusted"]) == 2


@pytest.mark.parametrize(
    "name",
    ["ik_client", "time_iso8601", "request_method", "ik_log_path", "ik_status", "ik_reason", "ik_request_id"],
)
def test_the_access_log_of_the_dynamic_mode_holds_variables_and_not_their_names(name: str) -> None:
    nodes = dynamic_main(SETTINGS, Capabilities(lua=True))
    (http,) = [node for node in nodes if isinstance(node, Block) and node.name == "http"]
    (form,) = [node for node in http.body if isinstance(node, Directive) and node.name == "log_format"]
    values = [argument for argument in form.args if isinstance(argument, Value)]

    variables = {part.name for value in values for part in value.parts if isinstance(part, Variable)}
    assert name in variables
