"""The corpus of hostile objects is what it says, and the translator lets none of it touch others."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

from ingresskit.graph import RouteGraph
from ingresskit.models import KubeObject, ObjectKey, Snapshot
from ingresskit.policies import NativeDialect
from ingresskit.testing import ask_graph
from ingresskit.testing.hostile import CANARY, HOSTILE_TEXTS, hostile_cases, victim_asks, victim_objects
from ingresskit.translate import translate


def _graph(*objects: KubeObject) -> RouteGraph:
    return translate(Snapshot.of(objects)).graph


def test_every_text_shows_when_it_becomes_configuration() -> None:
    assert [attempt for attempt, text in HOSTILE_TEXTS if CANARY not in text] == []
    assert [
        attempt for attempt, count in Counter(attempt for attempt, _ in HOSTILE_TEXTS).items() if count > 1
    ] == []


def test_the_cases_are_always_the_same_and_told_apart() -> None:
    first, second = list(hostile_cases()), list(hostile_cases())

    assert first == second
    assert len({(str(case), case.text) for case in first}) == len(first)


def test_any_number_of_cases_fit_into_one_cluster() -> None:
    held: dict[tuple[str, ObjectKey], KubeObject] = {}
    for case in hostile_cases():
        for item in case.objects:
            assert held.setdefault((item.kind, item.key), item) == item, str(case)


def test_every_native_annotation_with_text_in_it_is_among_the_fields() -> None:
    fields = {case.field.partition(" after ")[0].removeprefix("the annotation ") for case in hostile_cases()}
    # Numbers, durations, booleans and words of a short list.
    closed = {"access-log", "body-limit", "client-certificate", "client-certificate-depth", "compression"}
    closed |= {"canary-weight", "client-certificate-header", "compression-level", "compression-min-length"}
    closed |= {"connection-limit", "connection-limit-status", "cors-credentials", "cors-max-age"}
    closed |= {"basic-auth-forward", "connect-timeout", "digest-auth-forward", "endpoint-max-requests"}
    closed |= {f"affinity-{name}" for name in ("canary", "change-on-failure", "mode")}
    closed |= {
        f"affinity-cookie-{name}"
        for name in ("conditional-samesite-none", "expires", "max-age", "samesite", "secure")
    }
    closed |= {
        f"ejection-{name}"
        for name in ("failures", "limit", "longest-time", "ratio", "requests", "time", "window")
    }
    closed |= {"endpoint-queue", "endpoint-queue-timeout", "prefer-endpoints", "retry-budget", "slow-start"}
    closed |= {f"health-check-{name}" for name in ("failures", "interval", "successes", "timeout")}
    closed |= {f"upstream-keepalive-{name}" for name in ("connections", "requests", "time", "timeout")}
    closed |= {"external-auth-always-set-cookie", "external-auth-timeout", "hash-by-subset"}
    closed |= {f"external-auth-keepalive{name}" for name in ("", "-requests", "-timeout")}
    closed |= {"hsts", "hsts-include-subdomains", "hsts-preload", "jwt-clock-skew", "jwt-forward"}
    closed |= {"mirror-body", "rate-limit", "rate-limit-burst", "rate-limit-status", "redirect-keep"}
    closed |= {"redirect-status", "request-buffering", "request-timeout", "response-headers-remove"}
    closed |= {"response-rate", "response-rate-after", "retries", "retry-timeout", "satisfy", "send-timeout"}
    closed |= {"service-upstream", "tls-passthrough", "tls-prefer-server-ciphers", "tls-redirect"}
    closed |= {"trace-context", "trace-context-from-client"}
    closed |= {f"tls-redirect-{name}" for name in ("keep-slash", "show-port", "status")}
    closed |= {"upstream-http-version", "upstream-protocol", "www-redirect", "www-redirect-status"}
    closed |= {f"upstream-tls-{name}" for name in ("verify", "send-name", "depth")}

    assert {
        annotation.name for annotation in NativeDialect().table() if annotation.name not in fields
    } <= closed


def test_hostile_text_reaches_renderers_by_every_field_that_takes_text() -> None:
    """Else the corpus would show nothing of them."""
    reached = {
        case.field
        for case in hostile_cases()
        for host in _graph(*victim_objects(), *case.objects).virtual_hosts
        for route in host.routes
        if CANARY in f"{route.match} {route.action!r} {[asdict(policy) for policy in route.policies]}"
    }

    assert reached >= {
        "a path of type Prefix",
        "a path of type Exact",
        "a path of type ImplementationSpecific",
        "the annotation redirect",
        "the annotation request-headers-set",
        "the annotation response-headers-set",
        "the annotation request-headers-remove",
        "the annotation rewrite-prefix",
        "the annotation traffic-split",
        "the name of a Service",
        "a namespace",
    }


def test_no_hostile_object_changes_what_the_graph_answers_to_others() -> None:
    alone = [ask_graph(_graph(*victim_objects()), ask) for ask in victim_asks()]
    for case in hostile_cases():
        graph = _graph(*victim_objects(), *case.objects)

        assert [ask_graph(graph, ask) for ask in victim_asks()] == alone, str(case)
