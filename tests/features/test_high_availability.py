"""Replicas that come and go while clients ask: an upgrade, a roll-back and a node that is drained.

Two controllers and more follow one API server, with a client that is sent to whichever of them is ready.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import cast

import pytest

from ingresskit.testing import pace
from ingresskit.testing.apiserver import ApiServer
from tests.features.cluster_scene import LOOPBACK, Object, Pod, ingress, ingress_class, service, slice_of
from tests.features.reference_process import ReferenceController, Reply, wait_until

RENDERERS = ("inprocess", "haproxy", "nginx")
FIRST = Reply(200, "first")
# As long as whoever asks for readiness needs to learn that it is off.
DELAY = f"--shutdown-delay={round(pace.within(2.0) * 1000)}ms"


class Balancer:
    """Clients that go from replica to replica, each asked for its readiness before it gets a request."""

    def __init__(self) -> None:
        self.served = 0
        self.faults: list[str] = []
        self._replicas: tuple[ReferenceController, ...] = ()
        self._over = threading.Event()
        self._turns = 0

    def lead_to(self, *replicas: ReferenceController) -> None:
        self._replicas = replicas

    @contextmanager
    def running(self) -> Generator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(pace.within(30))

    def wait_turns(self, count: int = 5) -> None:
        """Return once each replica was asked so many times from now on."""
        end = self._turns + count * max(1, len(self._replicas))
        wait_until(lambda: self._turns >= end)

    def _run(self) -> None:
        for number in cycle(range(1000)):
            if self._over.wait(0.002):  # a client that leaves the processor to others
                return
            replicas = self._replicas
            if replicas:
                self._ask(replicas[number % len(replicas)])
            self._turns += 1

    def _ask(self, replica: ReferenceController) -> None:
        try:
            if replica.admin("/readyz").status != 200:
                return
        except OSError:
            return  # it has ended
        try:
            reply = replica.get("good.example")
        except OSError as exc:
            self.faults.append(repr(exc))
            return
        self.served += 1
        if reply != FIRST:
            self.faults.append(repr(reply))


def addresses(server: ApiServer, name: str) -> object:
    found = server.get("networking.k8s.io/v1", "Ingress", name, "shop")
    return cast("Object", cast("Object", found or {}).get("status", {})).get("loadBalancer")


@pytest.mark.parametrize("renderer", RENDERERS)
def test_replicas_are_replaced_and_drained_without_a_failed_request(
    renderer: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    if renderer != "inprocess" and int(pytestconfig.getoption("--changes") or 0) < 1000:
        pytest.skip("the other renderers with --changes 1000")
    with ExitStack() as stack:
        server = stack.enter_context(ApiServer.in_thread(tls=True, bookmark_seconds=0.5))
        pod = stack.enter_context(Pod("first"))
        server.load([ingress_class(), service(), slice_of(port=pod.port), ingress("good")])
        config = server.kubeconfig(tmp_path / "config")

        def replica(*flags: str) -> ReferenceController:
            common = (LOOPBACK, DELAY, "--leader-election-lease=shop/edge", "--publish-address=192.0.2.1")
            made = ReferenceController("--kubeconfig", config, f"--renderer={renderer}", *common, *flags)
            return stack.enter_context(made).wait_ready()

        def changed(name: str, *replicas: ReferenceController) -> None:
            """A change is live on all of them, and the leader, whoever that is now, has written its status."""
            server.put(ingress(name))
            wait_until(lambda: all(item.get(f"{name}.example") == FIRST for item in replicas))
            wait_until(lambda: addresses(server, name) == {"ingress": [{"ip": "192.0.2.1"}]})

        first, second = replica(), replica()
        balancer = Balancer()
        balancer.lead_to(first, second)
        with balancer.running():
            balancer.wait_turns()

            upgraded = replica("--strict-paths")
            balancer.lead_to(first, second, upgraded)
            balancer.wait_turns()
            ended = [first.stop()]
            changed("after-upgrade", second, upgraded)

            restored = replica()
            balancer.lead_to(second, upgraded, restored)
            balancer.wait_turns()
            ended.append(upgraded.stop())
            changed("after-roll-back", second, restored)

            balancer.lead_to(second, restored)
            ended.append(second.stop())
            changed("after-drain", restored)
            balancer.wait_turns()

    assert balancer.faults == []
    assert balancer.served > 20
    assert ended == [0, 0, 0]
