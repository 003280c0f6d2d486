"""The keys of the ConfigMap about authentication: how each is read, and into which setting of `Globals`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ingresskit.policies.dialects.ingress_nginx.values import parse_go_boolean
from ingresskit.policies.kinds.external_auth import (
    parse_auth_method,
    parse_auth_names,
    parse_kept_verdicts,
    parse_parameter_name,
)
from ingresskit.policies.variables import parse_request_text, parse_request_url

__all__ = ["GLOBAL_AUTH_KEYS", "GLOBAL_AUTH_PROTECTS"]

# Variables that have a value for each Ingress.
_OF_INGRESS: Final = {"namespace": "x", "ingress_name": "x"}


def _url(text: str) -> str:
    parse_request_url(text, _OF_INGRESS)
    return text


def _signin(text: str) -> str:
    parse_request_url(text, _OF_INGRESS, absolute=False)
    return text


def _text(text: str) -> str:
    parse_request_text(text, _OF_INGRESS)
    return text


def _cache_key(text: str) -> str:
    if not parse_request_text(text, _OF_INGRESS).tells_clients_apart:
        raise ValueError("must have a variable that tells clients apart, such as $cookie_NAME")
    return text


def _open_paths(text: str) -> tuple[str, ...]:
    paths = [path for part in text.split(",") if (path := part.strip())]
    if not all(path.startswith("/") for path in paths):
        raise ValueError("must be paths separated by commas")
    return tuple(path.rstrip("/") or "/" for path in paths)


GLOBAL_AUTH_KEYS: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "global-auth-url": ("global_auth", _url),
    "global-auth-method": ("global_auth_method", parse_auth_method),
    "global-auth-signin": ("global_auth_signin", _signin),
    "global-auth-signin-redirect-param": ("global_auth_signin_parameter", parse_parameter_name),
    "global-auth-request-redirect": ("global_auth_request_redirect", _text),
    "global-auth-response-headers": ("global_auth_response_headers", parse_auth_names),
    "global-auth-always-set-cookie": ("global_auth_always_set_cookie", parse_go_boolean),
    "global-auth-cache-key": ("global_auth_cache_key", _cache_key),
    "global-auth-cache-duration": ("global_auth_cache_times", parse_kept_verdicts),
    "global-auth-snippet": ("global_auth_snippet", bool),
    "no-auth-locations": ("open_paths", _open_paths),
}
"""For each key, the name of the setting and the function that reads it."""

GLOBAL_AUTH_PROTECTS: Final = frozenset({"global_auth", "global_auth_method", "global_auth_response_headers"})
"""The settings without which routes would be open, or open to forged header fields."""
