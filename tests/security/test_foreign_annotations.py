"""No value of an annotation of ingress-nginx becomes configuration of nginx or HAProxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingresskit.models import Snapshot
from ingresskit.policies import IngressNginxDialect, NativeDialect, PolicyRegistry
from ingresskit.render.haproxy import HaproxyRenderer
from ingresskit.render.nginx import NginxRenderer
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.testing.hostile import CANARY, HOSTILE_TEXTS
from ingresskit.testing.hostile_annotations import SHORT_LIST
from ingresskit.translate import TranslateOptions, translate
from tests.unit.render.haproxy.test_injection import assert_rows_are_read_as_meant, written
from tests.unit.render.nginx.test_injection import SETTINGS, names, read

DIALECT = IngressNginxDialect()
TEXTS = [text for attempt, text in HOSTILE_TEXTS if attempt in SHORT_LIST]
# With these, most of the others have an effect.
SWITCHES = {"enable-cors": "true", "auth-url": "http://auth.test/", "affinity": "cookie"}


@pytest.mark.parametrize("before", ["", "/", "http://in.test/"])
def test_hostile_values_stay_values(before: str, tmp_path: Path) -> None:
    cases = [(doc.name, before + text) for doc in DIALECT.table() for text in TEXTS]
    prefix = "nginx.ingress.kubernetes.io/"
    objects = [
        ingress(
            f"h{number}",
            {f"h{number}.test": {"/x": "web"}},
            annotations={prefix + key: value for key, value in {**SWITCHES, name: text}.items()},
        )
        for number, (name, text) in enumerate(cases)
    ]
    around = [ingress_class(), service("web"), endpoint_slice("web", "10.1.0.1")]
    policies = PolicyRegistry([DIALECT, NativeDialect()])
    graph = translate(Snapshot.of([*around, *objects]), TranslateOptions(policies=policies)).graph

    nginx, haproxy = NginxRenderer(SETTINGS), HaproxyRenderer()
    files = nginx.render(nginx.restrict(graph).graph)
    rows = haproxy.render(haproxy.restrict(graph).graph)

    assert len(cases) > 800
    assert len(files.hosts) > 600
    for file in files.hosts.values():
        assert not [name for name in names(read(file.content, tmp_path)) if CANARY in name]
    assert CANARY.encode() not in written(rows)["haproxy.cfg"]
    assert_rows_are_read_as_meant(rows)
