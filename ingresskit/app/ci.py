"""Diagnostics in the forms that pipelines read: SARIF 2.1.0, and annotations of GitHub's workflows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

from ingresskit.app.listings import print_text
from ingresskit.app.shown import diagnostic_line, object_shown, written

__all__ = ["Finding", "print_findings"]

_LEVELS: Final = {"error": "error", "warning": "warning"}


class Finding(NamedTuple):
    """A diagnostic, as of ``/api/diagnostics``, and where its object was read.

    Attributes:
        file: The path; empty when it comes from no file.
        place: The same for people, ``"web.yaml, document 2"``; empty likewise.
    """

    item: dict[str, object]
    file: str = ""
    place: str = ""


def print_findings(findings: Sequence[Finding], output: str, version: str) -> None:
    """Print them as ``table``, ``json``, ``yaml``, ``sarif`` or ``github``.

    Args:
        findings: In the order in which they are printed.
        output: How.
        version: Of the package, for SARIF.
    """
    match output:
        case "sarif":
            print_text(json.dumps(_sarif(findings, version), indent=2).splitlines())
        case "github":
            print_text(map(_workflow_command, findings))
        case "json" | "yaml":
            shown = [{**item, "file": file or None} for item, file, _ in findings]
            print_text(written({"diagnostics": shown}, output).splitlines())
        case _:
            print_text(_lines(findings))


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    for item, _, place in findings:
        line = diagnostic_line(item)
        yield f"{place}: {line}" if place else line


def _sarif(findings: Sequence[Finding], version: str) -> dict[str, object]:
    """Source: OASIS, SARIF Version 2.1.0."""
    reasons = sorted({str(item.get("reason")) for item, _, _ in findings})
    driver = {"name": "ingresskit", "version": version, "rules": [{"id": reason} for reason in reasons]}
    results = [_result(finding) for finding in findings]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def _result(finding: Finding) -> dict[str, object]:
    item = finding.item
    location: dict[str, object] = {
        "logicalLocations": [{"fullyQualifiedName": object_shown(item), "kind": "object"}]
    }
    if finding.file:
        location["physicalLocation"] = {"artifactLocation": {"uri": quote(finding.file)}}
    return {
        "ruleId": str(item.get("reason")),
        "level": _LEVELS.get(str(item.get("severity")), "note"),
        "message": {"text": f"{object_shown(item)}: {item.get('message')}"},
        "locations": [location],
    }


def _workflow_command(finding: Finding) -> str:
    """Source: GitHub, "Workflow commands for GitHub Actions"."""
    item = finding.item
    command = _LEVELS.get(str(item.get("severity")), "notice")
    properties = {"file": finding.file, "title": str(item.get("reason"))}
    shown = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    text = f"{object_shown(item)}: {item.get('message')}"
    return f"::{command} {shown}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
