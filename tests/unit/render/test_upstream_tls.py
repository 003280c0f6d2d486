"""What HAProxy and nginx in its static mode are told of TLS with endpoints."""

from __future__ import annotations

import pytest

from ingresskit.graph import RouteGraph
from ingresskit.models import KubeObject, Snapshot
from ingresskit.render.delegate import DelegatingRenderer
from ingresskit.render.haproxy import HaproxyRenderer, server_words
from ingresskit.render.haproxy.files import certificate_files
from ingresskit.render.nginx import Capabilities, Mode, NginxRenderer, NginxSettings
from ingresskit.testing import (
    ca_secret,
    endpoint_slice,
    ingress,
    ingress_class,
    make_authority,
    service,
    tls_secret,
)
from ingresskit.translate import translate

CA, OURS = make_authority("CA"), make_authority("Ours")
SETTINGS = NginxSettings(state="/run/ik", http=("0.0.0.0:8080",), https=("0.0.0.0:8443",))
SHOWN = OURS.issue("gateway")


def graph_of(**said: str) -> RouteGraph:
    """One route to HTTPS endpoints, with annotations ``upstream_tls_…``."""
    annotations = {name.replace("_", "-"): value for name, value in said.items()}
    objects: list[KubeObject] = [
        ingress_class(),
        ingress("x", {"shop.test": {"/": "web"}}, annotations={"upstream-protocol": "https", **annotations}),
        service("web"),
        endpoint_slice("web", "10.0.0.1"),
        ca_secret(CA, client=SHOWN),
        tls_secret("shop.test"),
    ]
    return translate(Snapshot.of(objects)).graph


def words_of(graph: RouteGraph) -> str:
    (backend,) = HaproxyRenderer().render(graph).backends.values()
    return " ".join(server_words(backend.servers[0]))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        pytest.param({}, "ssl verify none ssl-min-ver TLSv1.2 sni var(txn.server_name)", id="nothing"),
        pytest.param({"upstream_tls_name": "pods.example"}, "sni str(pods.example)", id="a name"),
        pytest.param({"upstream_tls_versions": "1.3"}, "ssl-min-ver TLSv1.3 ssl-max-ver TLSv1.3", id="1.3"),
        pytest.param({"upstream_tls_versions": "1.2"}, "ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2", id="1.2"),
        pytest.param({"upstream_tls_ciphers": "AES128-SHA:HIGH"}, "ciphers AES128-SHA:HIGH", id="ciphers"),
    ],
)
def test_haproxy_is_told_in_the_words_of_a_server(said: dict[str, str], words: str) -> None:
    assert words in words_of(graph_of(**said))


def test_haproxy_sends_no_name_where_none_is_wanted() -> None:
    assert " sni " not in words_of(graph_of(upstream_tls_send_name="false", upstream_tls_name="pods.example"))


def test_haproxy_gets_the_certificate_that_endpoints_are_shown_as_a_secret_file() -> None:
    artifact = HaproxyRenderer().render(graph_of(upstream_tls_client_secret="ca", upstream_tls_verify="false"))

    (identity,) = artifact.identities.values()
    (backend,) = artifact.backends.values()
    files = {str(file.path): file for file in certificate_files(artifact, b"")}
    assert f"crt {identity.path}" in " ".join(server_words(backend.servers[0]))
    assert SHOWN.chain in files[identity.path].content
    assert b"PRIVATE KEY" in files[identity.path].content
    assert files[identity.path].secret
    assert "PRIVATE" not in repr(artifact)


def test_certificate_that_no_server_is_shown_is_not_there() -> None:
    renderer = HaproxyRenderer()
    graph = graph_of(upstream_tls_client_secret="ca", upstream_tls_verify="false")
    shown = renderer.render(graph)
    again = renderer.render(graph_of(upstream_tls_client_secret="ca", upstream_tls_verify="false"))
    gone = renderer.render(graph_of(upstream_tls_name="pods.example"))

    assert len(shown.identities) == 1
    assert again.identities is shown.identities
    assert not gone.identities


def test_haproxy_leaves_endpoints_that_must_be_verified_to_the_delegate() -> None:
    renderer = DelegatingRenderer(HaproxyRenderer(), "/run/ik.sock")
    open_, verified = (
        renderer.render(renderer.restrict(graph_of(**said)).graph)
        for said in ({"upstream_tls_name": "a.example"}, {"upstream_tls_ca_secret": "ca"})
    )

    assert not open_.table.hosts
    assert set(verified.table.hosts) == {"shop.test"}


def static(graph: RouteGraph) -> tuple[str, dict[str, bytes], set[str]]:
    """The file of the host, the files of authorities, and the ids of certificates."""
    artifact = NginxRenderer(SETTINGS, Capabilities(), mode=Mode.STATIC).render(graph)
    files = {path: file.content for path, file in artifact.authorities.items()}
    return artifact.hosts["shop.test"].content.decode(), files, set(artifact.certificates)


def test_nginx_verifies_by_the_directives_of_a_location() -> None:
    text, files, _ = static(graph_of(upstream_tls_ca_secret="ca", upstream_tls_depth="3"))

    ((path, content),) = files.items()
    assert content == CA.certificate
    assert "proxy_ssl_verify on;" in text
    assert "proxy_ssl_verify_depth 3;" in text
    assert f"proxy_ssl_trusted_certificate {path};" in text
    assert 'proxy_ssl_name "web.default.svc";' in text
    assert "proxy_ssl_crl" not in text


def test_nginx_says_the_name_of_the_policy_once_whatever_host_is_sent() -> None:
    text, _, _ = static(graph_of(upstream_tls_name="pods.example", upstream_host="inner.example"))

    assert text.count("proxy_ssl_name ") == text.count("proxy_pass ")
    assert 'proxy_ssl_name "pods.example";' in text
    assert "inner.example" in text
    assert 'proxy_ssl_name "inner.example"' not in text


def test_nginx_reads_the_certificate_that_endpoints_are_shown_where_all_certificates_lie() -> None:
    text, _, ids = static(graph_of(upstream_tls_client_secret="ca", upstream_tls_verify="false"))

    (shown,) = (item for item in ids if item.startswith("shown-"))
    assert f"proxy_ssl_certificate /run/ik/certificates/{shown}/tls.pem;" in text
    assert "PRIVATE" not in text


def test_a_file_that_no_location_names_is_gone() -> None:
    renderer = NginxRenderer(SETTINGS, Capabilities(), mode=Mode.STATIC)
    before = renderer.render(graph_of(upstream_tls_ca_secret="ca", upstream_tls_client_secret="ca"))
    after = renderer.render(graph_of())

    assert before.authorities
    assert any(item.startswith("shown-") for item in before.certificates)
    assert not after.authorities
    assert not any(item.startswith("shown-") for item in after.certificates)
