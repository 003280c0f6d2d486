"""The annotations of ingress-nginx as documented rows, and with which values each asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ingresskit.policies.base import Policy, PolicyScope, Risk
from ingresskit.policies.dialects.base import AnnotationDoc, Status
from ingresskit.policies.dialects.ingress_nginx.meanings import MEANINGS
from ingresskit.policies.dialects.ingress_nginx.rows import NOTES, ROWS

__all__ = ["ALIASES", "TABLE", "Row"]

_SCOPES = {"r": PolicyScope.ROUTE, "h": PolicyScope.HOST, "b": PolicyScope.BACKEND}
_RISKS = {"l": Risk.LOW, "m": Risk.MEDIUM, "h": Risk.HIGH, "c": Risk.CRITICAL}
_STATUSES = {
    "+": Status.HONOURED,
    "~": Status.PARTLY,
    "?": Status.REPORTED,
    "!": Status.CLOSED,
    ".": Status.WITHOUT_EFFECT,
}

ALIASES: Final = {
    "whitelist-source-range": "allowlist-source-range",
    "limit-whitelist": "limit-allowlist",
}
"""Old names, and the new ones that win over them."""

# Go's strconv.ParseBool.
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})

# What an annotation asks for nothing without: a detail of it, or switched off with it.
_IDLE: Final[dict[str, frozenset[str]]] = {
    "backend-protocol": frozenset({"HTTP", "http", "Http", "AUTO_HTTP", "auto_http"}),
    "enable-access-log": _TRUE,
    "limit-rate": frozenset({"0"}),
    "limit-connections": frozenset({"0"}),
    "limit-rpm": frozenset({"0"}),
    "limit-rps": frozenset({"0"}),
    "proxy-cookie-domain": frozenset({"off"}),
    "proxy-cookie-path": frozenset({"off"}),
    "proxy-next-upstream-timeout": frozenset({"0"}),
    "proxy-redirect-from": frozenset({"off"}),
}
_NEEDS: Final = {
    "enable-owasp-core-rules": "enable-modsecurity",
    "modsecurity-snippet": "enable-modsecurity",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One annotation.

    Attributes:
        theme: The theme of the policies that it belongs to.
        doc: What the documentation says of it.
        idle: Values with which it asks for nothing; the empty one never asks for anything.
        needs: The annotation without which it has no effect; empty: it needs none.
    """

    theme: str
    doc: AnnotationDoc
    idle: frozenset[str] = frozenset()
    needs: str = ""

    def asks(self, value: str) -> bool:
        """Whether *value*, trimmed, asks for something."""
        return value != "" and value not in self.idle


def _rows() -> Iterator[tuple[str, Row]]:
    for theme, lines in ROWS.items():
        for line in lines.strip().splitlines():
            name, value, default, marks, key, summary = (part.strip() for part in line.split("|"))
            doc = AnnotationDoc(
                name=name,
                value=value,
                default=default,
                scope=_SCOPES[marks[0]],
                risk=_RISKS[marks[1]],
                status=_STATUSES[marks[2]],
                summary=summary,
                note=NOTES.get(name, ""),
                policies=_policies(name),
                global_key=name if key == "=" else key,
            )
            idle = _IDLE.get(name, _FALSE if value == "boolean" else frozenset[str]())
            yield name, Row(theme=theme, doc=doc, idle=idle, needs=_NEEDS.get(name, ""))


def _policies(name: str) -> tuple[type[Policy], ...]:
    meaning = MEANINGS.get(name)
    return () if meaning is None else tuple(dict.fromkeys(kind for kind, _ in meaning.fields))


TABLE: Final[dict[str, Row]] = dict(sorted(_rows(), key=lambda item: item[0]))
"""Every annotation by name, sorted."""
