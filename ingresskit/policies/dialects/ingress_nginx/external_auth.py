"""Another service that decides which requests are let in: by annotations, or for every Ingress.

What cannot be read closes the routes, as ingress-nginx denies such locations; also a cache duration, of which
ingress-nginx would drop the whole authentication and serve the routes without it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeVar

from ingresskit._quoting import quoted
from ingresskit.diagnostics import Reason
from ingresskit.models import ConfigMap, ObjectKey
from ingresskit.policies.dialects.ingress_nginx.globals import Globals
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import (
    parse_go_boolean,
    parse_go_integer,
    parse_key,
)
from ingresskit.policies.kinds.external_auth import (
    DEFAULT_KEPT,
    ExternalAuth,
    OpenPaths,
    parse_auth_headers,
    parse_auth_method,
    parse_auth_names,
    parse_kept_verdicts,
    parse_parameter_name,
)
from ingresskit.policies.variables import NO_TEXT, RequestText, parse_request_text, parse_request_url

__all__ = ["read_external_auth"]

V = TypeVar("V")

_CONFIG_MAP: Final = "auth-proxy-set-headers"
# nginx' own for proxy_read_timeout, which the location of the question has.
_TIMEOUT: Final = timedelta(seconds=60)
_MOST_KEPT_OPEN: Final = 1000
_FIELDS: Final = {
    "url": "auth-url",
    "method": "auth-method",
    "signin": "auth-signin",
    "signin_parameter": "auth-signin-redirect-param",
    "request_redirect": "auth-request-redirect",
    "response_headers": "auth-response-headers",
    "request_headers": _CONFIG_MAP,
    "always_set_cookie": "auth-always-set-cookie",
    "cache_key": "auth-cache-key",
    "cache_times": "auth-cache-duration",
    "keepalive": "auth-keepalive",
    "keepalive_requests": "auth-keepalive-requests",
    "keepalive_timeout": "auth-keepalive-timeout",
}


def read_external_auth(annotations: Annotations) -> None:
    """Ask for `ExternalAuth`, that of the annotations or else of the ConfigMap, and for its `OpenPaths`."""
    if annotations.settings.open_paths:
        annotations.add(OpenPaths(paths=annotations.settings.open_paths))
    wanted = annotations.value("enable-global-auth", parse_go_boolean) is not False
    if annotations.text("auth-url"):
        _Reader(annotations).read()
    elif annotations.settings.global_auth and wanted:
        _read_global(annotations)


class _Reader:
    """Reads the annotations of an Ingress that has ``auth-url``."""

    def __init__(self, annotations: Annotations) -> None:
        self._annotations = annotations
        key = annotations.context.subject.key
        self._constants = {"namespace": key.namespace, "ingress_name": key.name}
        self._refused = False

    def read(self) -> None:
        annotations = self._annotations
        url = self._value("auth-url", self._url)
        method = self._value("auth-method", parse_auth_method)
        signin = self._value("auth-signin", self._signin)
        parameter = self._value("auth-signin-redirect-param", parse_parameter_name)
        redirect = self._value("auth-request-redirect", self._text)
        names = self._value("auth-response-headers", parse_auth_names)
        times = self._value("auth-cache-duration", parse_kept_verdicts)
        key = self._value("auth-cache-key", self._text)
        headers = self._headers()
        if url is None or self._refused:
            return
        policy = ExternalAuth(
            url=url,
            method=method or "GET",
            signin=signin or NO_TEXT,
            signin_parameter=parameter or "rd",
            request_redirect=redirect or NO_TEXT,
            response_headers=names or (),
            request_headers=headers,
            always_set_cookie=annotations.value("auth-always-set-cookie", parse_go_boolean) is True,
            cache_key=self._telling_apart(key or NO_TEXT),
            cache_times=times or DEFAULT_KEPT,
            keepalive=self._keepalive(url),
            keepalive_requests=self._more_than_zero("auth-keepalive-requests", 1000),
            keepalive_timeout=timedelta(seconds=self._more_than_zero("auth-keepalive-timeout", 60)),
            timeout=_TIMEOUT,
            forwarded_fields=False,
        )
        asked = {field: name for field, name in _FIELDS.items() if annotations.text(name)}
        annotations.add(policy, **asked)

    def _value(self, name: str, parse: Callable[[str], V]) -> V | None:
        """The value of an annotation; ``None`` without one. One that *parse* refuses closes the routes."""
        text = self._annotations.text(name)
        if not text:
            return None
        try:
            return parse(text)
        except ValueError as exc:
            self._refuse(name, f"{quoted(text)} {exc}")
            return None

    def _refuse(self, name: str, message: str) -> None:
        self._refused = True
        self._annotations.refuse(name, Reason.ANNOTATION_INVALID, message)

    def _url(self, text: str) -> RequestText:
        return parse_request_url(text, self._constants)

    def _signin(self, text: str) -> RequestText:
        return parse_request_url(text, self._constants, absolute=False)

    def _text(self, text: str) -> RequestText:
        return parse_request_text(text, self._constants)

    def _telling_apart(self, key: RequestText) -> RequestText:
        """*key*, or none where it is the same for all: ingress-nginx would let all in after the first."""
        if not key or key.tells_clients_apart:
            return key
        message = "it is the same for all clients, so no response of the service is kept"
        self._annotations.warn("auth-cache-key", Reason.ANNOTATION_IGNORED, message)
        return NO_TEXT

    def _keepalive(self, url: RequestText) -> int:
        name = "auth-keepalive"
        number = self._annotations.value(name, parse_go_integer) or 0
        if number > 0 and url.asks_requested_host:
            message = "the host of auth-url has a variable, so no connection is kept"
            self._annotations.warn(name, Reason.ANNOTATION_IGNORED, message)
            return 0
        if number < 0:
            self._annotations.warn(name, Reason.ANNOTATION_INVALID, "must be 0 or more; no connection is kept")
        return min(max(number, 0), _MOST_KEPT_OPEN)

    def _more_than_zero(self, name: str, default: int) -> int:
        number = self._annotations.value(name, parse_go_integer)
        if number is None:
            return default
        if number <= 0:
            message = f"{number} must be more than 0; the default holds"
            self._annotations.warn(name, Reason.ANNOTATION_INVALID, message)
            return default
        return min(number, 1_000_000)

    def _headers(self) -> tuple[tuple[str, RequestText], ...]:
        """The header fields in the ConfigMap that the annotation names."""
        annotations = self._annotations
        text = annotations.text(_CONFIG_MAP)
        if not text:
            return ()
        try:
            own = annotations.context.subject.key.namespace
            key = ObjectKey(*parse_key(text if "/" in text else f"{own}/{text}"))
        except ValueError:
            self._refuse(_CONFIG_MAP, f"{quoted(text)} must be NAME or NAMESPACE/NAME")
            return ()
        if not annotations.context.may_look_up(ConfigMap, key):
            message = "is in another namespace, which allow-cross-namespace-resources forbids"
            self._refuse(_CONFIG_MAP, f"the ConfigMap {key} {message}")
            return ()
        found = annotations.lookup(ConfigMap, key)
        if found is None:
            self._refuse(_CONFIG_MAP, f"there is no ConfigMap {key}, or it cannot be read")
            return ()
        try:
            lines = [f"{name}: {_one_line(value)}" for name, value in sorted(found.data.items())]
            return parse_auth_headers("\n".join(lines), self._constants)
        except ValueError as exc:
            self._refuse(_CONFIG_MAP, f"the ConfigMap {key} {exc}")
            return ()


def _read_global(annotations: Annotations) -> None:
    settings = annotations.settings
    if settings.global_auth_snippet:
        message = "global-auth-snippet of the ConfigMap is text for nginx, which is never executed"
        annotations.refuse("enable-global-auth", Reason.ANNOTATION_UNSUPPORTED, message)
        return
    key = annotations.context.subject.key
    annotations.add(_global_policy(settings, {"namespace": key.namespace, "ingress_name": key.name}))


def _global_policy(settings: Globals, constants: dict[str, str]) -> ExternalAuth:
    """The policy of the ConfigMap, whose texts were read once before."""
    key = parse_request_text(settings.global_auth_cache_key, constants)
    return ExternalAuth(
        url=parse_request_url(settings.global_auth, constants),
        method=settings.global_auth_method,
        signin=_maybe_url(settings.global_auth_signin, constants),
        signin_parameter=settings.global_auth_signin_parameter,
        request_redirect=parse_request_text(settings.global_auth_request_redirect, constants),
        response_headers=settings.global_auth_response_headers,
        always_set_cookie=settings.global_auth_always_set_cookie,
        cache_key=key if key.tells_clients_apart else NO_TEXT,
        cache_times=settings.global_auth_cache_times,
        keepalive=0,
        timeout=_TIMEOUT,
        forwarded_fields=False,
    )


def _maybe_url(text: str, constants: dict[str, str]) -> RequestText:
    return parse_request_url(text, constants, absolute=False) if text else NO_TEXT


def _one_line(value: str) -> str:
    stripped = value.strip()
    if "\n" in stripped or "\r" in stripped:
        raise ValueError("must hold values of one line")
    return stripped
