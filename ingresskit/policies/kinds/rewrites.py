"""Changes of the path and the host on their way to the endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from typing_extensions import override

from ingresskit.policies.base import Policy, Risk, annotated
from ingresskit.policies.order import Stage
from ingresskit.policies.templates import parse_path_template
from ingresskit.policies.timed_patterns import parse_path_pattern
from ingresskit.policies.values import parse_authority, parse_path_prefix

__all__ = ["ForwardedPrefix", "PrefixRewrite", "RegexRewrite", "UpstreamHost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixRewrite(Policy):
    """Replace the part of the path that a rule matched, element-wise.

    With the rule ``/shop`` and the prefix ``/v2``, ``/shop/cart`` reaches the endpoint as
    ``/v2/cart`` and ``/shop`` as ``/v2``; with the prefix ``/``, as ``/cart`` and ``/``.

    Attributes:
        prefix: In normal form, without a trailing slash unless it is ``/``; ``None`` rewrites nothing.
        added: As *prefix*; put in front of every path, in place of nothing. Not beside *prefix*.
        whole: A path in normal form that takes the place of the whole path, whatever the rule matched, and
            goes before *prefix*; ``None``: none does. The query stays. A rule that is written as this very
            path rewrites nothing.

    Source: for *whole*, ``rewrite-target`` of ingress-nginx.
    """

    stage: ClassVar[Stage] = Stage.REWRITE

    prefix: str | None = annotated(
        "rewrite-prefix",
        parse_path_prefix,
        default=None,
        grammar="a path that begins with `/`",
        summary="Replace the matched part of the path by this one; `/` takes it away.",
        risk=Risk.MEDIUM,
    )
    added: str | None = annotated(
        "rewrite-add-prefix",
        parse_path_prefix,
        default=None,
        grammar="a path that begins with `/`",
        summary="Put this in front of every path; not beside `rewrite-prefix`.",
        risk=Risk.MEDIUM,
    )
    whole: str | None = None

    @override
    @classmethod
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`.

        Raises:
            ValueError: One prefix is replaced and one added: the first can say both.
        """
        made = super(PrefixRewrite, cls).build(values)
        if made.prefix is not None and made.added is not None:
            raise ValueError(
                "must not stand beside rewrite-prefix and rewrite-add-prefix at once; use one of them"
            )
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class RegexRewrite(Policy):
    """Make the whole path anew from parts of it. It sees the path that `PrefixRewrite` leaves.

    A path that does not begin with a match stays as it is. The result is brought into normal form; where a
    capture makes a ``.`` or ``..`` element, or anything else that has no normal form, the request gets 400.

    Attributes:
        pattern: As `ingresskit.policies.Pattern`; also one that looks ahead or behind or refers back, which
            is matched under a time limit. ``None``: that of the rule's own path, and every path that the
            rule takes is rewritten.
        replacement: The new path, in which ``$1`` to ``$9`` stand for what the groups of the pattern matched
            and ``$$`` for a dollar sign; behind a ``?`` a query, to which that of the client is added.
            ``None`` rewrites nothing.

    Source: for a pattern of ``None``, ``rewrite-target`` of ingress-nginx with captures.
    """

    stage: ClassVar[Stage] = Stage.REWRITE

    pattern: str | None = annotated(
        "rewrite-regex",
        parse_path_pattern,
        default=None,
        grammar="a regular expression for the beginning of the path",
        summary="Rewrite paths that match this; needs `rewrite-replacement`.",
        risk=Risk.MEDIUM,
    )
    replacement: str | None = annotated(
        "rewrite-replacement",
        parse_path_template,
        default=None,
        grammar="a path with `$1` to `$9`, optionally with `?` and a query",
        summary="The path that takes the place of one that matches `rewrite-regex`.",
        risk=Risk.MEDIUM,
    )

    @override
    @classmethod
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`.

        Raises:
            ValueError: There is only one of the two.
        """
        made = super(RegexRewrite, cls).build(values)
        if made.replacement is None:
            raise ValueError("needs rewrite-replacement too")
        if made.pattern is None:
            raise ValueError("needs rewrite-regex too")
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardedPrefix(Policy):
    """The header field ``X-Forwarded-Prefix``: what was taken away from the path, for applications that link.

    Attributes:
        prefix: A path in normal form, sent as it is; ``None`` sends none, and that of a client never arrives.
    """

    stage: ClassVar[Stage] = Stage.HEADERS

    prefix: str | None = annotated(
        "forwarded-prefix",
        parse_path_prefix,
        default=None,
        grammar="a path that begins with `/`",
        summary="Tell endpoints by X-Forwarded-Prefix under which path clients see them.",
        risk=Risk.MEDIUM,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamHost(Policy):
    """The ``Host`` field, and the TLS server name, that endpoints get in place of the client's.

    ``X-Forwarded-Host`` names the host that the client asked for, as ever.

    Attributes:
        host: A name or address, optionally with a port; ``None``: endpoints get the client's.
    """

    stage: ClassVar[Stage] = Stage.REWRITE

    host: str | None = annotated(
        "upstream-host",
        parse_authority,
        default=None,
        grammar="a host, optionally with `:` and a port",
        summary="Endpoints get this `Host` in place of the one that the client asked for.",
        risk=Risk.LOW,
    )
