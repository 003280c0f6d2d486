"""The complaints of nginx's own checker about a configuration, and the objects at fault."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ingresskit.apply.nginx.main_directives import main_directives
from ingresskit.apply.nginx.probe import run_nginx
from ingresskit.errors import CheckFailed
from ingresskit.models import ObjectRef
from ingresskit.render.nginx import NginxArtifact

__all__ = ["blamed", "check_folder", "complaints"]

_COMPLAINT = re.compile(r"\[(?:emerg|alert|crit|error)\]")
_PLACE = re.compile(r" in (/\S+|[A-Za-z0-9_./-]+):([0-9]+)\s*$")


async def check_folder(program: Path, folder: Path, artifact: NginxArtifact) -> None:
    """Run ``nginx -t`` on a complete configuration.

    Raises:
        CheckFailed: nginx refuses it.
        ApplyError: nginx could not be run, or did not come to an end.
    """
    words = ("-t", "-q", "-e", "stderr", "-g", main_directives(), "-p", f"{folder}/", "-c", "nginx.conf")
    status, lines = await run_nginx(program, *words)
    if status != 0:
        raise CheckFailed(
            "nginx refuses the configuration: "
            + "; ".join(complaints(lines) or lines[-1:] or [f"status {status}"]),
            subjects=blamed(lines, artifact),
        )


def complaints(lines: Sequence[str]) -> tuple[str, ...]:
    """Those of the program's lines that give the reason why it cannot go on."""
    return tuple(line for line in lines if _COMPLAINT.search(line))


def blamed(lines: Sequence[str], artifact: NginxArtifact) -> frozenset[ObjectRef]:
    """The objects that asked for the places the lines point at."""
    found: set[ObjectRef] = set()
    for line in complaints(lines):
        if place := _PLACE.search(line):
            origin = artifact.origin_of(place[1], int(place[2]))
            if origin is not None:
                found.add(origin.subject)
    return frozenset(found)
