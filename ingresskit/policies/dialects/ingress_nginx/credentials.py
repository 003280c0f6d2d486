"""Who is let in by name and password, and whether an address does in their place."""

from __future__ import annotations

from ingresskit.diagnostics import Reason
from ingresskit.models import ObjectKey, Secret
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import parse_key
from ingresskit.policies.kinds.credentials import (
    BasicAuth,
    DigestAuth,
    Satisfaction,
    Satisfy,
    parse_realm,
)
from ingresskit.policies.passwords import digest_users, password_users

__all__ = ["read_credentials"]

_TYPE = "auth-type"
_SECRET = "auth-secret"  # noqa: S105 - the name of an annotation
_FORM = "auth-secret-type"
_REALM = "auth-realm"
_SATISFY = "satisfy"


def read_credentials(annotations: Annotations) -> None:
    """Ask for `BasicAuth` or `DigestAuth`, and for `Satisfy`.

    What ingress-nginx denies the location for closes the routes here: another type, and a Secret that is not
    there, may not be read, or holds no users.
    """
    kind = annotations.text(_TYPE)
    if kind in ("basic", "digest"):
        _users(annotations, digest=kind == "digest")
    elif kind:
        annotations.refuse(_TYPE, Reason.ANNOTATION_INVALID, f"{kind[:80]!a} must be basic or digest")
    elif annotations.text(_SECRET):
        message = "without auth-type nobody is asked for a password, as in ingress-nginx"
        annotations.warn(_SECRET, Reason.ANNOTATION_IGNORED, message)
    if (mode := annotations.text(_SATISFY)) in ("any", "all"):
        annotations.add(Satisfy(mode=Satisfaction(mode)), mode=_SATISFY)
        if mode == "any" and annotations.text("denylist-source-range"):
            message = (
                "in ingress-nginx a password lets clients of denylist-source-range in too; here they stay out"
            )
            annotations.warn(_SATISFY, Reason.ANNOTATION_UNSUPPORTED, message)
    elif mode:
        message = f"{mode[:80]!a} must be any or all; clients need both"
        annotations.warn(_SATISFY, Reason.ANNOTATION_INVALID, message)


def _users(annotations: Annotations, *, digest: bool) -> None:
    secret = _secret(annotations)
    if secret is None:
        return
    form = annotations.text(_FORM) or "auth-file"
    if form not in ("auth-file", "auth-map"):
        annotations.refuse(_FORM, Reason.ANNOTATION_INVALID, f"{form[:80]!a} must be auth-file or auth-map")
        return
    realm = annotations.text(_REALM)
    if realm:
        try:
            realm = parse_realm(realm)
        except ValueError as exc:
            annotations.refuse(_REALM, Reason.ANNOTATION_INVALID, f"{realm[:80]!a} {exc}")
            return
        if realm == "off" and not digest:
            message = (
                "the realm off switches authentication off in ingress-nginx; here it is a realm like others"
            )
            annotations.warn(_REALM, Reason.ANNOTATION_UNSUPPORTED, message)
    names = {"users": _SECRET, **({"realm": _REALM} if realm else {})}
    whole_file = form == "auth-file"
    try:
        if digest:
            found = digest_users(secret.data, whole_file=whole_file)
            annotations.add(DigestAuth.build({"users": found, "realm": realm}), **names)
            return
        users, unsupported = password_users(secret.data, whole_file=whole_file)
    except ValueError as exc:
        annotations.refuse(_SECRET, Reason.ANNOTATION_INVALID, f"the Secret {secret.key} {exc}")
        return
    annotations.add(BasicAuth(users=users, realm=realm), **names)
    for item in unsupported[:10]:
        message = f"the user of {item.place} of the Secret {secret.key} cannot log in: a hash {item.rule}"
        annotations.warn(_SECRET, Reason.ANNOTATION_UNSUPPORTED, message)


def _secret(annotations: Annotations) -> Secret | None:
    text = annotations.text(_SECRET)
    namespace = annotations.context.subject.key.namespace
    try:
        key = ObjectKey(*parse_key(text if "/" in text else f"{namespace}/{text}"))
    except ValueError as exc:
        said = f"{text[:80]!a} {exc}" if text else "auth-type needs auth-secret too"
        annotations.refuse(_SECRET if text else _TYPE, Reason.ANNOTATION_INVALID, said)
        return None
    if not annotations.context.may_look_up(Secret, key):
        message = f"the Secret {key} is in another namespace, which allow-cross-namespace-resources forbids"
        annotations.refuse(_SECRET, Reason.ANNOTATION_INVALID, message)
        return None
    found = annotations.lookup(Secret, key)
    if found is None:
        message = f"there is no Secret {key}, or it cannot be read"
        annotations.refuse(_SECRET, Reason.ANNOTATION_INVALID, message)
    return found
