"""The servers and locations that ingress-nginx makes of Ingresses, and which of them takes a request.

Source: ingress-nginx at dbb11b92d (2026-03-20), ``internal/ingress/controller``; nginx, "location".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from ingresskit.models import Ingress, ObjectKey, ObjectRef

__all__ = ["TRUE", "Canary", "Location", "Server", "Servers", "decoded"]

TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
"""What Go reads as true."""

_NO_DATE: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Another Service for some of the requests that a location takes.

    Attributes:
        header: The name of a header field that decides; empty: none does.
        value: The value for which it does; empty: ``always`` and ``never``.
        pattern: A pattern that the value is searched for, in place of *value*.
        cookie: The name of a cookie that decides.
        weight: How many of *total* requests it takes.
        total: 100 at least.
        service: ``"shop/next"``.
    """

    header: str
    value: str
    pattern: str
    cookie: str
    weight: int
    total: int
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A path of a server.

    Attributes:
        path: As written.
        exact: Whether it is of path type Exact.
        service: ``"shop/web"``.
        ingress: Whose it is.
        notes: The annotations of that Ingress, without their prefix.
        canaries: One at most, as long as ingress-nginx takes only one.
    """

    path: str
    exact: bool
    service: str
    ingress: ObjectRef
    notes: Mapping[str, str]
    canaries: tuple[Canary, ...] = ()


@dataclass(slots=True)
class Server:
    """A host.

    Attributes:
        locations: In the order in which Ingresses ask for them, the oldest first.
        tls: Whether it has a certificate.
        secret: The Secret with it.
        twin: Whether the name with or without ``www.`` is redirected to it.
    """

    locations: list[Location] = field(default_factory=list[Location])
    tls: bool = False
    secret: ObjectKey | None = None
    twin: bool = False

    @property
    def regex(self) -> bool:
        """Whether one location of it makes regular expressions of all."""
        return any(
            item.notes.get("use-regex", "") in TRUE
            or item.notes.get("rewrite-target", "") not in ("", item.path)
            for item in self.locations
        )

    @property
    def passes_to(self) -> Location | None:
        """The location whose Service gets the TLS connections as they are; ``None``: they end here."""
        # The Ingress that makes the server decides, and only the path / counts.
        if not self.locations or self.locations[0].notes.get("ssl-passthrough", "") not in TRUE:
            return None
        return next((item for item in self.locations if item.path == "/"), None)


class Servers:
    """All servers that Ingresses ask for.

    Args:
        ingresses: Those of the class of ingress-nginx.
        prefix: That of its annotations, with the slash.
        certificates: The names that the certificates of Secrets are for.
    """

    def __init__(
        self,
        ingresses: Iterable[Ingress],
        prefix: str,
        certificates: Mapping[ObjectKey, Sequence[str]] | None = None,
    ) -> None:
        self._prefix = prefix
        self._certificates = certificates or {}
        self._servers: dict[str, Server] = {}
        self._aliases: dict[str, str] = {}
        # The oldest first, of those as old the one whose name is last in the alphabet.
        ordered = sorted(ingresses, key=lambda item: str(item.key), reverse=True)
        ordered.sort(key=lambda item: item.metadata.creation_timestamp or _NO_DATE)
        canaries: list[Ingress] = []
        for ingress in ordered:
            if self._notes(ingress).get("canary", "") in TRUE:
                canaries.append(ingress)
            else:
                self._add(ingress)
        for ingress in canaries:
            self._add_canary(ingress)

    def find(self, name: str) -> tuple[str, Server | None]:
        """The server for the host *name* in lower case; ``"www-twin:shop.test"`` where it is its twin."""
        if name in self._servers:
            return name, self._servers[name]
        alias = self._alias(name)
        if alias:
            server = self._servers[alias]
            # Its certificate serves an alias only where it is for that name too.
            covered = self._certificates.get(server.secret, ()) if server.secret is not None else ()
            _, _, parent = name.partition(".")
            return name, replace(server, tls=server.tls and not {name, f"*.{parent}"}.isdisjoint(covered))
        twin = name.removeprefix("www.") if name.startswith("www.") else f"www.{name}"
        if twin in self._servers and self._servers[twin].twin:
            return f"www-twin:{twin}", self._servers[twin]
        label, _, parent = name.partition(".")
        if re.fullmatch(r"[\w-]+", label) and f"*.{parent}" in self._servers:
            return name, self._servers[f"*.{parent}"]
        return name, self._servers.get("_")

    def _alias(self, name: str) -> str:
        """The host that *name* is an alias of; empty: of none."""
        _, _, parent = name.partition(".")
        if name in self._aliases or f"*.{parent}" in self._aliases:
            return self._aliases.get(name) or self._aliases[f"*.{parent}"]
        for alias, host in self._aliases.items():
            if alias.startswith("~") and (found := _expression(alias[1:])) is not None and found.match(name):
                return host
        return ""

    @staticmethod
    def locate(server: Server, path: str) -> tuple[Location, tuple[str, ...]] | None:
        """The location that takes *path*, and the groups of its pattern.

        One whose path is *path* and a slash: nginx redirects there itself.
        """
        if server.regex:
            ordered = sorted(server.locations, key=lambda item: item.path, reverse=True)
            ordered.sort(key=lambda item: len(item.path), reverse=True)
            for item in ordered:
                expression = _expression(item.path)
                if expression is not None and (found := expression.match(path)) is not None:
                    return item, tuple(group or "" for group in found.groups())
            return None
        for item in sorted(server.locations, key=lambda item: not item.exact):
            if path == item.path and (item.exact or item.path != "/"):
                return item, ()
        prefixes = [item for item in server.locations if not item.exact]
        taken = [item for item in prefixes if path.startswith(item.path.rstrip("/") + "/")]
        best = max(taken, key=lambda item: len(item.path.rstrip("/")), default=None)
        slashed = next((item for item in server.locations if item.path == f"{path}/"), None)
        if slashed is not None:
            return slashed, ()
        return None if best is None else (best, ())

    def _notes(self, ingress: Ingress) -> Mapping[str, str]:
        return {
            key.removeprefix(self._prefix): value.strip()
            for key, value in ingress.metadata.annotations.items()
            if key.startswith(self._prefix)
        }

    def _add(self, ingress: Ingress) -> None:
        notes, namespace = self._notes(ingress), ingress.metadata.namespace
        hosts: list[str] = []
        for rule in ingress.spec.rules:
            host = rule.host or "_"
            server = self._servers.setdefault(host, Server())
            hosts.append(host)
            for path in rule.http.paths if rule.http is not None else ():
                if path.backend.service is None:
                    continue
                service = f"{namespace}/{path.backend.service.name}"
                _put(server, ingress, path.path or "/", path.path_type == "Exact", service, notes)
            if notes.get("from-to-www-redirect", "") in TRUE:
                server.twin = True
            for alias in notes.get("server-alias", "").split(","):
                if alias.strip():
                    self._aliases.setdefault(alias.strip(), host)
        default = ingress.spec.default_backend
        if default is not None and default.service is not None:
            for host in hosts or ["_"]:
                server = self._servers.setdefault(host, Server())
                service = f"{namespace}/{default.service.name}"
                _put(server, ingress, "/", False, service, notes)
        for entry in ingress.spec.tls:
            for host in entry.hosts or hosts:
                if host in self._servers:
                    server = self._servers[host]
                    server.tls = True
                    if entry.secret_name:
                        server.secret = server.secret or ObjectKey(namespace, entry.secret_name)

    def _add_canary(self, ingress: Ingress) -> None:
        notes = self._notes(ingress)
        for rule in ingress.spec.rules:
            server = self._servers.get(rule.host or "_")
            if server is None:
                continue
            for path in rule.http.paths if rule.http is not None else ():
                if path.backend.service is None:
                    continue
                canary = Canary(
                    header=notes.get("canary-by-header", ""),
                    value=notes.get("canary-by-header-value", ""),
                    pattern=notes.get("canary-by-header-pattern", ""),
                    cookie=notes.get("canary-by-cookie", ""),
                    weight=_number(notes.get("canary-weight", ""), 0),
                    total=max(100, _number(notes.get("canary-weight-total", ""), 100)),
                    service=f"{ingress.metadata.namespace}/{path.backend.service.name}",
                )
                key = (path.path or "/", path.path_type == "Exact")
                server.locations = [
                    replace(item, canaries=(*item.canaries, canary))
                    if (item.path, item.exact) == key and not item.canaries and item.service != canary.service
                    else item
                    for item in server.locations
                ]


def decoded(path: str) -> str | None:
    """*path* as nginx matches it: decoded, slashes merged, dot segments resolved; ``None``: it refuses it."""
    text = path.partition("?")[0]
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        return None
    octets = unquote_to_bytes(text)
    if b"\x00" in octets:
        return None
    merged = re.sub(r"/{2,}", "/", octets.decode("utf-8", "surrogateescape"))
    kept: list[str] = []
    parts = merged.split("/")[1:]
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "..":
            if not kept:
                return None
            kept.pop()
            if last:
                kept.append("")
        elif part == ".":
            if last:
                kept.append("")
        else:
            kept.append(part)
    return "/" + "/".join(kept)


def _put(
    server: Server, ingress: Ingress, path: str, exact: bool, service: str, notes: Mapping[str, str]
) -> None:
    if any((item.path, item.exact) == (path, exact) for item in server.locations):
        return
    server.locations.append(Location(path=path, exact=exact, service=service, ingress=ingress.ref, notes=notes))


def _number(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default


@lru_cache(maxsize=4096)
def _expression(path: str) -> re.Pattern[str] | None:
    try:
        return re.compile(path.removeprefix("^"), re.IGNORECASE | re.DOTALL)
    except re.error:
        return None
