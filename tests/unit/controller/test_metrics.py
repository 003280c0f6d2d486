from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingresskit.controller.metrics import Metrics
from ingresskit.controller.planes import OTHER, LabelCap, families
from ingresskit.graph import Termination
from tests.unit.controller.client import admin_over
from tests.unit.controller.doubles import ingress, web

pytestmark = pytest.mark.anyio

Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass(frozen=True)
class PerBackend:
    requests: int = 0
    active: int = 0


@dataclass(frozen=True)
class PlaneStatistics:
    connections_total: int = 5
    connections_open: int = 2
    requests: Mapping[str, Mapping[int, int]] = field(default_factory=lambda: {"tenant.test": {2: 7}})
    durations: tuple[int, ...] = (3, 2, 1)
    duration_sum: float = 1.5
    backends: Mapping[str, PerBackend] = field(default_factory=dict[str, PerBackend])

    @property
    def requests_by_class(self) -> Mapping[int, int]:
        return {2: 7, 5: 1}

    @property
    def duration_bounds(self) -> tuple[float, ...]:
        return (0.1, 1.0)


class Plane:
    def __init__(self, statistics: object) -> None:
        self._statistics = statistics

    def statistics(self) -> object:
        return self._statistics


def samples(text: bytes) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def test_the_scrape_shows_the_loop_and_what_it_serves() -> None:
    async with admin_over(
        ingress("shop", "shop.test"), ingress("lost", "lost.test", namespace="x"), *web()
    ) as admin:
        reply = await admin.get("/metrics")

    found = samples(reply.body)
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert found["ingresskit_ready", ()] == 1
    assert found["ingresskit_healthy", ()] == 1
    assert found["ingresskit_revision_applied", ()] == 1
    assert found["ingresskit_applies_total", (("kind", "dynamic"),)] == 1
    assert found["ingresskit_applies_total", (("kind", "reload"),)] == 0
    assert found["ingresskit_failures_total", (("stage", "render"),)] == 0
    assert found["ingresskit_objects", (("kind", "Ingress"),)] == 2
    assert found["ingresskit_served", (("part", "endpoints"),)] == 2
    assert found["ingresskit_diagnostics", (("reason", "ServiceNotFound"), ("severity", "error"))] == 1
    assert found["ingresskit_pass_duration_seconds_count", ()] == 1


async def test_no_label_is_a_host_a_path_or_an_object_of_a_tenant() -> None:
    async with admin_over(ingress("shop", "canary.test", "/canary", namespace="canary")) as admin:
        reply = await admin.get("/metrics")

    assert b"canary" not in reply.body


async def test_before_anything_is_live_the_scrape_works() -> None:
    async with admin_over(start=False) as admin:
        found = samples((await admin.get("/metrics")).body)

    assert found["ingresskit_ready", ()] == 0
    assert ("ingresskit_revision_applied", ()) not in found


async def test_what_carries_the_traffic_is_scraped_by_its_shape() -> None:
    statistics = PlaneStatistics(backends={"shop/web:80": PerBackend(4, 1)})
    async with admin_over(planes={"proxy": Plane(statistics)}) as admin:
        reply = await admin.get("/metrics")

    found = samples(reply.body)
    assert found["ingresskit_proxy_connections_total", ()] == 5
    assert found["ingresskit_proxy_connections_open", ()] == 2
    assert found["ingresskit_proxy_requests_total", (("class", "2xx"),)] == 7
    assert found["ingresskit_proxy_request_duration_seconds_bucket", (("le", "1.0"),)] == 5
    assert found["ingresskit_proxy_request_duration_seconds_count", ()] == 6
    assert found["ingresskit_proxy_request_duration_seconds_sum", ()] == 1.5
    assert found["ingresskit_proxy_backend_requests_total", (("backend", "shop/web:80"),)] == 4
    assert found["ingresskit_proxy_backend_active", (("backend", "shop/web:80"),)] == 1
    assert b"tenant.test" not in reply.body


def test_members_beyond_the_cap_share_one_series_and_nothing_is_lost() -> None:
    statistics = PlaneStatistics(backends={f"b{number}": PerBackend(1, 0) for number in range(10)})

    [family] = [item for item in families(statistics, LabelCap(3)) if item.name == "backend_requests"]

    assert len(family.series) == 4
    assert {series.labels[0][1]: series.value for series in family.series}[OTHER] == 7
    assert sum(series.value for series in family.series) == 10


def test_a_series_never_changes_hands_while_its_member_lives() -> None:
    cap = LabelCap(1)
    cap.admit("backends", ["old"])

    assert cap.admit("backends", ["aaa", "old"]) == {"aaa": OTHER, "old": "old"}
    assert cap.admit("backends", ["aaa"]) == {"aaa": "aaa"}


@pytest.mark.parametrize("statistics", [None, object(), {}, {"text": "x", "flag": True}], ids=repr)
def test_statistics_without_numbers_give_no_metrics(statistics: object) -> None:
    assert list(families(statistics, LabelCap(3))) == []


async def test_durations_without_bounds_are_a_summary() -> None:
    plane = Plane({"durations": (3, 2), "duration_sum": 1.5})
    async with admin_over(planes={"proxy": plane}) as admin:
        found = samples((await admin.get("/metrics")).body)

    assert found["ingresskit_proxy_request_duration_seconds_count", ()] == 5
    assert found["ingresskit_proxy_request_duration_seconds_sum", ()] == 1.5


async def test_a_mapping_of_numbers_is_read_as_well() -> None:
    async with admin_over() as admin:
        text = Metrics(admin.controller, planes={"nginx": Plane({"reloads": 3, "workers_open": 4})}).text()

    found = samples(text)
    assert found["ingresskit_nginx_reloads_total", ()] == 3
    assert found["ingresskit_nginx_workers_open", ()] == 4


async def test_statuses_and_reasons_are_labels() -> None:
    statistics = {
        "statuses": {200: 3, 504: 1},
        "terminations": {Termination.NO_ROUTE: 2},
        "upstream_failures": {Termination.UPSTREAM_READ_TIMEOUT: 1},
    }
    async with admin_over(planes={"proxy": Plane(statistics)}) as admin:
        found = samples((await admin.get("/metrics")).body)

    assert found["ingresskit_proxy_responses_total", (("status", "504"),)] == 1
    assert found["ingresskit_proxy_request_terminations_total", (("reason", "no_route"),)] == 2
    assert found["ingresskit_proxy_upstream_failures_total", (("reason", "upstream_read_timeout"),)] == 1


async def test_reasons_that_have_not_occurred_are_there_with_zero() -> None:
    statistics: dict[str, object] = {"terminations": {}, "upstream_failures": {}}
    async with admin_over(planes={"proxy": Plane(statistics)}) as admin:
        found = samples((await admin.get("/metrics")).body)

    requests = {labels for name, labels in found if name == "ingresskit_proxy_request_terminations_total"}
    attempts = {labels for name, labels in found if name == "ingresskit_proxy_upstream_failures_total"}
    assert requests == {(("reason", reason.value),) for reason in Termination}
    assert attempts == {label for label in requests if label[0][1].startswith("upstream_")}
