"""The state that a watch begins with, when it was asked for it (``sendInitialEvents``)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar, assert_never

import anyio

from ingresskit.cache.decoding import (
    Bookmark,
    ObjectDecoder,
    ObjectEvent,
    ObjectFailed,
    Page,
    UnknownEvent,
    WatchError,
)
from ingresskit.errors import TransportError
from ingresskit.kube import LineReader
from ingresskit.models import KubeObject, ObjectKey

__all__ = ["initial_state"]

K = TypeVar("K", bound=KubeObject)


async def initial_state(
    decoder: ObjectDecoder[K],
    lines: LineReader,
    *,
    patience: timedelta,
    on_event: Callable[[float], None],
    on_unknown: Callable[[UnknownEvent], None],
) -> Page[K]:
    """Collect events up to the bookmark that ends the initial state.

    Args:
        decoder: Reads the events.
        lines: The open watch.
        patience: How long events may go on without one object that was not sent before. A server that
            accepts the request and never sends the end streams changes for ever.
        on_event: Called for each event, with the time at which it arrived.
        on_unknown: Called for each event of a type that is not known.

    Returns:
        The whole state, as a page without a successor.

    Raises:
        ApiError: The server ended the watch with an error.
        TransportError: The connection broke, or *patience* is over.
        anyio.EndOfStream: The watch ended before the state was whole.

    Source: Kubernetes API concepts, "Streaming lists".
    """
    held: dict[ObjectKey, ObjectEvent[K] | ObjectFailed] = {}
    sent: set[ObjectKey] = set()
    grown = anyio.current_time()
    while True:
        event = decoder.event(await lines.line())
        on_event(lines.heard)
        match event:
            case ObjectEvent(type=kind, item=item):
                key = item.key
            case ObjectFailed(type=kind, failure=failure):
                key = failure.key
            case Bookmark(ends_initial=True, resource_version=version):
                break
            case Bookmark():
                continue
            case WatchError(error=error):
                raise error
            case UnknownEvent():
                on_unknown(event)
                continue
            case _:
                assert_never(event)
        if key not in sent:
            sent.add(key)
            grown = lines.heard
        elif lines.heard - grown > patience.total_seconds():
            raise TransportError("changes are streamed, but never the end of the initial state")
        if kind == "DELETED":
            held.pop(key, None)
        else:
            held[key] = event
    return Page(
        objects=tuple(event.item for event in held.values() if isinstance(event, ObjectEvent)),
        failures=tuple(event.failure for event in held.values() if isinstance(event, ObjectFailed)),
        resource_version=version,
        continue_token="",
    )
