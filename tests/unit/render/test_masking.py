"""What the files of a renderer show of header fields that policies set: names, never values."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ingresskit.graph import RouteGraph
from ingresskit.models import Snapshot
from ingresskit.render.files import RenderedFile
from ingresskit.render.haproxy import HaproxyRenderer
from ingresskit.render.haproxy.files import configuration
from ingresskit.render.nginx import NginxRenderer, NginxSettings
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import translate

FIELDS = (
    'Authorization: Bearer 4f1c"; } \\ x',
    "X-Variable: $host 4f1c ${ik_dollar}",
    "X-Quote: '4f1c' = 4f1c",
    "Content-Type: 4f1c/4f1c",
)


def world() -> RouteGraph:
    annotations = {f"ingresskit.dev/{side}-headers-set": "\n".join(FIELDS) for side in ("request", "response")}
    objects = [
        ingress_class(),
        service("web"),
        endpoint_slice("web", "10.0.0.1"),
        ingress("web", {"shop.test": {"/": "web"}}, annotations=annotations),
    ]
    return translate(Snapshot.of(objects)).graph


def haproxy_files(graph: RouteGraph) -> Iterator[RenderedFile]:
    artifact = HaproxyRenderer().render(graph)
    slots = dict.fromkeys(artifact.backends, "slot")
    return configuration(artifact, program="", slots=slots, default_certificate=b"")


def nginx_files(graph: RouteGraph) -> Iterator[RenderedFile]:
    settings = NginxSettings(state="/run/ik", http=("0.0.0.0:80",), https=("0.0.0.0:443",))
    renderer = NginxRenderer(settings)
    return renderer.render(renderer.restrict(graph).graph).files()


@pytest.mark.parametrize("files_of", [haproxy_files, nginx_files])
def test_values_of_set_header_fields_are_in_the_files_and_hidden_where_these_are_shown(
    files_of: Callable[[RouteGraph], Iterator[RenderedFile]],
) -> None:
    files = list(files_of(world()))
    written = b"".join(item.content for item in files)
    shown = b"".join(item.shown or b"" for item in files)

    assert written.count(b"4f1c") >= 6
    assert b"4f1c" not in shown
    assert shown.count(b"[hidden]") == 8
    assert shown.count(b"\n") == written.count(b"\n")


def test_what_the_proxy_itself_says_to_endpoints_stays_readable() -> None:
    text = b"".join(item.shown or b"" for item in nginx_files(world())).decode()

    assert "proxy_set_header Host " in text
    assert 'proxy_set_header Host "[hidden]"' not in text


def test_a_file_without_a_mask_is_shown_as_it_is_and_a_secret_one_never() -> None:
    assert RenderedFile.text("a", "x").shown == b"x"
    assert RenderedFile.of("a", b"x", secret=True).shown is None
