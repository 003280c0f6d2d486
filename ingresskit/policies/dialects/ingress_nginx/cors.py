"""Which pages of other sites may read responses."""

from __future__ import annotations

from typing import Final

from ingresskit._quoting import quoted
from ingresskit.diagnostics import Reason
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import parse_go_boolean, parse_go_integer
from ingresskit.policies.kinds.cors import (
    Cors,
    parse_cors_headers,
    parse_cors_methods,
    parse_cors_origin,
)

__all__ = ["read_cors"]

_ORIGINS: Final = "cors-allow-origin"
_MAX_AGE: Final = 1_728_000
_MOST: Final = 64
_NAMES: Final = {
    "origins": _ORIGINS,
    "methods": "cors-allow-methods",
    "headers": "cors-allow-headers",
    "credentials": "cors-allow-credentials",
    "max_age": "cors-max-age",
    "expose_headers": "cors-expose-headers",
}


def read_cors(annotations: Annotations) -> None:
    """Ask for `Cors`."""
    if not annotations.value("enable-cors", parse_go_boolean):
        return
    origins = _origins(annotations)
    methods = annotations.value("cors-allow-methods", parse_cors_methods)
    headers = annotations.value("cors-allow-headers", parse_cors_headers)
    credentials = annotations.value("cors-allow-credentials", parse_go_boolean)
    max_age = annotations.value("cors-max-age", parse_go_integer)
    expose = annotations.value("cors-expose-headers", parse_cors_headers)
    if not origins:
        return
    default = Cors()
    policy = Cors(
        origins=origins,
        methods=methods or default.methods,
        headers=headers or default.headers,
        credentials=credentials is not False,
        max_age=_MAX_AGE if max_age is None else max_age,
        expose_headers=expose or (),
        every_options=True,
    )
    annotations.add(policy, **{field: name for field, name in _NAMES.items() if annotations.text(name)})


def _origins(annotations: Annotations) -> tuple[str, ...]:
    """The origins; all where the annotation is missing. Those that cannot be read are left out."""
    text = annotations.text(_ORIGINS)
    if not text:
        return ("*",)
    origins: list[str] = []
    for part in text.split(",")[:_MOST]:
        try:
            origins.append(parse_cors_origin(part))
        except ValueError as exc:
            message = f"{quoted(part.strip())} {exc}; it is left out"
            annotations.warn(_ORIGINS, Reason.ANNOTATION_INVALID, message)
    if text.count(",") >= _MOST:
        annotations.warn(
            _ORIGINS, Reason.ANNOTATION_INVALID, f"must be {_MOST} origins at most; the others are left out"
        )
    # A list without a readable origin allows no origin.
    return ("*",) if "*" in origins else tuple(dict.fromkeys(origins))
