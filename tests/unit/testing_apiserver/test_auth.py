"""Who may do what, and what the others are told."""

from __future__ import annotations

import http.client
import ssl
from contextlib import closing
from pathlib import Path

import pytest

from ingresskit.testing import pace
from ingresskit.testing.apiserver import ApiServer, Manifest, Rule
from ingresskit.testing.apiserver.calls import call
from tests.unit.testing_apiserver.samples import ALL_INGRESSES, INGRESSES, ingress

SECONDS = pace.within(10)

READER = Rule(verbs=["get", "list"], groups=["networking.k8s.io"], resources=["ingresses"])


def test_an_unknown_token_is_401(server: ApiServer) -> None:
    answer = call(server, "GET", INGRESSES, token="made-up")

    assert answer.status == 401
    assert answer.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Unauthorized",
        "reason": "Unauthorized",
        "code": 401,
    }


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (
            ALL_INGRESSES,
            """ingresses.networking.k8s.io is forbidden: User "eve" cannot list resource "ingresses" \
in API group "networking.k8s.io" at the cluster scope""",
        ),
        (
            "/api/v1/namespaces/shop/secrets/tls",
            """secrets "tls" is forbidden: User "eve" cannot get resource "secrets" \
in API group "" in the namespace "shop\"""",
        ),
        (f"{ALL_INGRESSES}?watch=1", 'ingresses.networking.k8s.io is forbidden: User "eve" cannot watch '),
        ("/metrics", 'forbidden: User "eve" cannot get path "/metrics"'),
    ],
    ids=["a list everywhere", "one object", "a watch", "no resource"],
)
def test_what_is_not_allowed_is_403_in_the_words_of_rbac(server: ApiServer, path: str, sentence: str) -> None:
    answer = call(server, "GET", path, token=server.token_for("eve", []))

    assert (answer.status, answer.json["reason"]) == (403, "Forbidden")
    assert answer.json["message"].startswith(sentence)


def test_nobody_may_do_nothing_but_see_that_it_lives(server: ApiServer) -> None:
    assert call(server, "GET", "/readyz", token="").body == b"ok"
    assert call(server, "GET", INGRESSES, token="").status == 403


def test_rules_count_from_the_next_request_on(server: ApiServer) -> None:
    token = server.token_for("eve", [READER])
    assert call(server, "GET", ALL_INGRESSES, token=token).status == 200

    server.users.set_rules("eve", [])
    revoked = call(server, "GET", ALL_INGRESSES, token=token).status
    server.users.set_rules("eve", [READER])

    assert revoked == 403
    assert call(server, "GET", ALL_INGRESSES, token=token).status == 200


def test_rules_are_limited_to_namespaces_names_and_subresources(server: ApiServer) -> None:
    server.load([ingress("web", namespace="shop"), ingress("web", namespace="other")])
    rules = [
        Rule(
            verbs=["get"],
            groups=["networking.k8s.io"],
            resources=["ingresses"],
            names=["web"],
            namespaces=["shop"],
        ),
        Rule(verbs=["patch"], groups=["networking.k8s.io"], resources=["ingresses/status"]),
    ]
    token = server.token_for("eve", rules)
    shop = "/apis/networking.k8s.io/v1/namespaces/shop/ingresses"

    def status(method: str, path: str, body: Manifest | None = None) -> int:
        return call(server, method, path, body, token=token).status

    assert status("GET", f"{shop}/web") == 200
    assert status("GET", f"{shop}/other") == 403
    assert status("GET", shop) == 403
    assert status("GET", "/apis/networking.k8s.io/v1/namespaces/other/ingresses/web") == 403
    assert status("PATCH", f"{shop}/web/status", {"status": {}}) == 200
    assert status("PATCH", f"{shop}/web", {"metadata": {"labels": {"a": "b"}}}) == 403


def test_a_rule_with_names_covers_lists_that_select_the_name(server: ApiServer) -> None:
    rule = Rule(verbs=["list"], groups=[""], resources=["secrets"], names=["tls"])
    token = server.token_for("eve", [rule])

    one = call(
        server, "GET", "/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Dtls", token=token
    )

    assert one.status == 200
    assert call(server, "GET", "/api/v1/namespaces/default/secrets", token=token).status == 403


def test_a_revoked_token_is_401_and_a_new_one_is_the_same_user(server: ApiServer) -> None:
    old = server.token_for("eve", [READER])
    new = server.users.token_for("eve")

    server.users.revoke(old)

    assert call(server, "GET", ALL_INGRESSES, token=old).status == 401
    assert call(server, "GET", ALL_INGRESSES, token=new).status == 200


def test_users_can_ask_what_they_may_do(server: ApiServer) -> None:
    token = server.token_for("eve", [READER])
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

    def allowed(verb: str) -> bool:
        wanted = {"verb": verb, "group": "networking.k8s.io", "resource": "ingresses"}
        return bool(
            call(server, "POST", path, {"spec": {"resourceAttributes": wanted}}, token=token).json["status"][
                "allowed"
            ]
        )

    assert (allowed("list"), allowed("delete")) == (True, False)


def test_a_client_certificate_names_its_user(tmp_path: Path) -> None:
    with ApiServer.in_thread(tls=True) as server:
        pair = server.client_certificate("eve")
        (tmp_path / "eve.pem").write_bytes(pair.certificate + pair.key)
        context = ssl.create_default_context(cadata=server.ca.decode())
        context.load_cert_chain(tmp_path / "eve.pem")

        server.users.set_rules("eve", [READER])
        port = int(server.url.rpartition(":")[2])
        with closing(
            http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=SECONDS)
        ) as connection:
            connection.request("GET", ALL_INGRESSES)
            assert connection.getresponse().status == 200

        assert server.requests.select(verb="list")[0].user == "eve"


def test_an_authority_can_be_replaced_while_the_server_runs() -> None:
    with ApiServer.in_thread(tls=True) as server:
        old = server.ca
        assert call(server, "GET", "/version").status == 200

        new = server.rotate_authority()

        assert new != old
        assert new == server.ca
        assert call(server, "GET", "/version").status == 200
        context = ssl.create_default_context(cadata=old.decode())
        port = int(server.url.rpartition(":")[2])
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=SECONDS)
        with closing(connection), pytest.raises(ssl.SSLCertVerificationError):
            connection.connect()


def test_only_a_server_with_tls_has_certificates(server: ApiServer) -> None:
    assert server.ca == b""
    with pytest.raises(RuntimeError, match="tls=True"):
        server.client_certificate("eve")
    with pytest.raises(RuntimeError, match="tls=True"):
        server.rotate_authority()


def test_a_kubeconfig_is_for_its_owner_only(server: ApiServer, tmp_path: Path) -> None:
    path = server.kubeconfig(tmp_path / "config", token="abc")

    assert path.stat().st_mode & 0o077 == 0
    assert '"token": "abc"' in path.read_text(encoding="utf-8")
