"""Which objects are followed, and the requests that do it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Generic, Literal, TypeVar

from ingresskit.cache.decoding import ObjectDecoder, Page
from ingresskit.errors import ConfigurationError
from ingresskit.kube import LineReader, ListOptions, Transport
from ingresskit.models import KubeObject

__all__ = ["ListerWatcher"]

K = TypeVar("K", bound=KubeObject)


class ListerWatcher(Generic[K]):
    """Lists and watches one kind, in one namespace or all, narrowed by selectors."""

    def __init__(
        self,
        transport: Transport,
        decoder: ObjectDecoder[K],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = 500,
        watch_list: Literal["auto", "never"] = "auto",
    ) -> None:
        """Ask nothing yet.

        Args:
            transport: To which cluster.
            decoder: Which kind, and as what its objects are read.
            namespace: Only this one; empty for all.
            label_selector: As kubectl takes it, ``"app=web"``.
            field_selector: As kubectl takes it, ``"type=kubernetes.io/tls"``.
            page_size: Objects per page; a server may send more, and then all of them at once.
            watch_list: ``"auto"`` first tries to have the objects streamed by the watch itself, which costs
                the server less, and lists after any error of that; ``"never"`` always lists.

        Raises:
            ConfigurationError: The kind does not live in namespaces and one is given, or *page_size* is
                not more than zero.
        """
        if page_size <= 0:
            raise ConfigurationError(f"a page must have room for an object, not {page_size}")
        decoder.kind.path(namespace)
        self.transport = transport
        self.decoder = decoder
        self.namespace = namespace
        self.label_selector = label_selector
        self.field_selector = field_selector
        self.page_size = page_size
        self.watch_list = watch_list

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        which = ", ".join(filter(None, (self.label_selector, self.field_selector)))
        return f"{self.decoder.kind}{where}{f' with {which}' if which else ''}"

    async def page(
        self,
        *,
        limit: int | None = None,
        continue_token: str = "",
        not_older_than: str = "",
    ) -> Page[K]:
        """One page of the list.

        Args:
            limit: Objects wanted; `page_size` unless given, 0 for all.
            continue_token: Where the page before ended.
            not_older_than: Any state at least as new as this resource version will do; empty asks for the
                most recent.

        Raises:
            ApiError: The server refused.
            TransportError: There was no usable answer.
        """
        response = await self.transport.list(
            self.decoder.kind,
            self.namespace,
            ListOptions(
                label_selector=self.label_selector,
                field_selector=self.field_selector,
                limit=self.page_size if limit is None else limit,
                continue_token=continue_token,
                resource_version=not_older_than if not_older_than and not continue_token else None,
                resource_version_match="NotOlderThan" if not_older_than and not continue_token else "",
            ),
        )
        return await self.decoder.page(response.body)

    @asynccontextmanager
    async def watch(
        self, resource_version: str, *, lasting: timedelta, idle_timeout: timedelta, initial: bool = False
    ) -> AsyncGenerator[LineReader, None]:
        """An open watch.

        Args:
            resource_version: From where on; with *initial*, how new the initial state must be at least
                (empty for the most recent).
            lasting: How long the server shall keep it open.
            idle_timeout: After what silence it is given up.
            initial: Have the present state sent first.

        Raises:
            ApiError: The server refused.
            TransportError: There was no usable answer.
        """
        options = ListOptions(
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            resource_version=resource_version,
            resource_version_match="NotOlderThan" if initial else "",
            timeout=lasting,
            allow_bookmarks=True,
            send_initial_events=initial,
        )
        async with self.transport.watch(self.decoder.kind, self.namespace, options) as stream:
            yield LineReader(stream, idle_timeout=idle_timeout)
