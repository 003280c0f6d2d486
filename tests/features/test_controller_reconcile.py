"""One pass as a function: what a dry run, a test or a tool of one's own calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ingresskit.controller import reconcile
from ingresskit.graph import to_json
from ingresskit.models import Snapshot
from ingresskit.render.inprocess import InProcessRenderer
from tests.unit.controller.certificates import tls_secret
from tests.unit.controller.doubles import HostsRenderer, ingress, web


def test_a_snapshot_becomes_an_outcome() -> None:
    snapshot = Snapshot.of([ingress("a", "a.test", "/x"), *web()], revision=7)

    outcome = reconcile(snapshot, InProcessRenderer())

    assert outcome.revision == 7
    assert outcome.diagnostics == ()
    assert outcome.artifact.find("a.test", "/x/y") is not None
    assert outcome.graph.resolve("a.test", "/x/y") is not None


def test_what_the_renderer_cannot_honour_is_said_with_what_the_translator_cannot() -> None:
    annotations = {"ingresskit.dev/connect-timeout": "3s"}
    objects = [
        ingress("a", "a.test", annotations=annotations),
        ingress("b", "b.test", namespace="lost"),
        *web(),
    ]

    outcome = reconcile(Snapshot.of(objects), HostsRenderer())

    assert [(item.subject.key.name, item.reason) for item in outcome.diagnostics] == [
        ("b", "ServiceNotFound"),
        ("a", "PolicyUnsupported"),
    ]


def test_the_same_snapshot_gives_an_equal_outcome_in_any_order() -> None:
    objects = [*(ingress(f"i{number}", f"h{number}.test") for number in range(20)), *web()]

    one = reconcile(Snapshot.of(objects), InProcessRenderer())
    other = reconcile(Snapshot.of(reversed(objects)), InProcessRenderer())

    assert to_json(one.graph) == to_json(other.graph)
    assert one.artifact == other.artifact


def test_expired_certificates_are_reported_for_the_moment_that_is_given() -> None:
    secret = tls_secret("tls", "a.test", valid_for=timedelta(hours=1))
    snapshot = Snapshot.of([ingress("a", "a.test", tls="tls"), secret, *web()])

    now = reconcile(snapshot, InProcessRenderer(), now=datetime.now(UTC))
    later = reconcile(snapshot, InProcessRenderer(), now=datetime.now(UTC) + timedelta(hours=2))

    assert now.diagnostics == ()
    assert [item.reason for item in later.diagnostics] == ["CertificateExpired"]
