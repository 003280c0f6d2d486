"""The complete configuration as files: what a HAProxy starts from, and restarts to the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ingresskit.render.files import RenderedFile
from ingresskit.render.haproxy.artifact import Handshakes, HaproxyArtifact, MapName, ServerNames
from ingresskit.render.haproxy.fields import masked_fields
from ingresskit.render.haproxy.quoting import map_line
from ingresskit.render.haproxy.route_row import slot_value

__all__ = [
    "CERTIFICATE_LIST",
    "DEFAULT_CERTIFICATE",
    "PROGRAM",
    "certificate_files",
    "certificate_line",
    "configuration",
    "map_text",
]

PROGRAM: Final = "haproxy.cfg"
"""The path of the program among the files."""

CERTIFICATE_LIST: Final = "certificates/list.txt"
"""The path of the list of certificates; also its name in the runtime API."""

DEFAULT_CERTIFICATE: Final = "certificates/default.pem"
"""The path of the certificate for all names that have no line; also its name in the runtime API."""


def configuration(
    artifact: HaproxyArtifact, *, program: str, slots: Mapping[str, str], default_certificate: bytes
) -> Iterator[RenderedFile]:
    """All files of a configuration.

    Args:
        artifact: What is served.
        program: The text that `ingresskit.render.haproxy.program` gave for *slots*.
        slots: By the id of each backend of *artifact*, the name of the slot it stands in.
        default_certificate: Key and chain in PEM for names without a certificate, used where *artifact*
            has no default of its own.
    """
    yield RenderedFile.text(PROGRAM, program)
    for name in MapName:
        text = map_text(artifact, name, slots).encode()
        yield RenderedFile.of(name.path, text, mask=masked_fields if name is MapName.SETTINGS else None)
    yield from certificate_files(artifact, default_certificate)


def map_text(artifact: HaproxyArtifact, name: MapName, slots: Mapping[str, str]) -> str:
    """The text of one map: its rows by block, then by key, each on a line.

    Args:
        artifact: Whose rows.
        name: Which map.
        slots: As for `configuration`.
    """
    match name:
        case MapName.SLOTS:
            rows = sorted(
                (key, slot_value(slot, artifact.backends[key].servers)) for key, slot in slots.items()
            )
        case MapName.HOSTS | MapName.STREAMS | MapName.SPLITS:
            rows = sorted((key, value) for (where, key), value in artifact.pointers.items() if where is name)
        case _:
            return "".join(
                lines for _, block in sorted(artifact.blocks.items()) if (lines := block.lines.get(name))
            )
    return "".join(f"{map_line(key, value)}\n" for key, value in rows)


def certificate_files(artifact: HaproxyArtifact, default_certificate: bytes) -> Iterator[RenderedFile]:
    """The certificates and their list."""
    bundles = artifact.certificates
    chosen = artifact.default_certificate
    default = default_certificate if chosen is None else bundles[chosen].pem
    yield RenderedFile.of(DEFAULT_CERTIFICATE, default, secret=True)
    for _, bundle in sorted(bundles.items()):
        yield RenderedFile.of(bundle.path, bundle.pem, secret=True)
    for _, identity in sorted(artifact.identities.items()):
        yield RenderedFile.of(identity.path, identity.pem, secret=True)
    # HAProxy shows the first of the list to clients that send no name, or one that no line has. The
    # names in that certificate are not to count, so it is listed for none.
    handshakes = artifact.needs.handshakes
    for asked in handshakes.asked.values():
        if asked.authorities:
            yield RenderedFile.of(_authorities(asked.id), asked.authorities)
        if asked.revoked:
            yield RenderedFile.of(_revoked(asked.id), asked.revoked)
    first = _options(handshakes, handshakes.default)
    lines = [f"{DEFAULT_CERTIFICATE} {first}!*", *(certificate_line(item) for item in artifact.server_names)]
    for line in handshakes.lines:
        path = f"certificates/{line.bundle}.pem" if line.bundle else DEFAULT_CERTIFICATE
        lines.append(f"{path} {_options(handshakes, line.asked)}{' '.join(line.names)}")
    yield RenderedFile.text(CERTIFICATE_LIST, "\n".join(lines) + "\n")


def _authorities(name: str) -> str:
    return f"certificates/{name}.ca.pem"


def _revoked(name: str) -> str:
    return f"certificates/{name}.crl.pem"


def _options(handshakes: Handshakes, name: str) -> str:
    """What a line of the list says of its handshakes, with a space behind it; empty for nothing."""
    if not name:
        return ""
    asked = handshakes.asked[name]
    words: list[str] = []
    if asked.authorities:
        # Also where one is required: the response that says so needs a connection.
        words += ("ca-file", _authorities(name), "verify", "optional")
    if asked.revoked:
        words += ("crl-file", _revoked(name))
    if asked.ciphers:
        words += ("ciphers", ":".join(asked.ciphers))
    return f"[{' '.join(words)}] " if words else ""


def certificate_line(line: ServerNames) -> str:
    """A line of the list of certificates, without a line end."""
    path = f"certificates/{line.bundle}.pem" if line.bundle else DEFAULT_CERTIFICATE
    return " ".join((path, *line.names))
