"""The reference controller on a cluster: what is changed there is served, whatever the API server does."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from ingresskit.testing.apiserver import (
    Action,
    Answer,
    ApiServer,
    CloseWatch,
    Cut,
    Fault,
    Match,
    SendLines,
    expired,
)
from tests.features.cluster_scene import (
    LOOPBACK,
    Pod,
    certificate,
    fingerprint,
    ingress,
    ingress_class,
    served_fingerprint,
    service,
    slice_of,
)
from tests.features.reference_process import ReferenceController, wait_until


@pytest.fixture
def server() -> Generator[ApiServer]:
    with ApiServer.in_thread(tls=True, bookmark_seconds=0.5) as running:
        yield running


@pytest.fixture
def pod() -> Iterator[Pod]:
    with Pod("first") as running:
        yield running


@contextmanager
def controller(server: ApiServer, folder: Path, *flags: str) -> Generator[ReferenceController]:
    with ReferenceController("--kubeconfig", server.kubeconfig(folder / "config"), LOOPBACK, *flags) as running:
        yield running


def answers(running: ReferenceController, host: str, text: str) -> None:
    """Return once *host* answers that."""
    wait_until(lambda: running.get(host).text == text)


def gone(running: ReferenceController, host: str) -> None:
    wait_until(lambda: running.get(host).status == 404)


def populate(server: ApiServer, pod: Pod) -> None:
    server.load([ingress_class(), service(), slice_of(port=pod.port), ingress("a")])


def test_what_is_made_changed_and_deleted_is_served(server: ApiServer, pod: Pod, tmp_path: Path) -> None:
    with controller(server, tmp_path) as running, Pod("second") as second:
        running.wait_ready()
        assert running.get("a.example").status == 404

        populate(server, pod)
        answers(running, "a.example", "first")

        server.put(slice_of(port=second.port))
        answers(running, "a.example", "second")

        server.put(ingress("a", host="b.example"))
        answers(running, "b.example", "second")
        gone(running, "a.example")

        server.delete("networking.k8s.io/v1", "Ingress", "a", "shop")
        gone(running, "b.example")
        assert running.stop() == 0


def test_a_certificate_is_shown_and_its_successor_too(server: ApiServer, pod: Pod, tmp_path: Path) -> None:
    populate(server, pod)
    server.load([certificate("tls", "s.example"), ingress("s", tls="tls")])
    with controller(server, tmp_path) as running:
        running.wait_ready()
        port = int(str(running.wait_record("serving")["https"]).rpartition(":")[2])
        assert served_fingerprint(port, "s.example") == fingerprint("s.example")
        server.put(certificate("tls", "s.example", salt="next"))
        wait_until(lambda: served_fingerprint(port, "s.example") == fingerprint("s.example", salt="next"))


def test_an_api_server_that_is_down_at_first_is_waited_for(server: ApiServer, pod: Pod, tmp_path: Path) -> None:
    populate(server, pod)
    server.refuse_connections()
    with controller(server, tmp_path) as running:
        wait_until(lambda: "waiting for the cluster" in running.admin("/readyz").text)
        assert running.admin("/readyz").status == 503
        assert running.admin("/healthz").status == 200
        server.accept_connections()
        running.wait_ready()
        assert running.get("a.example").text == "first"
    assert server.requests.busiest(1.0, resource="ingresses") <= 4


def test_what_was_served_is_served_while_the_api_server_is_away(
    server: ApiServer, pod: Pod, tmp_path: Path
) -> None:
    populate(server, pod)
    with controller(server, tmp_path) as running:
        running.wait_ready()
        server.refuse_connections()
        running.wait_record("not following the server")
        assert running.get("a.example").text == "first"
        assert (running.admin("/readyz").status, running.admin("/healthz").status) == (200, 200)
        wait_until(lambda: all(cache["error"] for cache in caches(running)))
        server.put(ingress("b"))
        server.delete("networking.k8s.io/v1", "Ingress", "a", "shop")
        server.accept_connections()
        answers(running, "b.example", "first")
        gone(running, "a.example")
        wait_until(lambda: not any(cache["error"] for cache in caches(running)))


def caches(running: ReferenceController) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", running.admin("/api/status").json["caches"])


FAULTS: dict[str, Action] = {
    "closed": CloseWatch(after_events=0),
    "cut in a line": Cut(inside="line"),
    "gone, as an event": SendLines.error(expired("too old")),
    "gone, as an answer": Answer.of(expired("too old")),
    "a page of HTML": Answer.html(502),
}


@pytest.mark.parametrize("name", FAULTS)
def test_no_fault_of_a_watch_loses_a_change(name: str, server: ApiServer, pod: Pod, tmp_path: Path) -> None:
    populate(server, pod)
    with controller(server, tmp_path) as running:
        running.wait_ready()
        server.faults.add(Fault(action=FAULTS[name], match=Match(verbs=["watch"]), count=4))
        server.drop_connections()
        server.put(ingress("b"))
        server.delete("networking.k8s.io/v1", "Ingress", "a", "shop")
        answers(running, "b.example", "first")
        gone(running, "a.example")


def test_history_that_was_compacted_while_nobody_looked_is_made_up_for(
    server: ApiServer, pod: Pod, tmp_path: Path
) -> None:
    populate(server, pod)
    with controller(server, tmp_path) as running:
        running.wait_ready()
        server.refuse_connections()
        running.wait_record("not following the server")
        server.put(ingress("b"))
        server.delete("networking.k8s.io/v1", "Ingress", "a", "shop")
        server.compact()
        server.accept_connections()
        answers(running, "b.example", "first")
        gone(running, "a.example")


def test_a_token_that_is_replaced_is_read_again(server: ApiServer, pod: Pod, tmp_path: Path) -> None:
    populate(server, pod)
    former = server.token_for("someone", server.users.rules("test-admin"))
    server.kubeconfig(tmp_path / "config", token=former)
    with ReferenceController("--kubeconfig", tmp_path / "config", LOOPBACK) as running:
        running.wait_ready()
        server.kubeconfig(tmp_path / "config", token=server.users.token_for("someone"))
        server.users.revoke(former)
        server.drop_connections()
        server.put(ingress("b"))
        answers(running, "b.example", "first")
        assert not [record for record in server.requests if record.status == 401]


def test_an_authority_that_is_replaced_is_read_again(server: ApiServer, pod: Pod, tmp_path: Path) -> None:
    populate(server, pod)
    with controller(server, tmp_path) as running:
        running.wait_ready()
        server.rotate_authority()
        server.drop_connections()
        running.wait_record("not following the server")
        server.put(ingress("b"))
        server.kubeconfig(tmp_path / "config")
        answers(running, "b.example", "first")


def test_a_right_that_is_revoked_and_given_back_costs_nothing_that_was_served(
    server: ApiServer, pod: Pod, tmp_path: Path
) -> None:
    populate(server, pod)
    everything = server.users.rules("test-admin")
    token = server.token_for("someone", everything)
    config = server.kubeconfig(tmp_path / "config", token=token)
    with ReferenceController("--kubeconfig", config, LOOPBACK) as running:
        running.wait_ready()
        server.users.set_rules("someone", ())
        server.drop_connections()
        wait_until(lambda: "is missing" in running.admin("/api/diagnostics").text)
        assert running.get("a.example").text == "first"
        assert (running.admin("/readyz").status, running.admin("/healthz").status) == (200, 200)
        server.put(ingress("b"))
        server.users.set_rules("someone", everything)
        answers(running, "b.example", "first")
        wait_until(lambda: "is missing" not in running.admin("/api/diagnostics").text)


def test_a_namespace_is_followed_by_requests_in_it_alone(server: ApiServer, pod: Pod, tmp_path: Path) -> None:
    populate(server, pod)
    server.load([ingress("x", namespace="other"), service(namespace="other")])
    with controller(server, tmp_path, "--watch-namespace=shop") as running:
        running.wait_ready()
        assert running.get("a.example").text == "first"
        assert running.get("x.example").status == 404
    wide = {record.resource for record in server.requests if record.resource and not record.namespace}
    # Namespaces, for what administrators let them claim.
    assert wide == {"ingressclasses", "namespaces"}
    own = ("configmaps", "leases")  # of the controller itself: who holds which host, and who leads
    asked = {(record.resource, record.namespace) for record in server.requests if record.namespace}
    assert {namespace for resource, namespace in asked if resource not in own} == {"shop"}


def test_one_namespace_may_have_the_default_backend_and_certificate_of_all(
    server: ApiServer, pod: Pod, tmp_path: Path
) -> None:
    server.load([ingress_class(), ingress("a"), service("lost", namespace="infra")])
    server.load([slice_of("lost", port=pod.port, namespace="infra")])
    server.load([{**certificate("wild", "any.example", namespace="infra"), "type": "Opaque"}])
    flags = ["--watch-namespace=shop", "--default-backend-service=infra/lost"]
    with controller(server, tmp_path, *flags, "--default-ssl-certificate=infra/wild") as running:
        running.wait_ready()
        answers(running, "unknown.example", "first")
        port = int(str(running.wait_record("serving")["https"]).rpartition(":")[2])
        wait_until(lambda: served_fingerprint(port, "unknown.example") == fingerprint("any.example"))


def leads(running: ReferenceController) -> bool:
    leader = cast("dict[str, object]", running.admin("/api/status").json["leader"])
    return leader["leading"] is True


def test_of_two_replicas_both_serve_and_one_writes_until_it_ends(
    server: ApiServer, pod: Pod, tmp_path: Path
) -> None:
    populate(server, pod)
    flag = "--publish-address=192.0.2.1"
    with controller(server, tmp_path, flag) as first, controller(server, tmp_path, flag) as second:
        first.wait_ready()
        second.wait_ready()
        wait_until(lambda: leads(first) or leads(second))
        assert not (leads(first) and leads(second))
        leader, other = (first, second) if leads(first) else (second, first)
        wait_until(lambda: addresses(server, "a") == ["192.0.2.1"])
        assert other.get("a.example").text == "first"
        assert leader.stop() == 0
        wait_until(lambda: leads(other))
        server.put(ingress("b"))
        wait_until(lambda: addresses(server, "b") == ["192.0.2.1"])
        assert addresses(server, "a") == ["192.0.2.1"]


def test_the_addresses_of_a_service_are_published(server: ApiServer, pod: Pod, tmp_path: Path) -> None:
    populate(server, pod)
    front = service("front", namespace="infra")
    front["spec"] = {"ports": [{"port": 80}], "externalIPs": ["198.51.100.7"]}
    server.load([front])
    flags = ["--publish-service=infra/front", "--no-leader-election", "--watch-namespace=shop"]
    with controller(server, tmp_path, *flags) as running:
        running.wait_ready()
        wait_until(lambda: addresses(server, "a") == ["198.51.100.7"])
        front["spec"] = {"ports": [{"port": 80}], "externalIPs": ["198.51.100.8"]}
        server.put(front)
        wait_until(lambda: addresses(server, "a") == ["198.51.100.8"])
    assert not [record for record in server.requests if record.resource == "leases"]


def test_without_an_address_the_status_is_left_alone(server: ApiServer, pod: Pod, tmp_path: Path) -> None:
    populate(server, pod)
    with controller(server, tmp_path) as running:
        running.wait_ready()
        server.put(ingress("c", service="nowhere"))
        wait_until(lambda: bool(server.list("events.k8s.io/v1", "Event", "shop")))
    assert addresses(server, "a") == []
    assert not [record for record in server.requests if record.subresource == "status"]


def addresses(server: ApiServer, name: str) -> list[str]:
    """Those in the status of an Ingress."""
    status = server.get("networking.k8s.io/v1", "Ingress", name, "shop").get("status", {})
    return [str(item["ip"]) for item in status.get("loadBalancer", {}).get("ingress", [])]


def test_a_signal_ends_it_also_while_it_waits_for_the_cluster(server: ApiServer, tmp_path: Path) -> None:
    server.refuse_connections()
    with controller(server, tmp_path) as running:
        wait_until(lambda: running.admin("/readyz").status == 503)
        assert running.stop(signal.SIGTERM) == 0


def test_without_a_kubeconfig_it_says_what_to_give(tmp_path: Path) -> None:
    with ReferenceController("--kubeconfig", tmp_path / "none") as running:
        assert running.wait() == 1
    (line,) = running.log.seen
    assert line.startswith("reference_controller.py: no cluster: ")
    assert str(tmp_path / "none") in line
    assert "--manifests DIR" in line


def test_how_following_goes_is_in_the_metrics_and_the_status(
    server: ApiServer, pod: Pod, tmp_path: Path
) -> None:
    populate(server, pod)
    with controller(server, tmp_path) as running:
        running.wait_ready()
        text = running.admin("/metrics").text
        assert 'ingresskit_cluster_cache_objects{cache="Ingress"} 1.0' in text
        assert 'ingresskit_cluster_cache_last_contact_seconds{cache="Ingress"}' in text
        (held,) = [cache for cache in caches(running) if cache["kind"] == "Ingress"]
        assert (held["objects"], held["state"], held["error"]) == (1, "watching", None)
        assert isinstance(held["lastContactSeconds"], float)
        wait_until(lambda: leads(running))
