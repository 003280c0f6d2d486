"""TLS with clients: their certificates, and the ciphers of hosts."""

from __future__ import annotations

from typing import Final

from ingresskit.diagnostics import Reason
from ingresskit.models import ObjectKey, Secret
from ingresskit.policies.authorities import Authorities, load_authorities
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import (
    parse_go_boolean,
    parse_go_integer,
    parse_key,
    parse_url,
)
from ingresskit.policies.kinds.certificates import (
    CertificateMode,
    ClientCertificates,
    HostTls,
    parse_common_name,
)
from ingresskit.policies.kinds.streams import TlsPassthrough
from ingresskit.policies.tls_values import parse_ciphers

__all__ = ["read_certificates"]

_MODES: Final = {
    "on": CertificateMode.REQUIRED,
    "optional": CertificateMode.OPTIONAL,
    "optional_no_ca": CertificateMode.OPTIONAL_ANY,
}
_MOST_DEPTH: Final = 10
_PREFIX: Final = "CN="


def read_certificates(annotations: Annotations) -> None:
    """Ask for `ClientCertificates`, `HostTls` and `TlsPassthrough`."""
    _clients(annotations)
    _ciphers(annotations)
    _passthrough(annotations)


def _clients(annotations: Annotations) -> None:
    secret = "auth-tls-secret"  # noqa: S105 - the name of an annotation
    if not annotations.text(secret):
        return
    asked = {"authorities": secret}
    mode = CertificateMode.REQUIRED
    if text := annotations.text("auth-tls-verify-client"):
        if text == "off":
            return
        if text in _MODES:
            mode = _MODES[text]
            asked["mode"] = "auth-tls-verify-client"
        else:
            message = f"{text[:80]!a} must be on, off, optional or optional_no_ca; on holds"
            annotations.warn("auth-tls-verify-client", Reason.ANNOTATION_INVALID, message)
    name = "auth-tls-verify-depth"
    # As in ingress-nginx, 0 is 1.
    depth = annotations.value(name, parse_go_integer) or 1
    if annotations.text(name):
        asked["depth"] = name
    if not 0 < depth <= _MOST_DEPTH:
        annotations.warn(
            name, Reason.ANNOTATION_INVALID, f"must be at most {_MOST_DEPTH}, and not below 0; 1 holds"
        )
        depth = 1
    page = annotations.value("auth-tls-error-page", parse_url) or ""
    if page:
        asked["error_page"] = "auth-tls-error-page"
    forwarded = annotations.value("auth-tls-pass-certificate-to-upstream", parse_go_boolean) or False
    if forwarded:
        asked["forwarded"] = "auth-tls-pass-certificate-to-upstream"
    authorities = _authorities(annotations, secret)
    common_name = _common_name(annotations, asked)
    if authorities is None or common_name is None:
        return
    annotations.add(
        ClientCertificates(
            authorities=authorities,
            mode=mode,
            depth=depth,
            common_name=common_name,
            error_page=page,
            forwarded=forwarded,
        ),
        **asked,
    )


def _authorities(annotations: Annotations, name: str) -> Authorities | None:
    text = annotations.text(name)
    try:
        key = ObjectKey(*parse_key(text))
    except ValueError as exc:
        annotations.refuse_host(ClientCertificates, name, Reason.ANNOTATION_INVALID, f"{text[:80]!a} {exc}")
        return None
    found = annotations.lookup(Secret, key)
    if found is None:
        message = f"Secret {key} does not exist"
        if not annotations.context.may_look_up(Secret, key):
            message = (
                f"Secret {key} is of another namespace, which allow-cross-namespace-resources does not allow"
            )
        annotations.refuse_host(ClientCertificates, name, Reason.SECRET_NOT_FOUND, message)
        return None
    try:
        return load_authorities(found)
    except ValueError as exc:
        annotations.refuse_host(ClientCertificates, name, Reason.ANNOTATION_INVALID, f"{text[:80]!a} {exc}")
        return None


def _common_name(annotations: Annotations, asked: dict[str, str]) -> str | None:
    """The pattern; empty without one, ``None`` where it is refused."""
    name = "auth-tls-match-cn"
    text = annotations.text(name)
    if not text:
        return ""
    try:
        if not text.startswith(_PREFIX) or "," in text:
            raise ValueError("must be CN= and a pattern for the common name, without a comma")
        pattern = parse_common_name(text.removeprefix(_PREFIX))
    except ValueError as exc:
        annotations.refuse_host(ClientCertificates, name, Reason.ANNOTATION_INVALID, f"{text[:80]!a} {exc}")
        return None
    if not text.endswith(("$", "*")):
        # Not copied: whoever writes CN=alice would let CN=alice2 in.
        message = (
            "the whole common name must match it; ingress-nginx takes every subject that a match stands in"
        )
        annotations.warn(name, Reason.ANNOTATION_UNSUPPORTED, message)
    asked["common_name"] = name
    return pattern


def _ciphers(annotations: Annotations) -> None:
    asked: dict[str, str] = {}
    ciphers = annotations.value("ssl-ciphers", parse_ciphers) or ()
    if ciphers:
        asked["ciphers"] = "ssl-ciphers"
    order = annotations.value("ssl-prefer-server-ciphers", parse_go_boolean)
    if order is not None:
        asked["server_order"] = "ssl-prefer-server-ciphers"
    ciphers = ciphers or annotations.settings.ciphers
    if ciphers or asked:
        annotations.add(HostTls(ciphers=ciphers, server_order=order), **asked)


def _passthrough(annotations: Annotations) -> None:
    name = "ssl-passthrough"
    if not annotations.value(name, parse_go_boolean):
        return
    if annotations.passthrough:
        annotations.add(TlsPassthrough(enabled=True), enabled=name)
    else:
        message = "it has no effect without --enable-ssl-passthrough, as in ingress-nginx: TLS ends here"
        annotations.warn(name, Reason.ANNOTATION_IGNORED, message)
