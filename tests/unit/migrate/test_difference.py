"""What differs between two graphs is named, and shown by a request."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ingresskit.graph import RouteGraph
from ingresskit.migrate import Difference, Probes, compare, probes_of
from ingresskit.models import Ingress, KubeObject, Snapshot
from ingresskit.policies import IngressNginxDialect, KubernetesDialect, NativeDialect, PolicyRegistry
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import TranslateOptions, translate

_OPTIONS = TranslateOptions(
    policies=PolicyRegistry((NativeDialect(), IngressNginxDialect(), KubernetesDialect()))
)
_NGINX = "nginx.ingress.kubernetes.io"


def graph_of(*objects: KubeObject, slices: Iterable[str] = ("web", "api")) -> RouteGraph:
    made = [ingress_class(), service("web"), service("api"), *objects]
    made += (endpoint_slice(name, f"10.0.0.{number}") for number, name in enumerate(slices, 1))
    return translate(Snapshot.of(made), _OPTIONS).graph


def shop(path: str = "/", to: str = "web", host: str = "shop.test", **annotations: str) -> Ingress:
    notes = {name.replace("_", "-"): value for name, value in annotations.items()}
    return ingress("shop", {host: {path: to}}, annotations=notes)


def shown(found: Difference) -> list[str]:
    return [str(item) for item in found.nodes]


def test_equal_graphs_do_not_differ() -> None:
    found = compare(graph_of(shop()), graph_of(shop()))

    assert not found
    assert found == Difference()


@pytest.mark.parametrize(
    ("before", "after", "part", "status"),
    [
        (shop(), shop(to="api"), "changed route shop.test Prefix /: to default/web:80 before", None),
        (shop("/a"), shop("=/a"), "added route shop.test Exact /a", 404),
        (shop(), shop(host="new.test"), "added host new.test", 404),
        (shop(), shop(allow_sources="10.0.0.0/8"), "+ AllowedSources", 403),
        (shop(body_limit="1k"), shop(body_limit="2k"), "max_bytes from 1024 to 2048", None),
        (shop(), shop(redirect="https://x.test/"), "now 308 to https://x.test/", 308),
        (shop(), shop(rewrite_prefix="/v2"), "+ PrefixRewrite", None),
    ],
    ids=["backend", "path-type", "host", "clients", "limit", "redirect", "rewrite"],
)
def test_change_is_named_and_a_request_shows_it(
    before: Ingress, after: Ingress, part: str, status: int | None
) -> None:
    found = compare(graph_of(before), graph_of(after))

    assert any(part in line for line in shown(found)), shown(found)
    assert found.requests
    statuses = {verdict.status for change in found.requests for verdict in (*change.before, *change.after)}
    assert status in statuses


def test_change_of_a_variant_is_shown_by_a_request_that_it_takes() -> None:
    def canary(value: str) -> Ingress:
        notes = {f"{_NGINX}/canary": "true", f"{_NGINX}/canary-by-header": "X-Lane"}
        notes[f"{_NGINX}/canary-by-header-value"] = value
        return ingress("canary", {"shop.test": {"/": "api"}}, annotations=notes, created=1)

    found = compare(graph_of(shop(), canary("blue")), graph_of(shop(), canary("green")))

    assert {change.request.headers.get("x-lane") for change in found.requests} == {"blue", "green"}


def test_weights_of_a_canary_are_part_of_the_verdict() -> None:
    def canary(weight: str) -> Ingress:
        notes = {f"{_NGINX}/canary": "true", f"{_NGINX}/canary-weight": weight}
        return ingress("canary", {"shop.test": {"/": "api"}}, annotations=notes, created=1)

    found = compare(graph_of(shop(), canary("10")), graph_of(shop(), canary("20")))

    assert any("0.1 of requests" in str(item) for item in found.requests[0].before)
    assert any("0.2 of requests" in str(item) for item in found.requests[0].after)


def test_endpoint_that_moves_changes_no_request() -> None:
    old, new = graph_of(shop(), slices=("web",)), graph_of(shop(), slices=("api", "web"))

    found = compare(old, new)

    assert shown(found) == [
        "changed backend default/web:80: endpoint added: 10.0.0.2:8080; endpoint removed: 10.0.0.1:8080"
    ]
    assert found.requests == ()
    assert found.asked > 0


def test_backend_that_loses_its_endpoints_is_shown_by_a_request() -> None:
    found = compare(graph_of(shop()), graph_of(shop(), slices=("api",)))

    assert found.requests[0].after[0].status == 503


def test_backends_without_endpoints_on_both_sides_do_not_hide_a_difference() -> None:
    found = compare(graph_of(shop(), slices=()), graph_of(shop(to="api"), slices=()))

    assert (
        str(found.requests[0].after[0]) == "default/api:80 gets /; the response sets Strict-Transport-Security"
    )


def test_values_of_header_fields_are_not_shown() -> None:
    found = compare(
        graph_of(shop(request_headers_set="X-Token: s3cr3t")),
        graph_of(shop(request_headers_set="X-Token: t0p")),
    )

    text = " ".join((*shown(found), *(str(item) for change in found.requests for item in change.after)))
    assert found.requests
    assert "X-Token" in text
    assert "s3cr3t" not in text
    assert "t0p" not in text


def test_probes_are_bounded_and_each_is_another() -> None:
    graph = graph_of(ingress("many", {"shop.test": {f"/p{number}": "web" for number in range(200)}}))

    found = list(probes_of(graph, "shop.test", Probes(most_per_host=50)))

    assert len(found) == 50
    assert len({(item.scheme, item.path, item.method) for item in found}) == 50
