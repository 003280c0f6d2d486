"""A switch from ingress-nginx by the commands of ``docs/switching.md``, under load: no request is lost."""

from __future__ import annotations

import re
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import pytest

from ingresskit.models import Ingress
from ingresskit.testing import pace
from ingresskit.testing.apiserver import AnyApiServer
from ingresskit.testing.apiserver.calls import call
from tests.features.cluster_scene import Pod, certificate
from tests.features.reference_process import ReferenceController, wait_until
from tests.features.switch_scene import (
    NEW,
    OLD,
    CertManager,
    Clients,
    Cluster,
    Dns,
    Object,
    OldController,
    create_pod,
    ingress,
)
from tests.old_edge import OldEdge

KUBECTL = shutil.which("kubectl")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "switching.md"
HOSTS = ("plain.test", "other.test")
SECURE = "secure.test"

needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="the commands of the page are kubectl's")


def commands(title: str) -> dict[str, list[str]]:
    """The commands of a section of the page, by the first two of their words: ``"kubectl label"``."""
    section = re.split(rf"^## {re.escape(title)}$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    section = re.split(r"^## ", section, flags=re.MULTILINE)[0]
    found: dict[str, list[str]] = {}
    for line in re.findall(r"^ *\$ (.+)$", section, re.MULTILINE):
        found.setdefault(" ".join(line.split()[:2]), []).append(line)
    return found


class Switch:
    """The cluster, both edges, and the commands of the page as somebody types them here."""

    def __init__(self, server: AnyApiServer, namespace: str, folder: Path, stack: ExitStack) -> None:
        self.namespace = namespace
        self._folder, self._stack = folder, stack
        self._config = server.kubeconfig(folder / "config")
        self.cluster = stack.enter_context(Cluster(server, namespace))
        self.old_class, self.new_class = f"nginx-{namespace}", f"edge-{namespace}"
        # Classes belong to the whole server, on which others may be tested at the same time.
        self._words = {"nginx": self.old_class, "edge": self.new_class}
        for name, controller in (
            (self.old_class, f"k8s.io/ingress-nginx-{namespace}"),
            (self.new_class, f"example.com/edge-{namespace}"),
        ):
            item = {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": name}}
            self.cluster.create({**item, "spec": {"controller": controller}}, "ingressclasses")
        self._pods: dict[str, Pod] = {"web": stack.enter_context(Pod("web", self.cluster.pod_address))}
        create_pod(self.cluster, "web", self._pods["web"].port)
        secret = cast("Object", certificate("cert", SECURE, namespace=namespace))
        self.cluster.create(secret, "secrets")

    def add(self, name: str, host: str, *, tls: bool = False) -> None:
        notes = {"nginx.ingress.kubernetes.io/ssl-redirect": "false"} if not tls else {}
        item = ingress(name, host, "web", self.old_class, tls=tls, annotations=notes)
        self.cluster.create(item, "ingresses")

    def start_old(self) -> OldController:
        def upstream(item: Ingress, path: str) -> str:
            for rule in item.spec.rules:
                for found in rule.http.paths if rule.http is not None else ():
                    if found.path == path and found.backend.service is not None:
                        name = found.backend.service.name
                        answer = call(
                            self.cluster.server,
                            "GET",
                            f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices/{name}-1",
                        )
                        (port,) = cast("list[Object]", answer.json["ports"])
                        return f"{self.cluster.pod_address}:{port['port']}"
            raise KeyError(path)

        self.old = self._stack.enter_context(OldEdge(self._folder / "old", upstream))
        return OldController(self.cluster, self.old, self.old_class)

    def run(self, line: str, *more: str) -> ReferenceController:
        """``ingresskit run`` with the flags of *line*, on free ports."""
        words = shlex.split(line)
        assert words[:2] == ["ingresskit", "run"]
        flags: list[str] = []
        for word in words[2:]:
            known = self._words.get(word, word)
            flags.append(
                f"{known}-{self.namespace}" if "/" in known and flags[-1] == "--controller-name" else known
            )
        more = (
            f"--allow-endpoint={self.cluster.pod_address}/32",
            f"--watch-namespace={self.namespace}",
            "--public-https-port=443",
            *more,
        )
        more += ("--kubeconfig", str(self._config), f"--leader-election-lease={self.namespace}/ingresskit")
        return self._stack.enter_context(ReferenceController(*flags, *more)).wait_ready()

    def type(self, line: str) -> str:
        """A command of kubectl, for the namespace of this test."""
        words = [self.namespace if word == "shop" else word for word in shlex.split(line)]
        if "--all-namespaces" in words:
            words[words.index("--all-namespaces") : words.index("--all-namespaces") + 1] = [
                "-n",
                self.namespace,
            ]
        done = subprocess.run(
            [str(KUBECTL), f"--kubeconfig={self._config}", *words[1:]],
            capture_output=True,
            text=True,
            timeout=pace.within(60),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def ports(running: ReferenceController) -> tuple[tuple[str, int], tuple[str, int]]:
    serving = running.wait_record("serving")
    plain, secure = (int(str(serving[name]).rpartition(":")[2]) for name in ("http", "https"))
    return ("127.0.0.1", plain), ("127.0.0.1", secure)


@pytest.fixture
def switch(api_server: AnyApiServer, tmp_path: Path) -> Iterator[Switch]:
    with ExitStack() as stack:
        name = f"shop-{secrets.token_hex(3)}"
        answer = call(api_server, "POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        assert answer.status == 201, answer
        yield Switch(api_server, name, tmp_path, stack)


@contextmanager
def load(switch: Switch, dns: Dns, clients: Clients) -> Generator[None]:
    """Clients ask all the while; at the end none of them has failed, and no thread either."""
    clients.start()
    yield
    clients.wait_more()
    assert switch.cluster.faults == []
    assert clients.failures == []
    assert all(() not in history[1:] for history in dns.history.values()), dns.history


@needs_kubectl
def test_one_class_is_handed_over_without_a_lost_request_and_back(switch: Switch) -> None:
    page = commands("One class, handed over")
    serving, writing, ending = page["ingresskit run"]
    one_over, one_back, all_over, all_back = page["kubectl label"]
    switch.add("web", HOSTS[0])
    switch.add("other", HOSTS[1])
    switch.add("secure", SECURE, tls=True)
    old = switch.start_old()
    dns = Dns(switch.cluster)
    for host in (*HOSTS, SECURE):
        dns.wait(host, OLD)
    clients = Clients(switch.cluster, dns, HOSTS, [*HOSTS, SECURE])
    clients.edges[OLD] = (switch.old.http, switch.old.https)

    with load(switch, dns, clients):
        manager = CertManager(switch.cluster, dns, clients, SECURE, lambda: switch.old_class)
        beside = switch.run(serving)
        clients.wait_more()
        old.updates_status = False  # the flags of step 3
        old_writes = old.writes
        beside.stop()
        new = switch.run(writing, "--shutdown-delay=2s")
        clients.edges[NEW] = ports(new)
        # Both serve everything before anything is handed over.
        for host in HOSTS:
            assert clients.once(NEW, host, "/") == (200, "web")
        clients.wait_more()
        assert dns.history["web"] == [(OLD,)]

        switch.type(one_over)
        dns.wait(HOSTS[0], NEW)
        clients.wait_more()
        switch.type(one_back)
        dns.wait(HOSTS[0], OLD)
        clients.wait_more()
        solved = manager.solved
        switch.type(all_over)
        for host in (*HOSTS, SECURE):
            dns.wait(host, NEW)
        wait_until(lambda: manager.solved > solved + 1 or bool(switch.cluster.faults))
        switch.type(all_back)
        for host in (*HOSTS, SECURE):
            dns.wait(host, OLD)
        clients.wait_more()
        switch.type(all_over)
        for host in (*HOSTS, SECURE):
            dns.wait(host, NEW)

        # A rollout: the next replica is ready before the load balancer sends clients there, and the last ends.
        last = switch.run(ending)
        clients.edges[NEW] = ports(last)
        clients.wait_more()
        assert new.stop() == 0
        clients.wait_more()

    assert dns.history["web"] == [(OLD,), (NEW,), (OLD,), (NEW,), (OLD,), (NEW,)]
    assert dns.history["other"] == dns.history["secure"] == [(OLD,), (NEW,), (OLD,), (NEW,)]
    assert old.writes == old_writes
    assert manager.solved > 3
    assert min(clients.by_address[OLD], clients.by_address[NEW]) > 20


@needs_kubectl
def test_two_classes_move_a_host_by_a_copy_and_back(switch: Switch) -> None:
    page = commands("Two classes")
    (serving,) = page["ingresskit run"]
    to_copy, from_original, to_original, from_copy = page["kubectl annotate"]
    switch.add("web", HOSTS[0])
    switch.add("secure", SECURE, tls=True)
    old = switch.start_old()
    dns = Dns(switch.cluster)
    for host in (HOSTS[0], SECURE):
        dns.wait(host, OLD)
    clients = Clients(switch.cluster, dns, HOSTS[:1], [HOSTS[0], SECURE])
    clients.edges[OLD] = (switch.old.http, switch.old.https)
    leads = {OLD: switch.old_class, NEW: switch.new_class}

    with load(switch, dns, clients):
        new = switch.run(serving)
        clients.edges[NEW] = ports(new)
        manager = CertManager(switch.cluster, dns, clients, HOSTS[0], lambda: leads[dns.records[HOSTS[0]]])
        notes = {
            "nginx.ingress.kubernetes.io/ssl-redirect": "false",
            "external-dns.alpha.kubernetes.io/controller": "none",
        }
        copy = ingress("web-edge", HOSTS[0], "web", switch.new_class, annotations=notes)
        switch.cluster.create(copy, "ingresses")
        wait_until(lambda: dns.history.get("web-edge", [()])[-1] == (NEW,))
        clients.wait_more()
        assert dns.records[HOSTS[0]] == OLD

        for line in (to_copy, from_original):
            switch.type(line)
        dns.wait(HOSTS[0], NEW)
        clients.wait_more()
        for line in (to_original, from_copy):
            switch.type(line)
        dns.wait(HOSTS[0], OLD)
        clients.wait_more()
        for line in (to_copy, from_original):
            switch.type(line)
        dns.wait(HOSTS[0], NEW)
        clients.wait_more()

    assert dns.history["web"] == dns.history["secure"] == [(OLD,)]
    assert dns.history["web-edge"] == [(), (NEW,)]
    assert old.served == {"web", "secure"} | {name for name in old.served if name.startswith("cm-")}
    assert manager.solved > 1


def test_the_page_has_every_command_that_is_followed() -> None:
    assert {name: len(lines) for name, lines in commands("One class, handed over").items()} == {
        "ingresskit run": 3,
        "ingresskit migrate": 1,
        "kubectl label": 4,
        "kubectl delete": 1,
        "kubectl scale": 1,
    }
