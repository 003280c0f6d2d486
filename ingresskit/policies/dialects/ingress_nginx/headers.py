"""Header fields."""

from __future__ import annotations

from ingresskit.diagnostics import Reason
from ingresskit.models import ConfigMap, ObjectKey
from ingresskit.policies.dialects.ingress_nginx.header_maps import merged, operators_fields
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.rewrites import forwarded_prefix
from ingresskit.policies.dialects.ingress_nginx.values import parse_key
from ingresskit.policies.kinds.connections import ConnectionUse, HttpVersion, UpstreamConnection
from ingresskit.policies.kinds.headers import Hsts, RequestHeaders, ResponseHeaders
from ingresskit.policies.kinds.rewrites import ForwardedPrefix
from ingresskit.policies.values import HeaderField, parse_choice, parse_headers

__all__ = ["read_headers"]

_NAME = "custom-headers"
_CONNECTION = "connection-proxy-header"
_VERSION = "proxy-http-version"


def read_headers(annotations: Annotations) -> None:
    """Ask for `RequestHeaders`, `ForwardedPrefix`, `ResponseHeaders` and, as the ConfigMap says, `Hsts`."""
    settings = annotations.settings
    if settings.hsts:
        policy = Hsts(
            max_age=settings.hsts_max_age,
            include_subdomains=settings.hsts_subdomains,
            preload=settings.hsts_preload,
        )
        annotations.add(policy)
    _requests(annotations)
    _responses(annotations)
    _connection(annotations)


def _connection(annotations: Annotations) -> None:
    use = annotations.value(_CONNECTION, parse_choice(ConnectionUse))
    version = annotations.value(_VERSION, parse_choice(HttpVersion))
    asked = {
        name: key for name, key, value in (("use", _CONNECTION, use), ("version", _VERSION, version)) if value
    }
    if asked:
        annotations.add(UpstreamConnection(use=use, version=version or HttpVersion.HTTP_1_1), **asked)


def _requests(annotations: Annotations) -> None:
    fields = operators_fields(annotations, "proxy-set-headers", annotations.settings.request_fields)
    if fields:
        annotations.add(RequestHeaders(set=fields))
    if (prefix := forwarded_prefix(annotations)) is not None:
        annotations.add(ForwardedPrefix(prefix=prefix), prefix="x-forwarded-prefix")


def _responses(annotations: Annotations) -> None:
    settings = annotations.settings
    fields = operators_fields(annotations, "add-headers", settings.response_fields)
    own = _custom(annotations)
    if fields or own or settings.hidden_fields:
        policy = ResponseHeaders(set=merged(fields, own), remove=settings.hidden_fields)
        annotations.add(policy, **({"set": _NAME} if own else {}))


def _custom(annotations: Annotations) -> tuple[HeaderField, ...]:
    """The fields in the ConfigMap; where any cannot be set, ingress-nginx denies the location, as here."""
    text = annotations.text(_NAME)
    if not text:
        return ()
    try:
        key = ObjectKey(*parse_key(text))
    except ValueError as exc:
        annotations.refuse(_NAME, Reason.ANNOTATION_INVALID, f"{text[:80]!a} {exc}")
        return ()
    if not annotations.context.may_look_up(ConfigMap, key):
        message = f"the ConfigMap {key} is in another namespace, which allow-cross-namespace-resources forbids"
        annotations.refuse(_NAME, Reason.ANNOTATION_INVALID, message)
        return ()
    found = annotations.lookup(ConfigMap, key)
    if found is None:
        annotations.refuse(
            _NAME, Reason.ANNOTATION_INVALID, f"there is no ConfigMap {key}, or it cannot be read"
        )
        return ()
    allowed = annotations.settings.response_headers
    for name in sorted(found.data):
        if name.lower() not in allowed:
            message = f"the field {name[:80]!a} of ConfigMap {key} is not in global-allowed-response-headers"
            annotations.refuse(_NAME, Reason.ANNOTATION_INVALID, message)
            return ()
    if not found.data:
        return ()
    try:
        lines = (f"{name}: {_one_line(value)}" for name, value in sorted(found.data.items()))
        return parse_headers("\n".join(lines))
    except ValueError as exc:
        annotations.refuse(_NAME, Reason.ANNOTATION_INVALID, f"the ConfigMap {key} {exc}")
        return ()


def _one_line(value: str) -> str:
    stripped = value.strip()
    if "\n" in stripped or "\r" in stripped:
        raise ValueError("must hold values of one line")
    return stripped
