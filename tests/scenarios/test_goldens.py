"""What a dozen readable inputs become: ``graph.json`` and ``diagnostics.txt`` beside each ``in.yaml``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ingresskit.errors import DecodeError
from ingresskit.graph import RouteGraph, to_json
from ingresskit.models import KubeObject, Secret, Snapshot, decode_any
from ingresskit.render.nginx import NginxRenderer, NginxSettings
from ingresskit.testing import tls_secret
from ingresskit.testing.plugin import Golden
from ingresskit.translate import translate

_HERE = Path(__file__).parent
_MADE_FOR = "made-for"


@pytest.mark.parametrize(
    "folder", sorted(item.parent for item in _HERE.glob("*/in.yaml")), ids=lambda p: p.name
)
def test_the_input_becomes_what_was_read_in_review(folder: Path, golden: Golden) -> None:
    documents = list(yaml.safe_load_all((folder / "in.yaml").read_text("utf-8")))
    for order in (documents, documents[::-1]):
        translation = translate(_snapshot(order))

        golden.check(folder / "graph.json", to_json(translation.graph))
        golden.check(folder / "nginx.txt", _nginx(translation.graph))
        golden.check(folder / "diagnostics.txt", "".join(f"{item}\n" for item in translation.diagnostics))


def _nginx(graph: RouteGraph) -> str:
    """Endpoints and hosts of the static mode, one file after the other, hosts in the order of the graph."""
    renderer = NginxRenderer(
        NginxSettings(state="/run/ingresskit", https=("0.0.0.0:8443",), public_https_port=443)
    )
    artifact = renderer.render(renderer.restrict(graph).graph)
    assert artifact.upstreams is not None
    parts = (artifact.upstreams, *artifact.hosts.values())
    return "\n".join(item.content.decode("utf-8", "surrogateescape") for item in parts)


def read_input(folder: Path) -> Snapshot:
    """What stands in the folder's ``in.yaml``."""
    return _snapshot(list(yaml.safe_load_all((folder / "in.yaml").read_text("utf-8"))))


def _snapshot(documents: list[dict[str, object]]) -> Snapshot:
    objects: list[KubeObject] = []
    problems: list[DecodeError] = []
    for document in documents:
        try:
            decoded = decode_any(document)
        except DecodeError as exc:
            problems.append(exc)
            continue
        assert decoded is not None
        if isinstance(decoded, Secret) and (hosts := decoded.metadata.annotations.get(_MADE_FOR)):
            decoded = tls_secret(
                *hosts.split(","), name=decoded.metadata.name, namespace=decoded.metadata.namespace
            )
        objects.append(decoded)
    return Snapshot.of(objects, problems=problems)
