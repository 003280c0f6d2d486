"""How the path and the header fields of a request and a response change on their way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ingresskit.policies import PolicySet, PrefixRewrite, RequestHeaders, ResponseHeaders
from ingresskit.policies.values import HeaderField, plain_header_name

__all__ = ["UNCHANGED", "HeaderEdit", "PathEdit", "path_edit", "request_edit", "response_edit"]


@dataclass(frozen=True, slots=True)
class PathEdit:
    """Replaces the matched beginning of a path.

    Attributes:
        matched: The path of the match without a trailing slash.
        prefix: What takes its place, without a trailing slash; empty means ``/``.
    """

    matched: str
    prefix: str

    def apply(self, path: str) -> str:
        """The path that the endpoint gets for *path*, which is in normal form and which the match takes."""
        return (self.prefix + path[len(self.matched) :]) or "/"


@dataclass(frozen=True, slots=True)
class HeaderEdit:
    """All changes of header fields that a route asks for, merged into one pass over a head. False: none.

    Attributes:
        drop: Names to take out in any spelling, as `plain_header_name` has them; those of *fields* are
            among them.
        fields: Names and values to add after that, as written.
    """

    drop: frozenset[bytes] = frozenset()
    fields: tuple[tuple[bytes, bytes], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.drop)


UNCHANGED: Final = HeaderEdit()
"""No change."""


def path_edit(policies: PolicySet, matched: str) -> PathEdit | None:
    """What the policies do to a path that *matched* takes; ``None``: nothing."""
    rewrite = policies.get(PrefixRewrite)
    if rewrite is None or rewrite.prefix is None:
        return None
    return PathEdit(matched.rstrip("/"), rewrite.prefix.rstrip("/"))


def request_edit(policies: PolicySet) -> HeaderEdit:
    """What the policies do to the header fields of a request."""
    policy = policies.get(RequestHeaders)
    return UNCHANGED if policy is None else _edit(policy.set, policy.remove)


def response_edit(policies: PolicySet) -> HeaderEdit:
    """What the policies do to the header fields of an endpoint's response; never to the proxy's own."""
    policy = policies.get(ResponseHeaders)
    return UNCHANGED if policy is None else _edit(policy.set, policy.remove)


def _edit(fields: tuple[HeaderField, ...], removed: tuple[str, ...]) -> HeaderEdit:
    return HeaderEdit(
        drop=frozenset(
            plain_header_name(name).encode("ascii") for name in (*(name for name, _ in fields), *removed)
        ),
        fields=tuple((name.encode("ascii"), value.encode("ascii")) for name, value in fields),
    )
