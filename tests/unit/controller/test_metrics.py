from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingresskit.controller.metrics import Metrics
from ingresskit.controller.planes import OTHER, LabelCap, capped
from ingresskit.graph import BackendKey, Termination
from ingresskit.proxy import DURATION_BOUNDS, BackendStatistics, Statistics
from ingresskit.traffic import Measured, MetricFamily, counter, gauge, labelled
from tests.unit.controller.client import admin_over
from tests.unit.controller.doubles import ingress, web

pytestmark = pytest.mark.anyio

Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


class Stated:
    """Statistics that state these metrics."""

    def __init__(self, *families: MetricFamily) -> None:
        self._families = families

    def families(self) -> Iterable[MetricFamily]:
        return self._families


class Plane:
    def __init__(self, statistics: Measured) -> None:
        self._statistics = statistics

    def statistics(self) -> Measured:
        return self._statistics


def backends(counts: Mapping[str, float]) -> MetricFamily:
    return labelled("backend_requests", "Backend requests.", "backend", counts, unbounded=True)


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


async def test_what_carries_the_traffic_states_its_metrics() -> None:
    statistics = Statistics(
        connections_total=5,
        connections_open=2,
        requests={"tenant.test": {2: 7, 5: 1}},
        durations=(3, 2, *[0] * (len(DURATION_BOUNDS) - 1)),
        duration_sum=1.5,
        backends={BackendKey("shop", "web", 80): BackendStatistics(requests=4, active=1)},
    )
    async with admin_over(planes={"proxy": Plane(statistics)}) as admin:
        reply = await admin.get("/metrics")

    found = samples(reply.body)
    assert found["ingresskit_proxy_connections_total", ()] == 5
    assert found["ingresskit_proxy_connections_open", ()] == 2
    assert found["ingresskit_proxy_requests_total", (("class", "2xx"),)] == 7
    assert found["ingresskit_proxy_request_duration_seconds_bucket", (("le", "1.0"),)] == 5
    assert found["ingresskit_proxy_request_duration_seconds_count", ()] == 5
    assert found["ingresskit_proxy_request_duration_seconds_sum", ()] == 1.5
    assert found["ingresskit_proxy_backend_requests_total", (("backend", "shop/web:80"),)] == 4
    assert found["ingresskit_proxy_backend_active", (("backend", "shop/web:80"),)] == 1
    assert b"tenant.test" not in reply.body


def test_members_beyond_the_cap_share_one_series_and_nothing_is_lost() -> None:
    family = capped(backends({f"b{number}": 1.0 for number in range(10)}), LabelCap(3))

    assert len(family.samples) == 4
    assert {sample.labels[0][1]: sample.value for sample in family.samples}[OTHER] == 7
    assert sum(sample.value for sample in family.samples) == 10


def test_a_label_of_a_closed_vocabulary_is_not_capped() -> None:
    family = labelled("responses", "Responses by status.", "status", {"200": 1.0, "404": 2.0, "500": 3.0})

    assert capped(family, LabelCap(1)) == family


def test_a_series_never_changes_hands_while_its_member_lives() -> None:
    cap = LabelCap(1)
    cap.admit("backend", ["old"])

    assert cap.admit("backend", ["aaa", "old"]) == {"aaa": OTHER, "old": "old"}
    assert cap.admit("backend", ["aaa"]) == {"aaa": "aaa"}


async def test_without_durations_their_number_and_sum_are_zero() -> None:
    async with admin_over(planes={"proxy": Plane(Statistics())}) as admin:
        found = samples((await admin.get("/metrics")).body)

    assert found["ingresskit_proxy_request_duration_seconds_count", ()] == 0
    assert found["ingresskit_proxy_request_duration_seconds_sum", ()] == 0


async def test_a_proxy_of_ones_own_is_scraped_by_the_metrics_that_it_states() -> None:
    stated = Stated(counter("reloads", "Reloads.", 3), gauge("workers_open", "Workers now.", 4))
    async with admin_over() as admin:
        text = Metrics(admin.controller, planes={"mine": Plane(stated)}).text()

    found = samples(text)
    assert found["ingresskit_mine_reloads_total", ()] == 3
    assert found["ingresskit_mine_workers_open", ()] == 4
    assert b"# HELP ingresskit_mine_workers_open Workers now.\n" in text


async def test_statuses_and_reasons_are_labels() -> None:
    statistics = Statistics(
        statuses={200: 3, 504: 1},
        terminations={Termination.NO_ROUTE: 2},
        upstream_failures={Termination.UPSTREAM_READ_TIMEOUT: 1},
    )
    async with admin_over(planes={"proxy": Plane(statistics)}) as admin:
        found = samples((await admin.get("/metrics")).body)

    assert found["ingresskit_proxy_responses_total", (("status", "504"),)] == 1
    assert found["ingresskit_proxy_request_terminations_total", (("reason", "no_route"),)] == 2
    assert found["ingresskit_proxy_upstream_failures_total", (("reason", "upstream_read_timeout"),)] == 1


async def test_reasons_that_have_not_occurred_are_there_with_zero() -> None:
    async with admin_over(planes={"proxy": Plane(Statistics())}) as admin:
        found = samples((await admin.get("/metrics")).body)

    requests = {labels for name, labels in found if name == "ingresskit_proxy_request_terminations_total"}
    attempts = {labels for name, labels in found if name == "ingresskit_proxy_upstream_failures_total"}
    assert requests == {(("reason", reason.value),) for reason in Termination}
    assert attempts == {label for label in requests if label[0][1].startswith("upstream_")}
