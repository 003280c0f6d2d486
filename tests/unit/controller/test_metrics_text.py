"""What /metrics prints of each proxy and of the cluster: names, labels and help are part of the interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from ingresskit import InProcessApplier
from ingresskit.apply.haproxy import HaproxyBackendStatistics, HaproxyStatistics
from ingresskit.apply.nginx import NginxBackendStatistics, NginxStatistics
from ingresskit.cache import ReflectorState
from ingresskit.controller import Controller
from ingresskit.controller.metrics import Metrics
from ingresskit.graph import BackendKey, Termination
from ingresskit.proxy import DURATION_BOUNDS, BackendStatistics, EndpointStatistics, Statistics
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.sources import CacheStatistics, ClusterStatistics, MemorySource
from ingresskit.traffic import EndpointHealth, Measured
from tests.unit.controller.client import Holder

SHOP = BackendKey("shop", "web", 80)
BLOG = BackendKey("blog", "web", 8080)
DURATIONS = tuple(range(len(DURATION_BOUNDS) + 1))


def of_proxy() -> Statistics:
    return Statistics(
        connections_total=9,
        connections_open=2,
        connections_refused=3,
        connections_given_up=4,
        tunnels_open=1,
        requests={"": {4: 2}, "shop.test": {2: 7, 5: 1}},
        statuses={200: 7, 404: 2, 504: 1},
        terminations={Termination.NO_ROUTE: 2},
        shadowed={"rate": 2},
        durations=DURATIONS,
        duration_sum=12.5,
        first_bytes=DURATIONS,
        first_byte_sum=6.25,
        retries=5,
        upstream_opened=6,
        upstream_open=7,
        upstream_reused=8,
        upstream_failed=9,
        upstream_failures={Termination.UPSTREAM_READ_TIMEOUT: 1},
        received_bytes=1000,
        sent_bytes=2000,
        backends={
            SHOP: BackendStatistics(requests=4, failures=1, active=2),
            BLOG: BackendStatistics(requests=1),
        },
        endpoints={
            "192.0.2.1:80": EndpointStatistics(
                requests=5, failures=1, active=2, ejections=3, health=EndpointHealth.EJECTED
            )
        },
    )


def of_nginx() -> NginxStatistics:
    return NginxStatistics(
        connections_total=9,
        connections_open=2,
        connections_refused=3,
        requests={"": {4: 2}, "shop.test": {2: 7, 5: 1}},
        statuses={200: 7, 404: 2, 504: 1},
        terminations={Termination.NO_ROUTE: 2},
        durations=DURATIONS,
        duration_sum=12.5,
        first_bytes=DURATIONS,
        first_byte_sum=6.25,
        retries=5,
        upstream_failed=9,
        upstream_failures={Termination.UPSTREAM_READ_TIMEOUT: 1},
        received_bytes=1000,
        sent_bytes=2000,
        backends={SHOP: NginxBackendStatistics(requests=4, failures=1, active=2)},
        reloads=6,
        restarts=7,
        old_workers_open=8,
    )


def of_haproxy() -> HaproxyStatistics:
    return HaproxyStatistics(
        connections_total=9,
        connections_open=2,
        requests_by_class={2: 7, 4: 2, 5: 1},
        requests={"": {4: 2}, "shop.test": {2: 7, 5: 1}},
        statuses={200: 7, 404: 2, 504: 1},
        terminations={Termination.NO_ROUTE: 2},
        retries=5,
        durations=DURATIONS,
        duration_sum=12.5,
        received_bytes=1000,
        sent_bytes=2000,
        reloads=6,
        old_workers_open=7,
        endpoints_left_out_open=8,
        changes_waiting_open=10,
        removed_certificates_open=11,
        slots_open=12,
        log_lines_dropped=13,
        log_lines_unreadable=14,
        backends={SHOP: HaproxyBackendStatistics(requests=4, failures=1, active=2)},
    )


def of_cluster() -> ClusterStatistics:
    def cache(kind: str, contact: timedelta | None) -> CacheStatistics:
        return CacheStatistics(
            kind=kind,
            state=ReflectorState.WATCHING,
            synced=True,
            objects=3,
            undecodable=1,
            last_contact=contact,
            namespaces=(),
            error="",
            lists=2,
            watches=4,
            events=5,
            failures=6,
        )

    caches = {"Ingress": cache("Ingress", timedelta(seconds=1.5)), "Service": cache("Service", None)}
    return ClusterStatistics(caches=caches, snapshots=7)


class Plane:
    def __init__(self, make: Callable[[], Measured]) -> None:
        self._make = make

    def statistics(self) -> Measured:
        return self._make()


def families(text: str) -> dict[str, str]:
    """The text by the name of a metric."""
    parts = text.split("# HELP ")
    return {part.split(" ", 1)[0]: part for part in parts[1:]}


CASES: Mapping[str, Callable[[], Measured]] = {
    "proxy": of_proxy,
    "proxy-idle": Statistics,
    "nginx": of_nginx,
    "nginx-idle": NginxStatistics,
    "haproxy": of_haproxy,
    "haproxy-idle": HaproxyStatistics,
    "cluster": of_cluster,
}

EXPECTED = Path(__file__).parent / "metrics"


def printed(make: Callable[[], Measured]) -> dict[str, str]:
    controller = Controller(
        source=MemorySource(()), renderer=InProcessRenderer(), applier=InProcessApplier(Holder())
    )
    text = Metrics(controller, planes={"plane": Plane(make)}).text().decode()
    return {name: part for name, part in families(text).items() if name.startswith("ingresskit_plane_")}


@pytest.mark.parametrize("name", CASES)
def test_names_labels_and_help_of_metrics_are_kept(name: str) -> None:
    assert printed(CASES[name]) == families((EXPECTED / f"{name}.txt").read_text())
