"""What is pushed, what is kept on disk, and what is read back: without an nginx."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from ingresskit.apply.nginx.applier import NginxApplier
from ingresskit.apply.nginx.checking import blamed, complaints
from ingresskit.apply.nginx.control import encode_rows
from ingresskit.apply.nginx.journal import Journal, table_record
from ingresskit.apply.nginx.nginx import Nginx
from ingresskit.apply.nginx.statistics import NginxBackendStatistics, read_statistics
from ingresskit.apply.nginx.tables import all_rows, changed_rows, summary_of
from ingresskit.apply.plan import Dynamic, NoOp, Reload
from ingresskit.graph import BackendKey, RouteGraph, Termination
from ingresskit.models import KubeObject, ObjectKey, ObjectRef, Snapshot
from ingresskit.render.nginx import Capabilities, Mode, NginxArtifact, NginxRenderer, NginxSettings
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import Translator

SETTINGS = NginxSettings(state="/run/nginx", http=("127.0.0.1:8080",))
CAPABILITIES = Capabilities(lua=True)


def world(*hosts: str, endpoint: str = "10.0.0.1") -> Snapshot:
    objects: list[KubeObject] = [ingress_class(), service("web"), endpoint_slice("web", endpoint)]
    return Snapshot.of([*objects, *(ingress(host.replace(".", "-"), {host: {"/": "web"}}) for host in hosts)])


class Rendered:
    """Successive artifacts, as a controller makes them."""

    def __init__(self, mode: Mode = Mode.DYNAMIC) -> None:
        self._translator = Translator()
        self._renderer = NginxRenderer(SETTINGS, CAPABILITIES, mode=mode)

    def of(self, snapshot: Snapshot) -> NginxArtifact:
        return self._renderer.render(self._translator.translate(snapshot).graph)


def test_only_what_changed_is_said() -> None:
    rendered = Rendered()
    before = rendered.of(world("a.test", "b.test"))
    endpoints = rendered.of(world("a.test", "b.test", endpoint="10.0.0.2"))
    hosts = rendered.of(world("b.test", "c.test", endpoint="10.0.0.2"))

    assert [key for key, _ in changed_rows(before, endpoints) if key[0] != "b"] == []
    assert len(changed_rows(before, endpoints)) == 1
    rows = dict(changed_rows(endpoints, hosts))
    assert set(rows) == {"h:a.test", "h:c.test"}
    assert rows["h:a.test"] is None
    assert summary_of(before, endpoints) == "1 backends"
    assert changed_rows(hosts, hosts) == []


def test_a_backend_is_there_before_a_host_points_at_it() -> None:
    kinds = [key[0] for key, _ in all_rows(Rendered().of(world("a.test")))]

    assert kinds.index("b") < kinds.index("h")


def test_no_row_holds_what_would_end_it() -> None:
    rows = all_rows(Rendered().of(world("a.test", "*.b.test", "")))

    assert encode_rows(rows).count(b"\n") == encode_rows(rows).count(b"\t") == len(rows)


def test_a_change_of_objects_is_dynamic_and_one_of_settings_a_reload() -> None:
    rendered = Rendered()
    applier = NginxApplier(Nginx(SETTINGS))
    first, second = rendered.of(world("a.test")), rendered.of(world("a.test", "b.test"))
    other = NginxRenderer(replace(SETTINGS, http=("127.0.0.1:8081",)), CAPABILITIES).render(RouteGraph())

    assert isinstance(applier.plan(first, first), NoOp)
    assert applier.plan(first, second) == Dynamic(artifact=second, summary="1 hosts")
    reload = applier.plan(first, other)
    assert isinstance(reload, Reload)
    assert "nginx.conf" in reload.reason
    assert applier.plan(None, first) == Reload(artifact=first, reason="nginx serves nothing yet")


def test_a_reload_names_the_objects_it_is_for() -> None:
    rendered = Rendered(Mode.STATIC)
    applier = NginxApplier(Nginx(SETTINGS))
    plan = applier.plan(rendered.of(world("a.test")), rendered.of(world("a.test", "b.test")))

    assert isinstance(plan, Reload)
    assert {origin.subject for origin in plan.origins} == {ObjectRef("Ingress", ObjectKey("default", "b-test"))}


def test_the_checkers_words_lead_to_the_object() -> None:
    artifact = Rendered(Mode.STATIC).of(world("a.test"))
    path = artifact.hosts["a.test"].path
    line = next(span.first for span in artifact.hosts["a.test"].spans)
    lines = [
        "nginx: [warn] something",
        f"nginx: [emerg] no such thing in /run/nginx/gen-000001/{path}:{line}",
        "nginx: configuration file /run/nginx/gen-000001/nginx.conf test failed",
    ]

    assert complaints(lines) == (lines[1],)
    assert blamed(lines, artifact) == {ObjectRef("Ingress", ObjectKey("default", "a-test"))}
    assert blamed([lines[1].replace(path, "nginx.conf")], artifact) == frozenset()


def test_a_journal_is_forgotten_when_its_tables_are_written_anew(tmp_path: Path) -> None:
    (tmp_path / "gen-000001").mkdir()
    (tmp_path / "current").symlink_to("gen-000001")
    (tmp_path / "current" / "tables").write_bytes(b"old")
    journal = Journal(tmp_path)
    first = table_record([("h:a", b"{}")], generation=2, base="one", state="two")
    second = table_record([("h:a", None)], generation=3, base="two", state="three")

    journal.append(first)
    journal.append(second)
    assert (tmp_path / "journal").read_bytes() == first + second
    journal.rewrite(b"new")

    assert (tmp_path / "current" / "tables").read_bytes() == b"new"
    assert not (tmp_path / "journal").exists()
    assert not journal.long


def test_a_record_says_how_long_it_is() -> None:
    record = table_record([("h:a", b"{}"), ("b:x", None)], generation=7, base="-", state="s7")

    assert record == b"push 7 - s7 11 06959ded\nh:a\t{}\nb:x\n"


STATUS = (
    "Active connections: 3 \nserver accepts handled requests\n 10 9 40 \nReading: 0 Writing: 1 Waiting: 2 \n"
)


def test_counts_are_read_in_the_words_of_the_proxy() -> None:
    key = BackendKey("shop", "web", 80)
    text = (
        '{"r2:a.test":5,"r4:":2,"d:1":6,"d:15":1,"ds":1.5,"retries":1,"failed":2,"received":700,"sent":900,'
        '"s:200":5,"s:404":2,"t:no_route":2,"f:upstream_refused":2,"f:odd":1,"s:odd":1,'
        '"bq:abc":5,"bf:abc":2,"ba:abc":-1,"bq:gone":9,"odd":"x","":1}'
    )
    counts = cast("dict[str, object]", json.loads(text))
    found = read_statistics(STATUS, counts, {"abc": key}, reloads=1, restarts=2, old_workers=3)

    assert (found.connections_total, found.connections_open, found.connections_refused) == (10, 3, 1)
    assert found.requests == {"a.test": {2: 5}, "": {4: 2}}
    assert found.requests_by_class == {2: 5, 4: 2}
    assert (found.durations[0], found.durations[-1], len(found.durations)) == (6, 1, 15)
    assert found.statuses == {200: 5, 404: 2}
    assert found.terminations == {Termination.NO_ROUTE: 2}
    assert found.upstream_failures == {Termination.UPSTREAM_REFUSED: 2}
    assert (found.duration_sum, found.retries, found.upstream_failed) == (1.5, 1, 2)
    assert found.backends == {key: NginxBackendStatistics(requests=5, failures=2, active=0)}
    assert (found.reloads, found.restarts, found.old_workers_open) == (1, 2, 3)


@pytest.mark.parametrize(
    "text", ["", "nothing", STATUS.replace("9", "x")], ids=["none", "another", "no number"]
)
def test_a_status_that_cannot_be_read_counts_nothing(text: str) -> None:
    assert read_statistics(text, {}, {}).connections_total == 0
