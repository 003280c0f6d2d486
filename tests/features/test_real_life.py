"""Ingresses as charts of well-known programs make them do what their authors expect, under the dialect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

import pytest
import yaml

from ingresskit.diagnostics import Severity
from ingresskit.filters import decide
from ingresskit.graph import Forward, Redirect, Request
from ingresskit.migrate import Outcome, analyse, prove
from ingresskit.models import Ingress, KubeObject, ObjectMeta, Secret, Snapshot
from ingresskit.policies import BodyLimit, IngressNginxDialect, KubernetesDialect, PolicyRegistry, Timeouts
from ingresskit.render import Renderer
from ingresskit.render.delegate import DELEGATE, DelegatingRenderer
from ingresskit.render.haproxy import HaproxyRenderer
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.render.nginx import Capabilities, Mode, NginxRenderer, NginxSettings
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service, tls_secret
from ingresskit.testing.plugin import Golden
from ingresskit.translate import TranslateOptions, Translation, translate


class Part(TypedDict):
    annotations: dict[str, str]
    paths: dict[str, str]


class Chart(Part):
    chart: str
    expect: list[str]
    host: NotRequired[str]
    tls: NotRequired[str]
    canary: NotRequired[Part]
    body: NotRequired[int]
    timeouts: NotRequired[int]
    lost: NotRequired[str]


CHARTS = cast(
    "list[Chart]",
    yaml.safe_load((Path(__file__).parent / "real_life" / "charts.yaml").read_text(encoding="utf-8")),
)
PREFIX = "nginx.ingress.kubernetes.io"
OPTIONS = TranslateOptions(policies=PolicyRegistry((IngressNginxDialect(), KubernetesDialect())))
LINE = re.compile(
    r"(?P<method>[A-Z]+) (?P<url>\S+)(?: from (?P<client>\S+))?(?: \[(?P<name>[^:]+): (?P<value>[^]]+)\])?"
    r" -> (?P<first>\S+)(?: (?P<second>\S+))?"
)


def _nginx(mode: Mode) -> Renderer[Any]:
    settings = NginxSettings(state="/run/ik", https=("0.0.0.0:8443",))
    return DelegatingRenderer(NginxRenderer(settings, Capabilities(lua=True), mode=mode), "/run/ik.sock")


RENDERERS: Mapping[str, Renderer[Any]] = {
    "inprocess": InProcessRenderer(),
    "haproxy": DelegatingRenderer(HaproxyRenderer(), "/run/ik.sock"),
    "nginx-dynamic": _nginx(Mode.DYNAMIC),
    "nginx-static": _nginx(Mode.STATIC),
}


def named(chart: Chart) -> str:
    return str(chart["chart"])


def parts(chart: Chart) -> list[Part]:
    return [chart, chart["canary"]] if "canary" in chart else [chart]


def ingresses(chart: Chart, class_name: str) -> list[Ingress]:
    host = chart.get("host") or chart.get("tls", "")
    tls = {"cert": [chart["tls"]]} if "tls" in chart else {}
    made: list[Ingress] = []
    for number, part in enumerate(parts(chart)):
        notes = {f"{PREFIX}/{name}": value for name, value in part["annotations"].items()}
        name = f"{chart['chart']}-{number}"
        made.append(
            ingress(
                name,
                {host: part["paths"]},
                tls=tls,
                annotations=notes,
                created=number,
                ingress_class=class_name,
            )
        )
    return made


def objects(chart: Chart, class_name: str = "ingresskit") -> list[KubeObject]:
    made: list[KubeObject] = [ingress_class(), *ingresses(chart, class_name)]
    names = {to for part in parts(chart) for to in part["paths"].values()}
    for number, name in enumerate(sorted({*names, "maintenance", "oauth2-proxy"})):
        made += [service(name), endpoint_slice(name, f"10.0.{number}.1")]
    # The password of u is p.
    users = {"auth": b"u:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=\n"}
    made.append(Secret(metadata=ObjectMeta(namespace="default", name="users"), data=users))
    if "tls" in chart:
        made.append(tls_secret(chart["tls"], name="cert"))
    return made


def translated(chart: Chart) -> Translation:
    return translate(Snapshot.of(objects(chart)), OPTIONS)


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("chart", CHARTS, ids=named)
def test_requests_go_where_the_authors_of_the_chart_expect(chart: Chart, renderer: str) -> None:
    whole = translated(chart).graph
    if not {item.protocol for item in whole.backends.values()} <= RENDERERS[renderer].protocols:
        pytest.skip("the renderer does not speak with such endpoints")
    graph = RENDERERS[renderer].restrict(whole).graph
    for line in chart["expect"]:
        found = LINE.fullmatch(line)
        assert found is not None, line
        headers = {found["name"]: found["value"]} if found["name"] else {}
        request = Request.of(found["url"], method=found["method"], headers=headers, client=found["client"])

        decision = decide(graph, request)

        if found["first"].isdecimal():
            assert decision.reply is not None, (line, decision.backends)
            assert decision.reply.status == int(found["first"]), line
            assert decision.reply.location == (found["second"] or decision.reply.location), line
        else:
            assert decision.reply is None, (line, decision.reply)
            assert [item.key.service for item in decision.backends] == [found["first"]], line
            assert f"{decision.forwarded}{decision.query}" == found["second"], line


@pytest.mark.parametrize("chart", CHARTS, ids=named)
def test_limits_and_times_of_the_chart_hold(chart: Chart) -> None:
    found = translated(chart).graph
    policies = [
        host.policies_of(route)
        for host in found.virtual_hosts
        for route in host.routes
        if not isinstance(route.action, Redirect)
    ]
    for held in policies:
        if "body" in chart:
            limit = held.get(BodyLimit)
            assert (0 if limit is None else limit.max_bytes) == chart["body"]
        if "timeouts" in chart:
            timeouts = held.get(Timeouts)
            assert timeouts is not None
            assert timeouts.read == timedelta(seconds=chart["timeouts"])


@pytest.mark.parametrize("chart", CHARTS, ids=named)
def test_what_is_lost_is_said_and_nothing_else_is(chart: Chart) -> None:
    errors = [item for item in translated(chart).diagnostics if item.severity is Severity.ERROR]
    lost = chart.get("lost")

    assert {item.field for item in errors} == ({f"metadata.annotations[{PREFIX}/{lost}]"} if lost else set())
    found = analyse(objects(chart, "nginx"))
    outcomes = {item.name: item.outcome for item in found.findings if item.name}
    assert {name for name, outcome in outcomes.items() if outcome in (Outcome.LOST, Outcome.UNKNOWN)} == (
        {lost} if lost else set()
    )


@pytest.mark.parametrize("chart", CHARTS, ids=named)
def test_no_request_to_a_chart_differs_from_ingress_nginx_without_a_reason(chart: Chart) -> None:
    found = prove(objects(chart, "nginx"))

    assert found.asked > 5
    assert [(item.request.path, item.why) for item in found.unexplained] == []


# Of the routes of all charts, how many a program leaves to the delegate, for all of their requests.
HANDED_OVER = {"haproxy": 40, "nginx-dynamic": 14, "nginx-static": 41}


@pytest.mark.parametrize("renderer", HANDED_OVER)
def test_programs_serve_most_routes_of_charts_by_themselves(renderer: str) -> None:
    delegating, routes, handed_over = RENDERERS[renderer], 0, 0
    assert isinstance(delegating, DelegatingRenderer)
    for chart in CHARTS:
        graph = delegating.restrict(translated(chart).graph).graph
        routes += sum(len(host.routes) for host in graph.virtual_hosts)
        for host in delegating.divided(graph).virtual_hosts:
            served = graph.by_host[host.host].routes
            to_delegate = [
                route
                for route in host.routes
                if isinstance(route.action, Forward) and route.action.backends[0].key == DELEGATE
            ]
            whole = len(host.routes) == 1 and to_delegate and len(served) != 1
            handed_over += len(served) if whole else len(to_delegate)

    assert routes == 120
    assert handed_over == HANDED_OVER[renderer]


PAGE = Path(__file__).resolve().parents[2] / "docs" / "charts.md"
_HEAD = """\
<!-- Written by pytest --update-golden tests/features/test_real_life.py; do not edit. -->

# Typical charts and their verdicts

Ingresses as the charts of well-known programs and the examples of ingress-nginx's documentation make them, in
our own words; `tests/features/real_life/charts.yaml` has them whole, with the requests that their authors have
in mind and what is to become of each.
Every one is analysed and proved with every release, and its requests are resolved for every renderer.
A value is *different* where some requests are answered differently, and *lost* where it has no effect here; the
routes of what is lost for protection respond 503 until it is replaced.

| chart | annotations of ingress-nginx | verdict | instead |
|---|---|---|---|
"""


def verdict(chart: Chart) -> tuple[str, str]:
    """Of all its values together; and what is said of those that are not the same."""
    found = analyse(objects(chart, "nginx")).findings
    for outcome in (Outcome.LOST, Outcome.UNKNOWN, Outcome.DIFFERENT):
        named_so = [item for item in found if item.outcome is outcome]
        if named_so:
            names = ", ".join(f"`{item.name}`" for item in named_so)
            return f"{outcome}: {names}", "; ".join(dict.fromkeys(item.message for item in named_so))
    return "same", ""


def test_the_page_of_charts_is_fresh(golden: Golden) -> None:
    rows: list[str] = []
    for chart in CHARTS:
        names = sorted({name for part in parts(chart) for name in part["annotations"]})
        cells = (chart["chart"], ", ".join(f"`{name}`" for name in names), *verdict(chart))
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n")

    golden.check(PAGE, _HEAD + "".join(rows))
