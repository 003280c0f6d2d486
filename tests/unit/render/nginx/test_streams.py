"""Connections that nginx passes on: when it does, and the file that says it."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.graph import Respond, RouteGraph
from ingresskit.models import Snapshot
from ingresskit.render.nginx import Capabilities, Mode, NginxRenderer, NginxSettings
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import translate

_CAPABLE = Capabilities(stream=True, stream_modules=("/modules/ngx_stream_module.so",))
_SETTINGS = NginxSettings(state="/run/ik", https=("0.0.0.0:8443",))
_NEAR = (ipaddress.ip_network("10.0.0.0/8"),)


def _graph(*addresses: str, **annotations: str) -> RouteGraph:
    named = {key.replace("_", "-"): value for key, value in annotations.items()}
    objects = [
        ingress_class(),
        ingress("web", {"a.test": {"/": "one"}}, annotations=named),
        ingress("wild", {"*.b.test": {"/": "one"}}, annotations=named),
        ingress("own", {"own.b.test": {"/": "one"}}, created=2),
        service("one"),
        *([endpoint_slice("one", *addresses)] if addresses else []),
    ]
    return translate(Snapshot.of(objects)).graph


def _file(graph: RouteGraph) -> str:
    renderer = NginxRenderer(_SETTINGS, _CAPABLE, mode=Mode.STATIC)
    artifact = renderer.render(renderer.restrict(graph).graph)
    return "" if artifact.streams is None else artifact.streams.content.decode()


def test_names_lead_to_the_sockets_of_their_hosts_and_others_to_where_tls_ends() -> None:
    text = _file(_graph("10.0.0.1", tls_passthrough="true"))
    rows = dict(line.strip().rstrip(";").split(" ", 1) for line in text.splitlines() if ".sock" in line)

    assert rows["default"] == rows["own.b.test"] == "unix:/run/ik/passed-not.sock"
    assert rows["a.test"] == rows["a.test."] != rows["default"]
    assert "server 10.0.0.1:8080 max_fails=1 fail_timeout=2s;" in text
    assert "listen 0.0.0.0:8443;" in text


def test_other_graphs_pay_for_nothing() -> None:
    renderer = NginxRenderer(_SETTINGS, _CAPABLE, mode=Mode.STATIC)
    graph = _graph("10.0.0.1")
    artifact = renderer.render(renderer.restrict(graph).graph)

    assert artifact.streams is None
    assert b"include streams.conf" not in artifact.main.content
    assert artifact == NginxRenderer(_SETTINGS, mode=Mode.STATIC).render(graph)


def test_host_without_endpoints_is_closed_in_the_file() -> None:
    text = _file(_graph(tls_passthrough="true"))

    assert text.count('return "";') == 2
    assert "upstream ik_" not in text


@pytest.mark.parametrize(
    ("settings", "capabilities", "words"),
    [
        pytest.param(_SETTINGS, Capabilities(), "libnginx-mod-stream", id="no module"),
        pytest.param(
            replace(_SETTINGS, trusted_proxies=_NEAR, proxy_protocol=True),
            _CAPABLE,
            "PROXY",
            id="PROXY headers",
        ),
        pytest.param(replace(_SETTINGS, trusted_proxies=_NEAR), _CAPABLE, "dynamic", id="trusted proxies"),
    ],
)
def test_host_is_closed_where_nginx_cannot_pass_it_on(
    settings: NginxSettings, capabilities: Capabilities, words: str
) -> None:
    renderer = NginxRenderer(settings, capabilities, mode=Mode.STATIC)
    restricted = renderer.restrict(_graph("10.0.0.1", tls_passthrough="true"))
    told = [item for item in restricted.diagnostics if item.field.endswith("tls-passthrough]")]

    assert {item.reason for item in told} == {Reason.POLICY_UNSUPPORTED}
    assert all(words in item.message for item in told)
    host = restricted.graph.by_host["a.test"]
    assert host.stream is None
    assert all(isinstance(route.action, Respond) for route in host.routes)
    assert renderer.render(restricted.graph).streams is None
