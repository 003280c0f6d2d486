"""What the annotations of a location, and the ConfigMap, do to a request, in the order of nginx's phases.

Source: ingress-nginx at dbb11b92d (2026-03-20), ``rootfs/etc/nginx/template/nginx.tmpl`` and
``internal/ingress/annotations``; nginx, "Development guide", phases.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Final

from ingresskit.filters.passwords import STORED_AS, verify_password
from ingresskit.graph import Request
from ingresskit.migrate.limits import Limit
from ingresskit.migrate.model.prediction import Prediction
from ingresskit.migrate.model.servers import TRUE, Location, Server
from ingresskit.models import ConfigMap, ObjectKey, Secret
from ingresskit.policies import cookie_value
from ingresskit.policies.passwords import password_users

__all__ = ["Effects"]

_SIZE: Final = re.compile(r"([0-9]+)([kKmMgG]?)")
_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_URL: Final = re.compile(r"https?://[^\s\"';{}]+", re.IGNORECASE)
_TARGET: Final = re.compile(r"[A-Za-z0-9\-._~:/$]+")
_ACME: Final = "/.well-known/acme-challenge"
_OTHER_SERVICE: Final = "an external service"


class Effects:
    """The effects of ingress-nginx with these settings.

    Args:
        settings: The data of its ConfigMap.
        configs: ConfigMaps that annotations may name.
        secrets: Secrets that annotations may name. One that is not among them is taken to be there.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        configs: Mapping[ObjectKey, ConfigMap],
        secrets: Mapping[ObjectKey, Secret],
    ) -> None:
        self._settings = settings
        self._configs = configs
        self._secrets = secrets

    @property
    def redirect_status(self) -> int:
        """Of redirects to TLS and between twins."""
        text = self._settings.get("http-redirect-code", "")
        return int(text) if text in ("301", "302", "307", "308") else 308

    def refuses_client(self, request: Request) -> bool:
        """Whether a server refuses the request whatever its location: by its program or the page it is from."""
        for key, name in (("block-user-agents", "user-agent"), ("block-referers", "referer")):
            value = request.headers.get(name, "")
            if any(_listed(item.strip(), value) for item in self._settings.get(key, "").split(",")):
                return True
        return request.client is not None and _within(request.client, self._settings.get("block-cidrs", ""))

    def slashed(self, request: Request, location: Location, target: str) -> Prediction:
        """The redirect to *target*, the path of *location*, once nginx knows that a body fits."""
        if self._too_large(request, location.notes):
            return Prediction(status=413, ingress=location.ingress)
        return Prediction(status=301, location=target, ingress=location.ingress)

    def predict(
        self, request: Request, server: Server, location: Location, groups: tuple[str, ...], path: str
    ) -> Prediction:
        """What becomes of a request that *location* takes.

        Args:
            request: The request.
            server: The one that it is for.
            location: The location.
            groups: Of its pattern.
            path: As `ingresskit.migrate.model.servers.decoded` has it.
        """
        notes = location.notes
        made = Prediction(ingress=location.ingress)
        refused = self._before_access(request, server, location, path)
        if refused is not None:
            return replace(refused, ingress=location.ingress)
        limits = self._limits(request, notes)
        made = replace(made, limits=limits)
        outside = request.client is not None and self._is_kept_out(request.client, notes)
        any_suffices = notes.get("satisfy") == "any"
        # Locations are left out by their own paths, whatever is asked for.
        guarded = not _listed_path(location.path, self._settings.get("no-auth-locations", _ACME))
        asks = self._asks(notes) if guarded else ""
        password = notes.get("auth-type") in ("basic", "digest") and bool(notes.get("auth-secret"))
        password = password and guarded
        admitted = any_suffices and self._has_list(notes) and not outside
        if outside and not (any_suffices and (password or asks)):
            return replace(made, status=403)
        if password and not admitted:
            if "authorization" not in request.headers:
                return replace(made, status=401)
            verified = self._verified(request, location)
            if verified is False:
                return replace(made, status=401)
            made = replace(made, open="" if verified else "credentials")
        if asks and not admitted:
            made = replace(made, open=_OTHER_SERVICE, asks=asks)
        verified_by_tls = notes.get("auth-tls-verify-client", "on") == "on" and bool(
            notes.get("auth-tls-secret")
        )
        if verified_by_tls and request.scheme == "https":
            made = replace(made, open="a client certificate")
        service, shares = self._chosen(location, request)
        return replace(
            made,
            service=service,
            shares=shares,
            path=_forwarded(location, groups, path),
            host=notes.get("upstream-vhost", ""),
            request_fields=_request_fields(location),
            response_fields=tuple(self._response_fields(request, location)),
        )

    def _before_access(
        self, request: Request, server: Server, location: Location, path: str
    ) -> Prediction | None:
        """The reply of the phases before those that count and admit clients; ``None``: they make none."""
        notes = location.notes
        if self._too_large(request, notes):
            return Prediction(status=413)
        root = notes.get("app-root", "")
        if root.startswith("/") and path == "/":
            return Prediction(status=302, location=f"{request.scheme}://{request.host}{root}")
        if (
            request.method == "OPTIONS"
            and notes.get("enable-cors", "") in TRUE
            and _origin_fits(request, notes)
        ):
            return Prediction(status=204)
        for name, status, most in (("temporal-redirect", 302, 307), ("permanent-redirect", 301, 308)):
            if _URL.match(notes.get(name, "")):
                code = notes.get(f"{name}-code", "")
                sent = int(code) if code.isdecimal() and 300 <= int(code) <= most else status
                return Prediction(status=sent, location=notes[name])
        if request.scheme == "http" and self._goes_to_tls(server, location):
            return Prediction(status=self.redirect_status, location=self._secure_location(request, notes))
        return None

    def _secure_location(self, request: Request, notes: Mapping[str, str]) -> str:
        host = request.host.partition(":")[0]
        ported = notes.get("use-port-in-redirects", self._settings.get("use-port-in-redirects", "false"))
        kept = notes.get("preserve-trailing-slash", self._settings.get("preserve-trailing-slash", "false"))
        # The slash at the end of what was asked for, so not one before a query.
        whole = kept in TRUE or request.path == "/" or bool(request.query)
        path = request.path if whole else request.path.removesuffix("/")
        return f"https://{host}{':443' if ported in TRUE else ''}{path}{request.query}"

    def _too_large(self, request: Request, notes: Mapping[str, str]) -> bool:
        text = notes.get("proxy-body-size") or self._settings.get("proxy-body-size") or "1m"
        found = _SIZE.fullmatch(text)
        limit = int(found[1]) * _UNITS[found[2].lower()] if found else 1024**2
        length = request.headers.get("content-length", "0")
        return bool(limit) and length.isdecimal() and int(length) > limit

    def _goes_to_tls(self, server: Server, location: Location) -> bool:
        notes = location.notes
        if _listed_path(location.path, self._settings.get("no-tls-redirect-locations", _ACME)):
            return False
        forced = notes.get("force-ssl-redirect", self._settings.get("force-ssl-redirect", "false"))
        wanted = notes.get("ssl-redirect", self._settings.get("ssl-redirect", "true"))
        return forced in TRUE or (server.tls and wanted in TRUE)

    def _limits(self, request: Request, notes: Mapping[str, str]) -> tuple[Limit, ...]:
        free = notes.get("limit-allowlist") or notes.get("limit-whitelist") or ""
        if request.client is not None and _within(request.client, free):
            return ()
        burst = notes.get("limit-burst-multiplier", "")
        times = int(burst) if burst.isdecimal() and int(burst) else 5
        found: list[Limit] = []
        for name, seconds in (("limit-rps", 1), ("limit-rpm", 60)):
            if number := _count(notes, name):
                status = self._status("limit-req-status-code")
                at_once = number * times + 1  # nodelay: one, and as many as the burst holds
                found.append(Limit(requests=number, seconds=seconds, at_once=at_once, status=status))
        if number := _count(notes, "limit-connections"):
            status = self._status("limit-conn-status-code")
            found.append(Limit(requests=number, seconds=0, at_once=number, status=status))
        return tuple(sorted(found))

    def _status(self, name: str) -> int:
        text = self._settings.get(name, "")
        return int(text) if text.isdecimal() and 400 <= int(text) <= 599 else 503

    def _has_list(self, notes: Mapping[str, str]) -> bool:
        names = ("allowlist-source-range", "whitelist-source-range", "denylist-source-range")
        return any(notes.get(name) or self._settings.get(name) for name in names)

    def _is_kept_out(self, client: str, notes: Mapping[str, str]) -> bool:
        allowed = notes.get("allowlist-source-range") or notes.get("whitelist-source-range")
        allowed = allowed or self._settings.get("whitelist-source-range", "")
        denied = notes.get("denylist-source-range") or self._settings.get("denylist-source-range", "")
        return _within(client, denied) or bool(allowed and not _within(client, allowed))

    def _asks(self, notes: Mapping[str, str]) -> str:
        """The URL of the service that decides; empty without one."""
        if notes.get("auth-url"):
            return notes["auth-url"]
        wanted = notes.get("enable-global-auth", "true") in TRUE
        return self._settings.get("global-auth-url", "") if wanted else ""

    def _verified(self, request: Request, location: Location) -> bool | None:
        """Whether the password is one of the Secret; ``None``: the Secret is not known."""
        namespace, _, name = location.notes["auth-secret"].rpartition("/")
        secret = self._secrets.get(ObjectKey(namespace or location.ingress.key.namespace, name))
        if secret is None or location.notes["auth-type"] == "digest":
            return None
        scheme, _, text = request.headers["authorization"].partition(" ")
        try:
            user, colon, password = base64.b64decode(text, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        if scheme.lower() != "basic" or not colon:
            return False
        whole_file = location.notes.get("auth-secret-type") != "auth-map"
        try:
            users, _ = password_users(secret.data, whole_file=whole_file)
        except ValueError:
            return None
        stored = next((item for item in users if item.name.encode() == user), None)
        return stored is not None and verify_password(STORED_AS.format(stored), password)

    @staticmethod
    def _chosen(location: Location, request: Request) -> tuple[str, tuple[tuple[str, Fraction], ...]]:
        """The Service; and the shares where a weight decides."""
        for canary in location.canaries:
            if canary.header:
                value = request.headers.get(canary.header.lower())
                if value is not None:
                    if canary.value:
                        if value == canary.value:
                            return canary.service, ()
                    elif canary.pattern:
                        if re.search(canary.pattern, value):
                            return canary.service, ()
                    elif value == "always":
                        return canary.service, ()
                    elif value == "never":
                        return location.service, ()
            if canary.cookie:
                header = request.headers.get("cookie")
                held = cookie_value(None if header is None else header.encode("latin-1"), canary.cookie)
                if held == b"always":
                    return canary.service, ()
                if held == b"never":
                    return location.service, ()
            if canary.weight >= canary.total:
                return canary.service, ()
            if canary.weight:
                share = Fraction(canary.weight, canary.total)
                return location.service, ((canary.service, share), (location.service, 1 - share))
        return location.service, ()

    def _response_fields(self, request: Request, location: Location) -> list[tuple[str, str]]:
        fields: list[tuple[str, str]] = []
        settings = self._settings
        if request.scheme == "https" and settings.get("hsts", "true") in TRUE:
            text = f"max-age={settings.get('hsts-max-age', '31536000')}"
            text += "; includeSubDomains" if settings.get("hsts-include-subdomains", "true") in TRUE else ""
            text += "; preload" if settings.get("hsts-preload", "false") in TRUE else ""
            fields.append(("Strict-Transport-Security", text))
        namespace, _, name = location.notes.get("custom-headers", "").rpartition("/")
        key = ObjectKey(namespace or location.ingress.key.namespace, name)
        if name and (config := self._configs.get(key)) is not None:
            fields += sorted(config.data.items())
        return fields


def _request_fields(location: Location) -> tuple[tuple[str, str], ...]:
    notes = location.notes
    # It stands in the block that rewrites. (Connection is between the proxy and the endpoint.)
    if notes.get("x-forwarded-prefix") and notes.get("rewrite-target", "") not in ("", location.path):
        return (("X-Forwarded-Prefix", notes["x-forwarded-prefix"]),)
    return ()


def _forwarded(location: Location, groups: tuple[str, ...], path: str) -> str:
    target = location.notes.get("rewrite-target", "")
    if not target or target == location.path or not _TARGET.fullmatch(target):
        return path

    def group(found: re.Match[str]) -> str:
        number = int(found[1])
        return groups[number - 1] if 0 < number <= len(groups) else ""

    made = re.sub(r"\$([0-9])", group, target)
    return made if made.startswith("/") else f"/{made}"


def _origin_fits(request: Request, notes: Mapping[str, str]) -> bool:
    origins = [item.strip() for item in notes.get("cors-allow-origin", "*").split(",")]
    origin = request.headers.get("origin", "")
    return "*" in origins or any(_is_origin(item, origin) for item in origins)


def _is_origin(wanted: str, origin: str) -> bool:
    pattern = re.escape(wanted).replace(r"\*", "[A-Za-z0-9-]+")
    return re.fullmatch(pattern, origin, re.IGNORECASE) is not None


def _listed(item: str, value: str) -> bool:
    """Whether an entry of a ``map`` of nginx takes *value*: a text in any case, or a pattern."""
    if not item:
        return False
    if not item.startswith("~"):
        return item.lower() == value.lower()
    insensitive = item.startswith("~*")
    try:
        return re.search(item.lstrip("~*"), value, re.IGNORECASE if insensitive else 0) is not None
    except re.error:
        return False


def _listed_path(path: str, prefixes: str) -> bool:
    return any(path.startswith(item) for item in map(str.strip, prefixes.split(",")) if item)


def _count(notes: Mapping[str, str], name: str) -> int:
    text = notes.get(name, "")
    return int(text) if text.isdecimal() else 0


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
