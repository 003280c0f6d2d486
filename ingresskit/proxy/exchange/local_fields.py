"""The header fields that a route's policies put into responses of the proxy itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingresskit.facts import fact_logger
from ingresskit.filters import UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Collection

    from ingresskit.filters import RequestView
    from ingresskit.render.inprocess import Target

__all__ = ["local_fields"]

_logger = fact_logger(__name__)
_Fields = tuple[tuple[bytes, bytes], ...]


class _LocalResponse:
    """A response of the proxy itself, as filters see it: it has no fields yet."""

    __slots__ = ("status",)

    def __init__(self, status: int) -> None:
        self.status: int = status

    def field(self, name: bytes) -> bytes | None:
        """As `ResponseView`."""
        return None

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """As `ResponseView`."""
        return ()


def local_fields(
    target: Target,
    request: RequestView,
    status: int,
    fields: _Fields = (),
    waiting: Collection[object] = (),
) -> _Fields:
    """The fields of a local reply: *fields*, and what the policies of its route add, where that is not there.

    Args:
        target: The route.
        request: The request, as its filters see it.
        status: Of the reply.
        fields: What the reply has anyway.
        waiting: The filters that the request did not come to: what they would add is left out, so that a client
            who is refused before them learns nothing of them.
    """
    edits = target.local
    if edits is None:
        return fields
    edit = edits.secure if request.https else UNCHANGED
    try:
        for item in edits.filters:
            if item in waiting:
                continue
            edit = edit.then(item.response(request, _LocalResponse(status)))
    except Exception:
        # The reply refuses the request, and does so without these fields too.
        _logger.exception("a filter failed", extra={"host": target.host})
    named = {name.lower() for name, _ in fields}
    return (*fields, *(item for item in edit.fields if item[0].lower() not in named))
