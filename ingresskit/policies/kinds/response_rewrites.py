"""What endpoints say of their own place in responses, made right for clients: cookies and redirects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ingresskit.policies.base import Policy, Risk, annotated
from ingresskit.policies.order import Stage
from ingresskit.policies.text_changes import (
    TextChange,
    parse_domain_changes,
    parse_location_changes,
    parse_path_changes,
)

__all__ = ["CookieRewrite", "LocationRewrite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieRewrite(Policy):
    """The domain and path of the cookies that endpoints set. The first change that fits is made.

    Attributes:
        domains: The source of a text is a whole domain, in any case; a dot in front of it means nothing.
        paths: The source of a text is the beginning of a path.

    Source: nginx, ``proxy_cookie_domain`` and ``proxy_cookie_path``.
    """

    stage: ClassVar[Stage] = Stage.HEADERS

    domains: tuple[TextChange, ...] = annotated(
        "cookie-domain",
        parse_domain_changes,
        default=(),
        grammar="lines of `DOMAIN DOMAIN`, 16 at most",
        summary="In the endpoint's cookies, replace the first domain by the second.",
        risk=Risk.MEDIUM,
    )
    paths: tuple[TextChange, ...] = annotated(
        "cookie-path",
        parse_path_changes,
        default=(),
        grammar="lines of `PATH PATH`, 16 at most",
        summary="In the paths of the endpoint's cookies, replace the first beginning by the second.",
        risk=Risk.MEDIUM,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationRewrite(Policy):
    """Where the redirects of endpoints lead: ``Location``, and the URL in ``Refresh``.

    Attributes:
        changes: The source of a text is the beginning of the URL; ``$scheme`` and ``$host`` stand for those
            that the client used, ``$http_host`` for its ``Host`` field. The first change that fits is made.
        absolute: A location that becomes a path gets the scheme and the host, without port, of the client.

    Source: nginx, ``proxy_redirect``.
    """

    stage: ClassVar[Stage] = Stage.HEADERS

    changes: tuple[TextChange, ...] = annotated(
        "location-rewrite",
        parse_location_changes,
        default=(),
        grammar="lines of `URL URL`, 16 at most; `$scheme` and `$host` stand for the client's",
        summary="In the endpoint's redirects, replace the first beginning by the second.",
        risk=Risk.MEDIUM,
    )
    absolute: bool = False
