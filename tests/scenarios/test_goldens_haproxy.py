"""What some of the readable inputs become for HAProxy: ``haproxy/`` beside their ``in.yaml``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ingresskit.policies.values import parse_networks
from ingresskit.render.haproxy import (
    CERTIFICATE_LIST,
    PROGRAM,
    Bind,
    Capabilities,
    HaproxyArtifact,
    HaproxyRenderer,
    HaproxySettings,
    MapName,
    SlotClass,
    configuration,
    program,
    slot_name,
)
from ingresskit.testing.plugin import Golden
from ingresskit.translate import translate
from tests.scenarios.test_goldens import read_input

_HERE = Path(__file__).parent
_SETTINGS = HaproxySettings(
    http=(Bind("192.0.2.1", 8080),),
    https=(Bind("::", 8443),),
    trusted_proxies=parse_networks("10.0.0.0/8"),
    proxy_protocol=True,
    log_socket="/var/lib/ingresskit/log.socket",
)


@pytest.mark.parametrize("name", ["actions", "certificates", "path-types", "policies"])
def test_the_input_becomes_the_maps_that_were_read_in_review(name: str, golden: Golden) -> None:
    artifact = _render(_HERE / name)
    files = _files(artifact)

    maps = "\n".join(f"{item.path}\n{files[item.path]}" for item in MapName)
    golden.check(_HERE / name / "haproxy" / "maps.txt", maps)
    golden.check(_HERE / name / "haproxy" / "certificates.txt", files[CERTIFICATE_LIST])


def test_the_input_becomes_the_program_that_was_read_in_review(golden: Golden) -> None:
    golden.check(_HERE / "policies" / "haproxy" / "haproxy.cfg", _files(_render(_HERE / "policies"))[PROGRAM])


def _render(folder: Path) -> HaproxyArtifact:
    renderer = HaproxyRenderer()
    return renderer.render(renderer.restrict(translate(read_input(folder)).graph).graph)


def _files(artifact: HaproxyArtifact) -> dict[str, str]:
    numbers = Counter[SlotClass]()
    slots: dict[str, str] = {}
    for name, backend in sorted(artifact.backends.items(), key=lambda item: item[1].key):
        numbers[backend.slot_class] += 1
        slots[name] = slot_name(backend.slot_class, numbers[backend.slot_class])
    held = {slots[name]: backend.servers for name, backend in artifact.backends.items()}
    text = program(_SETTINGS, Capabilities(), needs=artifact.needs, pools=numbers, slots=held, marker="000001")
    files = configuration(artifact, program=text, slots=slots, default_certificate=b"")
    return {str(file.path): file.content.decode() for file in files}
