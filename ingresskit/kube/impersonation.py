"""Requests in another user's name: ``as``, ``as-groups``, ``as-uid`` and ``as-user-extra`` of a kubeconfig.

Source: Kubernetes documentation, "Authenticating", section "User impersonation"; the order and the
escaping of the headers are those of client-go's ``transport.NewImpersonatingRoundTripper``.
"""

from __future__ import annotations

import string
from collections.abc import Mapping

from ingresskit.errors import CredentialsError
from ingresskit.kube._trees import as_map, field_text, field_texts

__all__ = ["impersonation_headers"]

# RFC 9110, section 5.6.2, without the percent sign, which begins an escape here.
_PLAIN = frozenset((string.ascii_letters + string.digits + "!#$&'*+-.^_`|~").encode())


def impersonation_headers(user: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """The headers that a kubeconfig's user asks for, in their order; none without impersonation.

    Raises:
        CredentialsError: Groups, a uid or extra fields without a user name, a value of another type, or
            one that no header can hold.
    """
    name, uid = field_text(user, "as"), field_text(user, "as-uid")
    groups = field_texts(user, "as-groups")
    fields = as_map(user.get("as-user-extra"))
    if not fields and user.get("as-user-extra"):
        raise CredentialsError("the kubeconfig's as-user-extra must be a map of lists of text")
    if not name:
        if uid or groups or fields:
            raise CredentialsError("the kubeconfig has as-uid, as-groups or as-user-extra, but no as")
        return ()
    headers = [("Impersonate-User", name)]
    if uid:
        headers.append(("Impersonate-Uid", uid))
    headers += [("Impersonate-Group", group) for group in groups]
    for key in fields:
        headers += [(f"Impersonate-Extra-{_escaped(key)}", value) for value in field_texts(fields, key)]
    for header, value in headers:
        if not value.isprintable():
            raise CredentialsError(f"the kubeconfig's value for {header} holds control characters")
    return tuple(headers)


def _escaped(key: str) -> str:
    return "".join(chr(octet) if octet in _PLAIN else f"%{octet:02X}" for octet in str(key).encode())
