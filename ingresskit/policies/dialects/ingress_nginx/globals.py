"""The ConfigMap of ingress-nginx, as far as it acts on routes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, NamedTuple, cast

from ingresskit.models import ObjectKey
from ingresskit.policies.base import Risk
from ingresskit.policies.dialects.ingress_nginx.global_auth import GLOBAL_AUTH_KEYS, GLOBAL_AUTH_PROTECTS
from ingresskit.policies.dialects.ingress_nginx.heads import head_fault
from ingresskit.policies.dialects.ingress_nginx.text_changes import (
    parse_cookie_domain,
    parse_cookie_path,
    parse_redirect_text,
)
from ingresskit.policies.dialects.ingress_nginx.values import (
    parse_client_variable,
    parse_count,
    parse_go_boolean,
    parse_go_integer,
    parse_key,
    parse_map_patterns,
    parse_networks_loosely,
    parse_seconds,
    parse_size,
)
from ingresskit.policies.kinds.compression import COMPRESSED_TYPES, parse_media_types
from ingresskit.policies.kinds.external_auth import DEFAULT_KEPT, KeptVerdicts
from ingresskit.policies.kinds.limits import BY_ADDRESS, ClientKey
from ingresskit.policies.kinds.redirects import RedirectStatus, parse_paths
from ingresskit.policies.kinds.traffic import parse_statuses
from ingresskit.policies.text_changes import TextChange
from ingresskit.policies.tls_values import parse_ciphers
from ingresskit.policies.values import Network, parse_header_names, parse_integer

__all__ = ["Fault", "Globals"]

RISKS: Final = (Risk.LOW, Risk.MEDIUM, Risk.HIGH, Risk.CRITICAL)


class Fault(NamedTuple):
    """What is wrong with one key.

    Attributes:
        key: Of the ConfigMap.
        message: A sentence without its end.
        protects: It asks for a protection of every route which is not built.
    """

    key: str
    message: str
    protects: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Globals:
    """Settings for every Ingress, with the defaults of ingress-nginx.

    Attributes:
        connect: See `ingresskit.policies.Timeouts`, and so the next two.
        conditions: When another endpoint is tried, as nginx writes it.
        tries: How many endpoints are tried at most; 0: all.
        tries_within: For how many seconds; 0: without an end.
        service_upstream: Requests go to the address of the Service.
        retry_non_idempotent: Requests that may not be repeated are tried again too.
        ssl_redirect: Whether plain HTTP is redirected where the host has TLS.
        force_ssl_redirect: Whether it is redirected everywhere.
        redirect_status: Of redirects to HTTPS and between a host and its twin.
        keeps_slash: See `ingresskit.policies.TlsRedirect`, and so the next two.
        relative_redirects: Redirects of endpoints that are rewritten to a path stay one.
        load_balance: How an endpoint is chosen.
        allowed: The clients that are let in; empty: all.
        denied: The clients that are kept out, where the Ingress has no list of its own.
        blocked: The clients that are kept out everywhere.
        blocked_agents: The programs that are kept out everywhere, see `ingresskit.policies.DeniedAgents`.
        blocked_referers: The pages that requests must not come from, in the same form.
        response_headers: The names that ConfigMaps of ``custom-headers`` may set, in lower case.
        risk: The highest risk of an annotation that is read.
        snippets_allowed: ``allow-snippet-annotations``; ``None`` without the key.
        blocked_words: An annotation with one of these in its value is refused.
        cross_namespace: Annotations may name objects of other namespaces.
        hsts: Whether browsers are told to use hosts over TLS only.
        hsts_max_age: For how many seconds.
        hsts_subdomains: Whether names below the host are included.
        hsts_preload: Whether hosts may be in the lists of browsers.
        limit_key: What a client is, for limits of its requests.
        rate_status: What requests beyond a rate get.
        connection_status: What requests beyond the number at a time get.
        response_rate: KiB of a response that are sent in a second; 0: as many as the client takes.
        response_rate_after: KiB that are sent before that rate holds.
        cookie_domains: See `ingresskit.policies.CookieRewrite`, and so the next one.
        redirect_from: What to replace in redirects of endpoints: ``off``, ``default`` or a text.
        redirect_to: What takes its place.
        request_fields: The ConfigMap with header fields for endpoints; ``None``: there is none.
        response_fields: The same for clients.
        hidden_fields: Names of header fields of endpoints that clients do not get.
        errors: The statuses that get a page of the default backend.
        no_error_pages: None does where the Ingress has no statuses of its own.
        global_auth: The URL that is asked before every request, with variables; empty: none. See
            `ingresskit.policies.ExternalAuth` for this and the others that begin so.
        global_auth_snippet: Whether there is text for nginx in that question.
        open_paths: The rules for which nobody is authenticated, beside those for ACME's challenge.
        no_access_log: Whether the access log has no request.
        unlogged: The targets whose requests it has not.
        gzip: Whether responses are compressed.
        gzip_types: Which, by media type; see `ingresskit.policies.Compression`.
        gzip_min_length: From which length on.
        gzip_level: How much.
        ciphers: Those of TLS 1.2 for clients; empty: the proxy's own.
        tracing: Whether endpoints are told of a trace.
        trusts_traces: Whether clients may say which.
        faults: What cannot be honoured.
    """

    connect: timedelta = timedelta(seconds=5)
    read: timedelta = timedelta(seconds=60)
    send: timedelta = timedelta(seconds=60)
    max_body: int = 1024 * 1024
    conditions: str = "error timeout"
    tries: int = 3
    tries_within: int = 0
    retry_non_idempotent: bool = False
    service_upstream: bool = False
    ssl_redirect: bool = True
    force_ssl_redirect: bool = False
    redirect_status: RedirectStatus = RedirectStatus.PERMANENT
    keeps_slash: bool = False
    shows_port: bool = False
    no_tls_redirect: tuple[str, ...] = ()  # what ingress-nginx has here is never redirected anyway
    relative_redirects: bool = False
    load_balance: str = "round_robin"
    allowed: tuple[Network, ...] = ()
    denied: tuple[Network, ...] = ()
    blocked: tuple[Network, ...] = ()
    blocked_agents: tuple[str, ...] = ()
    blocked_referers: tuple[str, ...] = ()
    response_headers: frozenset[str] = frozenset()
    risk: Risk = Risk.HIGH
    snippets_allowed: bool | None = None
    blocked_words: tuple[str, ...] = ()
    cross_namespace: bool = False
    hsts: bool = True
    hsts_max_age: int = 31_536_000
    hsts_subdomains: bool = True
    hsts_preload: bool = False
    limit_key: ClientKey = BY_ADDRESS
    rate_status: int = 503
    connection_status: int = 503
    response_rate: int = 0
    response_rate_after: int = 0
    cookie_domains: tuple[TextChange, ...] = ()
    cookie_paths: tuple[TextChange, ...] = ()
    redirect_from: str = "off"
    redirect_to: str = "off"
    request_fields: ObjectKey | None = None
    response_fields: ObjectKey | None = None
    hidden_fields: tuple[str, ...] = ()
    global_auth: str = ""
    errors: tuple[int, ...] = ()
    no_error_pages: bool = False
    global_auth_method: str = "GET"
    global_auth_signin: str = ""
    global_auth_signin_parameter: str = "rd"
    global_auth_request_redirect: str = ""
    global_auth_response_headers: tuple[str, ...] = ()
    global_auth_always_set_cookie: bool = False
    global_auth_cache_key: str = ""
    global_auth_cache_times: KeptVerdicts = DEFAULT_KEPT
    global_auth_snippet: bool = False
    open_paths: tuple[str, ...] = ()
    no_access_log: bool = False
    unlogged: tuple[str, ...] = ()
    gzip: bool = False
    gzip_types: tuple[str, ...] = COMPRESSED_TYPES
    gzip_min_length: int = 256
    gzip_level: int = 1
    ciphers: tuple[str, ...] = ()
    tracing: bool = False
    trusts_traces: bool = True
    faults: tuple[Fault, ...] = field(default=())

    @classmethod
    def parse(cls, data: Mapping[str, str]) -> Globals:
        """Read the data of the ConfigMap; a value that is refused leaves the default, and is a fault."""
        values: dict[str, object] = {}
        faults: list[Fault] = []
        for key, text in sorted(data.items()):
            value = text.strip()
            if not value:
                continue
            if (known := _KEYS.get(key)) is not None:
                name, parse = known
                try:
                    values[name] = parse(value)
                except ValueError as exc:
                    faults.append(Fault(key, f"{exc!s}; the default holds", protects=name in _PROTECTING))
            elif key in _PROTECTIONS:
                if value not in _OFF:
                    message = "it protects every route and is not honoured, so all of them respond 503"
                    faults.append(Fault(key, message, protects=True))
            elif message := head_fault(key, value):
                faults.append(Fault(key, message))
            elif key not in _NOT_OF_ROUTES and _asks(key, value):
                faults.append(Fault(key, f"it is not honoured{_INSTEAD.get(key, '')}"))
        return cls(**cast("dict[str, Any]", values), faults=tuple(faults))


def _risk(text: str) -> Risk:
    try:
        return Risk(text.lower())
    except ValueError:
        raise ValueError("must be Low, Medium, High or Critical") from None


def _redirect_status(text: str) -> RedirectStatus:
    if text not in ("301", "302", "307", "308"):
        raise ValueError("must be 301, 302, 307 or 308")
    return RedirectStatus(text)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _names(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _words(text))


def _targets(text: str) -> tuple[str, ...]:
    words = _words(text)
    if not all(re.fullmatch(r"/[\x21-\x7e]{0,2000}", word) for word in words):
        raise ValueError("must be paths with their query, separated by commas, and no regular expressions")
    return tuple(sorted(set(words)))


def _gzip_types(text: str) -> tuple[str, ...]:
    """Media types separated by white space; ``text/html`` is always one."""
    if text == "*":
        return ("*",)
    return parse_media_types(",".join(dict.fromkeys((*text.split(), "text/html"))))


def _text(text: str) -> str:
    return text


def _key(text: str) -> ObjectKey:
    return ObjectKey(*parse_key(text))


_KEYS: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "proxy-connect-timeout": ("connect", parse_seconds),
    "proxy-read-timeout": ("read", parse_seconds),
    "proxy-send-timeout": ("send", parse_seconds),
    "proxy-body-size": ("max_body", parse_size),
    "proxy-next-upstream": ("conditions", _text),
    "proxy-next-upstream-tries": ("tries", parse_go_integer),
    "proxy-next-upstream-timeout": ("tries_within", parse_go_integer),
    "service-upstream": ("service_upstream", parse_go_boolean),
    "retry-non-idempotent": ("retry_non_idempotent", parse_go_boolean),
    "ssl-redirect": ("ssl_redirect", parse_go_boolean),
    "force-ssl-redirect": ("force_ssl_redirect", parse_go_boolean),
    "http-redirect-code": ("redirect_status", _redirect_status),
    "preserve-trailing-slash": ("keeps_slash", parse_go_boolean),
    "use-port-in-redirects": ("shows_port", parse_go_boolean),
    "relative-redirects": ("relative_redirects", parse_go_boolean),
    "no-tls-redirect-locations": ("no_tls_redirect", parse_paths),
    "load-balance": ("load_balance", _text),
    "whitelist-source-range": ("allowed", parse_networks_loosely),
    "denylist-source-range": ("denied", parse_networks_loosely),
    "block-cidrs": ("blocked", parse_networks_loosely),
    "block-user-agents": ("blocked_agents", parse_map_patterns),
    "block-referers": ("blocked_referers", parse_map_patterns),
    "global-allowed-response-headers": ("response_headers", _names),
    "annotations-risk-level": ("risk", _risk),
    "allow-snippet-annotations": ("snippets_allowed", parse_go_boolean),
    "annotation-value-word-blocklist": ("blocked_words", _words),
    "allow-cross-namespace-resources": ("cross_namespace", parse_go_boolean),
    "hsts": ("hsts", parse_go_boolean),
    "hsts-max-age": ("hsts_max_age", parse_integer(0, 315_360_000)),
    "hsts-include-subdomains": ("hsts_subdomains", parse_go_boolean),
    "hsts-preload": ("hsts_preload", parse_go_boolean),
    "limit-conn-zone-variable": ("limit_key", parse_client_variable),
    "limit-req-status-code": ("rate_status", parse_integer(400, 599)),
    "limit-conn-status-code": ("connection_status", parse_integer(400, 599)),
    "limit-rate": ("response_rate", parse_count),
    "limit-rate-after": ("response_rate_after", parse_count),
    "proxy-cookie-domain": ("cookie_domains", parse_cookie_domain),
    "proxy-cookie-path": ("cookie_paths", parse_cookie_path),
    "proxy-redirect-from": ("redirect_from", parse_redirect_text),
    "proxy-redirect-to": ("redirect_to", parse_redirect_text),
    "proxy-set-headers": ("request_fields", _key),
    "add-headers": ("response_fields", _key),
    "hide-headers": ("hidden_fields", parse_header_names),
    "disable-access-log": ("no_access_log", parse_go_boolean),
    "skip-access-log-urls": ("unlogged", _targets),
    "use-gzip": ("gzip", parse_go_boolean),
    "gzip-types": ("gzip_types", _gzip_types),
    "gzip-min-length": ("gzip_min_length", parse_integer(0, 1_073_741_824)),
    "ssl-ciphers": ("ciphers", parse_ciphers),
    "enable-opentelemetry": ("tracing", parse_go_boolean),
    "opentelemetry-trust-incoming-span": ("trusts_traces", parse_go_boolean),
    "gzip-level": ("gzip_level", parse_integer(1, 9)),
    "custom-http-errors": ("errors", parse_statuses),
    "disable-proxy-intercept-errors": ("no_error_pages", parse_go_boolean),
    **GLOBAL_AUTH_KEYS,
}
_PROTECTIONS: Final = frozenset({"enable-modsecurity"})
_PROTECTING: Final = GLOBAL_AUTH_PROTECTS | {
    *("allowed", "denied", "blocked", "blocked_agents", "blocked_referers"),
}
_OFF = frozenset({"0", "f", "F", "FALSE", "false", "False", "off"})
_DEFAULTS: Final = {
    "http-redirect-code": "308",
    "no-tls-redirect-locations": "/.well-known/acme-challenge",
    "strict-validate-path-type": "true",
    "use-http2": "true",
    "server-tokens": "false",
    "ssl-protocols": "TLSv1.2 TLSv1.3",
    "allow-backend-server-header": "true",
    "generate-request-id": "true",
    "ignore-invalid-headers": "true",
    "forwarded-for-header": "X-Forwarded-For",
}
_INSTEAD: Final = {
    "ssl-protocols": ": TLSv1.2 and TLSv1.3 are spoken with clients",
    "allow-backend-server-header": ": endpoints may name their server; hide-headers: Server takes it out",
    "compute-full-forwarded-for": ": addresses that trusted proxies name are kept, those of others are not",
    "enable-real-ip": ": name the proxies in front with --trusted-proxy",
    "forwarded-for-header": ": trusted proxies name addresses in X-Forwarded-For or Forwarded",
    "generate-request-id": ": every request has an X-Request-ID",
    "ignore-invalid-headers": ": a header name that is none is refused",
    "proxy-add-original-uri-header": ": a header field with the URI of the client is not built",
    "server-tokens": ": the proxy does not name itself",
    "enable-brotli": ": there is no encoder for brotli; use-gzip compresses",
    "http-redirect-code": ": redirects to HTTPS have the status 308",
    "use-forwarded-headers": ": name the proxies in front with --trusted-proxy",
    "use-proxy-protocol": ": give --proxy-protocol and --trusted-proxy",
    "proxy-real-ip-cidr": ": name the proxies in front with --trusted-proxy",
    "enable-underscores-in-headers": ": give --underscores-in-headers",
}
# How the program is run, and buffers that are not needed: nothing of a route is lost.
_NOT_OF_ROUTES: Final = frozenset(
    {
        *("worker-processes", "worker-cpu-affinity", "max-worker-connections", "max-worker-open-files"),
        *(
            "worker-shutdown-timeout",
            "enable-serial-reloads",
            "reuse-port",
            "enable-multi-accept",
            "bind-address",
        ),
        *("proxy-buffering", "proxy-buffer-size", "proxy-buffers-number", "proxy-busy-buffers-size"),
        *("proxy-request-buffering", "client-body-buffer-size", "client-header-buffer-size"),
        *("large-client-header-buffers", "proxy-max-temp-file-size"),
        *("variables-hash-bucket-size", "variables-hash-max-size", "server-name-hash-bucket-size"),
        *("server-name-hash-max-size", "map-hash-bucket-size", "proxy-headers-hash-bucket-size"),
        *("proxy-headers-hash-max-size", "error-log-level"),
        *("upstream-keepalive-connections", "upstream-keepalive-requests", "upstream-keepalive-time"),
        *("upstream-keepalive-timeout", "enable-owasp-modsecurity-crs"),
        "modsecurity-snippet",
        *("brotli-level", "brotli-min-length", "brotli-types", "gzip-disable"),
    }
)


def _asks(key: str, value: str) -> bool:
    """Whether the value of a key that is not read asks for something else than what holds."""
    return value != _DEFAULTS.get(key) and (key in _DEFAULTS or value not in _OFF)
