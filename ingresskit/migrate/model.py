"""What ingress-nginx does with a request: a model of it, for comparison with what is done here.

It is written from ingress-nginx's documentation and source and from what was observed of it, and shares no
code with the dialect: where both agree, two ways of reading led to the same. It decides what can be decided by
a request alone: the server, the location, redirects, addresses, preflights, body limits, canaries by header and
cookie, and the path that the endpoint gets. Credentials count as missing; rates and weights are left out.

Source: ingress-nginx at dbb11b92d (2026-03-20), ``internal/ingress/controller`` and
``rootfs/etc/nginx/template/nginx.tmpl``; nginx, "location", "rewrite".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from ingresskit.graph import Request
from ingresskit.migrate.flags import ControllerFlags
from ingresskit.models import Ingress, ObjectRef
from ingresskit.policies import cookie_value

__all__ = ["IngressNginxModel", "Prediction"]

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_NO_DATE: Final = datetime.max.replace(tzinfo=UTC)
_SIZE: Final = re.compile(r"([0-9]+)([kKmMgG]?)")
_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_ACME: Final = "/.well-known/acme-challenge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What becomes of a request.

    Attributes:
        status: Of ingress-nginx's own response; ``None``: an endpoint's is sent.
        location: Of a redirect; empty otherwise.
        service: The Service that gets the request, ``"shop/web"``; empty when none does.
        path: The path that it gets, without the query.
        host: What it gets as ``Host``; empty: the client's.
        ingress: The Ingress whose location took the request; ``None``: none did.
        open: What decides besides the request, such as ``"credentials"``; empty: nothing does.
    """

    status: int | None = None
    location: str = ""
    service: str = ""
    path: str = ""
    host: str = ""
    ingress: ObjectRef | None = None
    open: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Canary:
    header: str
    value: str
    pattern: str
    cookie: str
    weight: int
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Location:
    path: str
    exact: bool
    service: str
    ingress: ObjectRef
    notes: Mapping[str, str]
    canaries: tuple[_Canary, ...] = ()


@dataclass(slots=True)
class _Server:
    locations: list[_Location] = field(default_factory=list[_Location])
    tls: bool = False
    twin: bool = False

    @property
    def regex(self) -> bool:
        """Whether one location of it makes regular expressions of all."""
        return any(
            _on(item.notes, "use-regex") or item.notes.get("rewrite-target", "") not in ("", item.path)
            for item in self.locations
        )


class IngressNginxModel:
    """ingress-nginx with these objects.

    Args:
        ingresses: Those of its class.
        settings: The data of its ConfigMap.
        flags: Those that it is run with.
    """

    def __init__(
        self,
        ingresses: Iterable[Ingress],
        settings: Mapping[str, str] | None = None,
        flags: ControllerFlags | None = None,
    ) -> None:
        self._settings: Mapping[str, str] = settings or {}
        self._prefix = f"{(flags or ControllerFlags()).prefix}/"
        self._servers: dict[str, _Server] = {}
        self._aliases: dict[str, str] = {}
        # The oldest first, of those as old the one whose name is last in the alphabet.
        ordered = sorted(ingresses, key=lambda item: str(item.key), reverse=True)
        ordered.sort(key=lambda item: item.metadata.creation_timestamp or _NO_DATE)
        canaries = [item for item in ordered if _on(self._notes(item), "canary")]
        for ingress in ordered:
            if ingress not in canaries:
                self._add(ingress)
        for ingress in canaries:
            self._add_canary(ingress)

    def predict(self, request: Request) -> Prediction:
        """What becomes of *request*."""
        name = request.host.lower().rpartition(":")[0] or request.host.lower()
        name = name if request.host.count(":") == 1 else request.host.lower()
        host, server = self._server(name)
        if server is None:
            return Prediction(status=404)
        path = _decoded(request.path)
        if path is None:
            return Prediction(status=400)
        if host != name and host.startswith("www-twin:"):
            port = "" if ":" not in request.host else f":{request.host.rpartition(':')[2]}"
            scheme = "https" if server.tls and request.scheme == "https" else request.scheme
            target = f"{scheme}://{host.removeprefix('www-twin:')}{port}{request.path}{request.query}"
            return Prediction(status=int(self._settings.get("http-redirect-code", "308")), location=target)
        found = self._locate(server, path)
        if found is None:
            return Prediction(status=404)
        location, groups = found
        if isinstance(location, str):
            return Prediction(
                status=301, location=f"{request.scheme}://{request.host}{location}{request.query}"
            )
        return self._effects(request, server, location, groups, path)

    def _notes(self, ingress: Ingress) -> Mapping[str, str]:
        start = self._prefix
        return {
            key.removeprefix(start): value.strip()
            for key, value in ingress.metadata.annotations.items()
            if key.startswith(start)
        }

    def _add(self, ingress: Ingress) -> None:
        notes, namespace = self._notes(ingress), ingress.metadata.namespace
        hosts: list[str] = []
        for rule in ingress.spec.rules:
            host = rule.host or "_"
            server = self._servers.setdefault(host, _Server())
            hosts.append(host)
            for path in rule.http.paths if rule.http is not None else ():
                if path.backend.service is None:
                    continue
                service = f"{namespace}/{path.backend.service.name}"
                self._put(server, ingress, path.path or "/", path.path_type == "Exact", service, notes)
            if _on(notes, "from-to-www-redirect"):
                server.twin = True
            for alias in notes.get("server-alias", "").split(","):
                if alias.strip():
                    self._aliases.setdefault(alias.strip(), host)
        default = ingress.spec.default_backend
        if default is not None and default.service is not None:
            for host in hosts or ["_"]:
                server = self._servers.setdefault(host, _Server())
                service = f"{namespace}/{default.service.name}"
                self._put(server, ingress, "/", False, service, notes)
        for entry in ingress.spec.tls:
            for host in entry.hosts or hosts:
                if host in self._servers:
                    self._servers[host].tls = True

    @staticmethod
    def _put(
        server: _Server, ingress: Ingress, path: str, exact: bool, service: str, notes: Mapping[str, str]
    ) -> None:
        if any((item.path, item.exact) == (path, exact) for item in server.locations):
            return
        server.locations.append(
            _Location(path=path, exact=exact, service=service, ingress=ingress.ref, notes=notes)
        )

    def _add_canary(self, ingress: Ingress) -> None:
        notes = self._notes(ingress)
        for rule in ingress.spec.rules:
            server = self._servers.get(rule.host or "_")
            if server is None:
                continue
            for path in rule.http.paths if rule.http is not None else ():
                if path.backend.service is None:
                    continue
                canary = _Canary(
                    header=notes.get("canary-by-header", ""),
                    value=notes.get("canary-by-header-value", ""),
                    pattern=notes.get("canary-by-header-pattern", ""),
                    cookie=notes.get("canary-by-cookie", ""),
                    weight=int(notes["canary-weight"]) if notes.get("canary-weight", "").isdecimal() else 0,
                    service=f"{ingress.metadata.namespace}/{path.backend.service.name}",
                )
                key = (path.path or "/", path.path_type == "Exact")
                server.locations = [
                    replace(item, canaries=(*item.canaries, canary))
                    if (item.path, item.exact) == key and not item.canaries and item.service != canary.service
                    else item
                    for item in server.locations
                ]

    def _server(self, name: str) -> tuple[str, _Server | None]:
        if name in self._servers:
            return name, self._servers[name]
        if name in self._aliases:
            return name, self._servers[self._aliases[name]]
        twin = name.removeprefix("www.") if name.startswith("www.") else f"www.{name}"
        if twin in self._servers and self._servers[twin].twin:
            return f"www-twin:{twin}", self._servers[twin]
        label, _, parent = name.partition(".")
        if re.fullmatch(r"[\w-]+", label) and f"*.{parent}" in self._servers:
            return name, self._servers[f"*.{parent}"]
        return name, self._servers.get("_")

    def _locate(self, server: _Server, path: str) -> tuple[_Location | str, tuple[str, ...]] | None:
        """The location that takes *path*, and the groups of its pattern; a text: nginx adds a slash itself."""
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
        slashed = [item.path for item in prefixes if item.path == f"{path}/"]
        if slashed:
            return slashed[0], ()
        return None if best is None else (best, ())

    def _effects(
        self, request: Request, server: _Server, location: _Location, groups: tuple[str, ...], path: str
    ) -> Prediction:
        notes = location.notes
        made = Prediction(ingress=location.ingress)
        if self._too_large(request, notes):
            return replace(made, status=413)
        root = notes.get("app-root", "")
        if root and path == "/":
            return replace(made, status=302, location=f"{request.scheme}://{request.host}{root}")
        if request.method == "OPTIONS" and _on(notes, "enable-cors") and self._origin_fits(request, notes):
            return replace(made, status=204)
        for name, status in (("temporal-redirect", 302), ("permanent-redirect", 301)):
            if notes.get(name):
                code = notes.get(f"{name}-code", "")
                return replace(made, status=int(code) if code.isdecimal() else status, location=notes[name])
        if request.scheme == "http" and self._goes_to_tls(server, notes, path):
            host = request.host.partition(":")[0]
            sent = int(self._settings.get("http-redirect-code", "308"))
            return replace(made, status=sent, location=f"https://{host}{request.path}{request.query}")
        if request.client is not None and self._is_kept_out(request.client, notes):
            return replace(made, status=403)
        if notes.get("auth-type") in ("basic", "digest") and notes.get("auth-secret"):
            if "authorization" not in request.headers:
                return replace(made, status=401)
            made = replace(made, open="credentials")
        if notes.get("auth-url"):
            made = replace(made, open="an external service")
        service = self._chosen(location, request)
        if service is None:
            made, service = replace(made, open="the weight of a canary"), location.service
        return replace(
            made,
            service=service,
            path=self._forwarded(location, groups, path),
            host=notes.get("upstream-vhost", ""),
        )

    def _too_large(self, request: Request, notes: Mapping[str, str]) -> bool:
        text = notes.get("proxy-body-size") or self._settings.get("proxy-body-size") or "1m"
        found = _SIZE.fullmatch(text)
        limit = int(found[1]) * _UNITS[found[2].lower()] if found else 1024**2
        length = request.headers.get("content-length", "0")
        return bool(limit) and length.isdecimal() and int(length) > limit

    @staticmethod
    def _origin_fits(request: Request, notes: Mapping[str, str]) -> bool:
        origins = [item.strip() for item in notes.get("cors-allow-origin", "*").split(",")]
        origin = request.headers.get("origin", "")
        return "*" in origins or origin in origins

    def _goes_to_tls(self, server: _Server, notes: Mapping[str, str], path: str) -> bool:
        if path == _ACME or path.startswith(f"{_ACME}/"):
            return False
        forced = notes.get("force-ssl-redirect", self._settings.get("force-ssl-redirect", "false"))
        wanted = notes.get("ssl-redirect", self._settings.get("ssl-redirect", "true"))
        return forced in _TRUE or (server.tls and wanted in _TRUE)

    def _is_kept_out(self, client: str, notes: Mapping[str, str]) -> bool:
        allowed = notes.get("allowlist-source-range") or notes.get("whitelist-source-range")
        allowed = allowed or self._settings.get("whitelist-source-range", "")
        denied = notes.get("denylist-source-range") or self._settings.get("denylist-source-range", "")
        return _within(client, denied) or bool(allowed and not _within(client, allowed))

    @staticmethod
    def _chosen(location: _Location, request: Request) -> str | None:
        """The Service; ``None``: a weight decides."""
        for canary in location.canaries:
            if canary.header:
                value = request.headers.get(canary.header.lower())
                if value is not None:
                    if canary.value:
                        if value == canary.value:
                            return canary.service
                    elif canary.pattern:
                        if re.search(canary.pattern, value):
                            return canary.service
                    elif value == "always":
                        return canary.service
                    elif value == "never":
                        return location.service
            if canary.cookie:
                header = request.headers.get("cookie")
                held = cookie_value(None if header is None else header.encode("latin-1"), canary.cookie)
                if held == b"always":
                    return canary.service
                if held == b"never":
                    return location.service
            if canary.weight:
                return None
        return location.service

    @staticmethod
    def _forwarded(location: _Location, groups: tuple[str, ...], path: str) -> str:
        target = location.notes.get("rewrite-target", "")
        if not target or target == location.path:
            return path

        def group(found: re.Match[str]) -> str:
            number = int(found[1])
            return groups[number - 1] if 0 < number <= len(groups) else ""

        made = re.sub(r"\$([0-9])", group, target)
        return made if made.startswith("/") else f"/{made}"


def _on(notes: Mapping[str, str], name: str) -> bool:
    return notes.get(name, "") in _TRUE


def _within(client: str, ranges: str) -> bool:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    for text in ranges.split(","):
        try:
            network = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            continue
        if address.version == network.version and address in network:
            return True
    return False


@lru_cache(maxsize=4096)
def _expression(path: str) -> re.Pattern[str] | None:
    try:
        return re.compile(path.removeprefix("^"), re.IGNORECASE | re.DOTALL)
    except re.error:
        return None


def _decoded(path: str) -> str | None:
    """As nginx matches it: decoded, slashes merged, dot segments resolved; ``None``: it refuses it."""
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
