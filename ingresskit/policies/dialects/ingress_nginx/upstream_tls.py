"""TLS with endpoints: who they must be, and who they are shown that asks."""

from __future__ import annotations

from typing import Final

from ingresskit.diagnostics import Reason
from ingresskit.models import ObjectKey, Secret
from ingresskit.policies.authorities import Authorities, TlsIdentity, load_authorities, load_identity
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import parse_go_integer, parse_key
from ingresskit.policies.kinds.upstream_tls import UpstreamTls
from ingresskit.policies.tls_values import TlsVersion, parse_ciphers, parse_server_name

__all__ = ["read_upstream_tls"]

_MOST_DEPTH: Final = 10
_SECURE: Final = ("HTTPS", "GRPCS")
_VERSIONS: Final = {"TLSv1.2": TlsVersion.V1_2, "TLSv1.3": TlsVersion.V1_3}


def read_upstream_tls(annotations: Annotations) -> None:
    """Ask for `UpstreamTls`."""
    name = "proxy-ssl-secret"
    # Without the Secret, or TLS, none of the others has any effect; as in ingress-nginx.
    if not annotations.text(name):
        return
    if annotations.text("backend-protocol").upper() not in _SECURE:
        message = "it has no effect without backend-protocol HTTPS or GRPCS"
        annotations.warn(name, Reason.ANNOTATION_IGNORED, message)
        return
    asked: dict[str, str] = {}
    verify = _switch(annotations, "proxy-ssl-verify", asked, "verify")
    found = _secret(annotations, name, verify=verify)
    server_name = _name(annotations, asked, verify=verify)
    if found is None or server_name is None:
        return
    authorities, identity = found
    annotations.add(
        UpstreamTls(
            verify=verify,
            authorities=authorities,
            identity=identity,
            name=server_name,
            send_name=_switch(annotations, "proxy-ssl-server-name", asked, "send_name"),
            depth=_depth(annotations, asked),
            ciphers=_ciphers(annotations, asked),
            versions=_versions(annotations, asked),
        ),
        **asked,
        authorities=name,
        identity=name,
    )


def _switch(annotations: Annotations, name: str, asked: dict[str, str], field: str) -> bool:
    """``on`` or ``off``, the default."""
    text = annotations.text(name)
    if text in ("on", "off"):
        asked[field] = name
    elif text:
        annotations.warn(name, Reason.ANNOTATION_INVALID, f"{text[:80]!a} must be on or off; off holds")
    return text == "on"


def _secret(
    annotations: Annotations, name: str, *, verify: bool
) -> tuple[Authorities, TlsIdentity | None] | None:
    """The CA and the certificate in the Secret; ``None`` where it must not be done without one."""
    text = annotations.text(name)
    try:
        key = ObjectKey(*parse_key(text))
        found = annotations.lookup(Secret, key)
        if found is None:
            message = f"Secret {key} does not exist"
            if not annotations.context.may_look_up(Secret, key):
                message = f"Secret {key} is of another namespace, which is not allowed"
            annotations.refuse(name, Reason.SECRET_NOT_FOUND, message)
            return None
        authorities = load_authorities(found) if verify or found.data.get("ca.crt") else Authorities()
        identity = load_identity(found) if found.data.get("tls.crt") or not authorities else None
    except ValueError as exc:
        annotations.refuse(name, Reason.ANNOTATION_INVALID, f"{text[:80]!a} {exc}")
        return None
    return authorities, identity


def _name(annotations: Annotations, asked: dict[str, str], *, verify: bool) -> str | None:
    """The name that is verified or sent, which may be empty; ``None``: it is refused."""
    name = "proxy-ssl-name"
    text = annotations.text(name)
    if not text:
        if verify:
            # nginx would verify the name of its own upstream, which no certificate has.
            message = "without proxy-ssl-name the name of the Service is verified, as web.shop.svc"
            annotations.warn("proxy-ssl-verify", Reason.ANNOTATION_UNSUPPORTED, message)
        return ""
    try:
        found = parse_server_name(text)
    except ValueError as exc:
        # Without it another name would be verified than the author means.
        annotations.refuse(name, Reason.ANNOTATION_INVALID, f"{text[:80]!a} {exc}")
        return None
    asked["name"] = name
    return found


def _depth(annotations: Annotations, asked: dict[str, str]) -> int:
    name = "proxy-ssl-verify-depth"
    depth = annotations.value(name, parse_go_integer)
    if depth is None:
        return 1
    asked["depth"] = name
    # As in ingress-nginx, 0 is 1.
    if not 0 <= depth <= _MOST_DEPTH:
        message = f"must be at most {_MOST_DEPTH}, and not below 0; 1 holds"
        annotations.warn(name, Reason.ANNOTATION_INVALID, message)
        return 1
    return depth or 1


def _ciphers(annotations: Annotations, asked: dict[str, str]) -> tuple[str, ...]:
    name = "proxy-ssl-ciphers"
    if annotations.text(name) in ("", "DEFAULT"):
        return ()
    asked["ciphers"] = name
    return annotations.value(name, parse_ciphers) or ()


def _versions(annotations: Annotations, asked: dict[str, str]) -> tuple[TlsVersion, ...]:
    name = "proxy-ssl-protocols"
    words = annotations.text(name).split()
    if not words:
        return (TlsVersion.V1_2,)
    asked["versions"] = name
    found = tuple(version for word, version in _VERSIONS.items() if word in words)
    if not found:
        message = "must name TLSv1.2 or TLSv1.3; older versions are not spoken, and TLSv1.2 is"
        annotations.warn(name, Reason.ANNOTATION_INVALID, message)
        return (TlsVersion.V1_2,)
    if others := [word for word in words if word not in _VERSIONS]:
        message = f"{' '.join(others)[:80]!a} are not spoken; TLSv1.2 and TLSv1.3 are"
        annotations.warn(name, Reason.ANNOTATION_UNSUPPORTED, message)
    return found
