"""An API server in memory, behind the transport protocol, that misbehaves when told to.

No sockets and no threads, on any anyio backend: informers, and everything on top of them, can be tested
against histories and faults that a real server shows once a year.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, cast

import anyio
import anyio.lowlevel

from ingresskit.errors import ApiError, Expired, Forbidden, NotFound, StatusCause, TransportError
from ingresskit.kube import ByteStream, ListOptions, ResourceKind, Response
from ingresskit.models import ObjectKey

__all__ = ["FakeRequest", "FakeTransport"]

Tree = Mapping[str, object]
Verb = Literal["list", "watch", "request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeRequest:
    """One request as it arrived.

    Attributes:
        at: When, on the clock of the event loop.
        path: The path without query; for `FakeTransport.request` with the method before it.
        query: Its parameters.
    """

    verb: Verb
    kind: str
    namespace: str
    path: str
    query: Mapping[str, str]
    at: float


@dataclass(slots=True)
class _Event:
    version: int
    collection: tuple[str, str]
    old: Tree | None
    new: Tree | None
    stamped: Tree  # the object as the event carries it


@dataclass(slots=True)
class _State:
    version: int
    objects: dict[tuple[str, str], dict[ObjectKey, Tree]]
    history: list[_Event]
    compacted: int


@dataclass(slots=True)
class _Fault:
    error: ApiError | TransportError | None
    verb: Verb | None
    kind: str
    times: int
    delay: float = 0.0


@dataclass(slots=True, eq=False)
class _Watch:
    collection: tuple[str, str]
    kind: ResourceKind
    namespace: str
    options: ListOptions
    until: float
    chunks: deque[bytes] = field(default_factory=deque[bytes])
    wake: anyio.Event = field(default_factory=anyio.Event)
    ended: bool = False
    broken: bool = False
    stalled: bool = False

    def send(self, data: bytes) -> None:
        if not (self.stalled or self.ended or self.broken):
            self.chunks.append(data)
        self.rouse()

    def rouse(self) -> None:
        self.wake.set()
        self.wake = anyio.Event()


class FakeTransport:
    """A `ingresskit.kube.Transport` to a cluster that exists only here.

    Change the cluster with `put` and `delete`; break it with the other methods. `requests` holds what was
    asked. Attributes may be set at any time and count for what comes after.

    Attributes:
        requests: Every request, in order.
        streams_lists: Whether watches can begin with the state; otherwise asking for it is refused (422).
        ends_streams: Whether such a watch marks the end of the state, as it must.
        sends_bookmarks: Whether watches that ask for bookmarks get one before they end.
        chunk_bytes: Cut what watches send into pieces of this size; 0 for one event a piece.
        expires_inside: Whether 410 comes as an event inside the watch (as real servers do) or as its status.
    """

    def __init__(self, *, version: int = 100) -> None:
        """An empty cluster.

        Args:
            version: Its resource version.
        """
        self.requests: list[FakeRequest] = []
        self.streams_lists = True
        self.ends_streams = True
        self.sends_bookmarks = True
        self.chunk_bytes = 0
        self.expires_inside = True
        self._state = _State(version, {}, [], 0)
        self._uids = itertools.count(1)
        self._watches: list[_Watch] = []
        self._faults: list[_Fault] = []
        self._tokens: dict[str, tuple[int, Sequence[Tree]]] = {}
        self._token_numbers = itertools.count(1)
        self._forbidden: set[tuple[str, str]] = set()
        self._missing: set[str] = set()
        self._losing = False

    # The cluster.

    @property
    def version(self) -> int:
        """The cluster's resource version."""
        return self._state.version

    @property
    def open_watches(self) -> int:
        """How many watches are open, stalled ones included."""
        return len(self._watches)

    def objects(self, kind: ResourceKind) -> Mapping[ObjectKey, Tree]:
        """What the cluster holds of *kind*."""
        return dict(self._collection(kind))

    def put(self, kind: ResourceKind, tree: Tree) -> Tree:
        """Create or change an object. Without ``metadata.uid`` it keeps the one it has, or gets a new one.

        Returns:
            The object as the server holds it.
        """
        objects = self._collection(kind)
        metadata = dict(cast("Tree", tree["metadata"]))
        key = ObjectKey(str(metadata.get("namespace", "")) if kind.namespaced else "", str(metadata["name"]))
        old = objects.get(key)
        if old is not None and metadata.get("uid") not in (None, _meta(old).get("uid")):
            self.delete(kind, key)  # another object by the same name
            old = None
        uid = metadata.get("uid") or (_meta(old).get("uid") if old is not None else f"uid-{next(self._uids)}")
        self._state.version += 1
        metadata |= {"uid": uid, "resourceVersion": str(self._state.version)}
        metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        new: Tree = {"kind": kind.kind, "apiVersion": kind.api_version, **tree, "metadata": metadata}
        objects[key] = new
        self._happened(kind, old, new, new)
        return new

    def delete(self, kind: ResourceKind, key: ObjectKey) -> None:
        """Delete an object.

        Raises:
            KeyError: There is none.
        """
        old = self._collection(kind).pop(key)
        self._state.version += 1
        stamped = {**old, "metadata": {**_meta(old), "resourceVersion": str(self._state.version)}}
        self._happened(kind, old, None, stamped)

    def compact(self) -> None:
        """Forget all history: who asks for an older version, or for the next page, gets 410."""
        self._state.history.clear()
        self._state.compacted = self._state.version

    def backup(self) -> object:
        """What `restore` needs to bring the cluster back to how it is now."""
        return copy.deepcopy(self._state)

    def restore(self, backup: object, *, end_watches: bool = True) -> None:
        """Bring the cluster back, its resource version too. Watches from a later version are then silent."""
        assert isinstance(backup, _State)  # noqa: S101 - a value from `backup`, which has no public type
        self._state = copy.deepcopy(backup)
        if end_watches:
            self.break_watches()

    # Faults.

    def fail(
        self,
        error: ApiError | TransportError,
        *,
        times: int = 1,
        verb: Verb | None = None,
        kind: ResourceKind | None = None,
    ) -> None:
        """Answer the next requests (of this verb and kind) with *error*."""
        self._faults.append(_Fault(error, verb, kind.resource if kind else "", times))

    def delay(self, by: timedelta, *, times: int = 1, verb: Verb | None = None) -> None:
        """Let the next requests wait before they are answered."""
        self._faults.append(_Fault(None, verb, "", times, by.total_seconds()))

    def recover(self) -> None:
        """Forget the faults that are yet to come, also what is forbidden and missing."""
        self._faults.clear()
        self._forbidden.clear()
        self._missing.clear()
        self._losing = False

    def forbid(self, kind: ResourceKind, namespace: str = "") -> None:
        """Answer 403 for *kind* in *namespace*, or where all namespaces are asked for."""
        self._forbidden.add((kind.resource, namespace))

    def allow(self, kind: ResourceKind, namespace: str = "") -> None:
        """Undo `forbid`."""
        self._forbidden.discard((kind.resource, namespace))

    def unserve(self, kind: ResourceKind) -> None:
        """Answer 404 for *kind*, until `recover`."""
        self._missing.add(kind.resource)

    def lose_events(self, losing: bool = True) -> None:
        """Change the cluster from now on without telling the open watches, and without history of it."""
        self._losing = losing

    def end_watches(self) -> None:
        """End all open watches in good order."""
        for watch in self._watches:
            watch.ended = True
            watch.rouse()

    def break_watches(self, *, after: bytes = b"") -> None:
        """Cut all open watches, *after* (half a line, say) has been sent."""
        for watch in self._watches:
            if after:
                watch.send(after)
            watch.broken = True
            watch.rouse()

    def stall_watches(self) -> None:
        """Let all open watches be silent for ever, as behind a dead connection."""
        for watch in self._watches:
            watch.stalled = True

    def send(self, data: bytes) -> None:
        """Send these bytes to all open watches."""
        for watch in self._watches:
            watch.send(data)

    def send_event(self, kind: str, tree: Tree) -> None:
        """Send this event to all open watches, whatever the cluster holds."""
        self.send(_line(kind, tree))

    def send_error(self, code: int, reason: str, message: str = "") -> None:
        """Send an error to all open watches, and end them."""
        self.send(_line("ERROR", _status(code, reason, message)))
        self.end_watches()

    def send_bookmarks(self) -> None:
        """Send a bookmark to all open watches that asked for them."""
        for watch in self._watches:
            if watch.options.allow_bookmarks:
                watch.send(self._bookmark(watch.kind))

    # The transport.

    async def list(self, kind: ResourceKind, namespace: str, options: ListOptions) -> Response:
        """One page of a collection. See `ingresskit.kube.Transport.list`."""
        await self._arrived("list", kind, namespace, kind.path(namespace), options.query())
        version = self._state.version
        if token := options.continue_token:
            version, items = self._tokens.get(token, (-1, ()))
            if version < self._state.compacted:
                raise Expired(status=410, reason="Expired", message="the continue token is too old")
        else:
            wanted = int(options.resource_version or 0)
            if wanted > version:
                raise _too_large(wanted, version)
            items = [
                tree for _, tree in sorted(self._collection(kind).items()) if _matches(tree, namespace, options)
            ]
        page, rest = (items[: options.limit], items[options.limit :]) if options.limit else (items, ())
        token = ""
        if rest:
            token = f"token-{next(self._token_numbers)}"
            self._tokens[token] = (version, rest)
        body = {
            "kind": f"{kind.kind}List",
            "apiVersion": kind.api_version,
            "metadata": {"resourceVersion": str(version), **({"continue": token} if token else {})},
            "items": [_bare(tree) for tree in page],
        }
        return Response(status=200, body=_dump(body))

    @asynccontextmanager
    async def watch(
        self, kind: ResourceKind, namespace: str, options: ListOptions
    ) -> AsyncGenerator[ByteStream, None]:
        """An open watch. See `ingresskit.kube.Transport.watch`."""
        await self._arrived("watch", kind, namespace, kind.path(namespace), options.query(watch=True))
        if options.send_initial_events and not self.streams_lists:
            raise ApiError(status=422, reason="Invalid", message="sendInitialEvents is forbidden")
        lasting = options.timeout.total_seconds() if options.timeout else float("inf")
        watch = _Watch(
            _collection_of(kind), kind, namespace, options, until=anyio.current_time() + _whole(lasting)
        )
        self._begin(watch)
        self._watches.append(watch)
        try:
            yield _FakeStream(watch, self)
        finally:
            self._watches.remove(watch)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Response:
        """Only ``GET`` of one object. See `ingresskit.kube.Transport.request`."""
        parts = path.strip("/").split("/")
        resource, name = parts[-2], parts[-1]
        namespace = parts[-3] if len(parts) > 4 and parts[-4] == "namespaces" else ""
        version = "/".join(parts[1 : 2 if parts[0] == "api" else 3])
        kind = ResourceKind(api_version=version, resource=resource, kind="", namespaced=bool(namespace))
        await self._arrived("request", kind, namespace, f"{method} {path}", query)
        if method != "GET":
            raise ApiError(status=405, reason="MethodNotAllowed", message=f"{method} is not supported")
        tree = self._collection(kind).get(ObjectKey(namespace, name))
        if tree is None:
            raise NotFound(status=404, reason="NotFound", message=f'{resource} "{name}" not found')
        return Response(status=200, body=_dump(tree))

    async def _arrived(
        self,
        verb: Verb,
        kind: ResourceKind,
        namespace: str,
        path: str,
        query: Sequence[tuple[str, str]],
    ) -> None:
        self.requests.append(
            FakeRequest(
                verb=verb,
                kind=kind.resource,
                namespace=namespace,
                path=path,
                query=dict(query),
                at=anyio.current_time(),
            )
        )
        await anyio.lowlevel.checkpoint()
        for fault in list(self._faults):
            if fault.times > 0 and fault.verb in (None, verb) and fault.kind in ("", kind.resource):
                fault.times -= 1
                if not fault.times:
                    self._faults.remove(fault)
                await anyio.sleep(fault.delay)
                if fault.error is not None:
                    raise fault.error
                break
        if kind.resource in self._missing:
            raise NotFound(status=404, reason="NotFound", message=f"no {kind.resource} here", request=path)
        if (kind.resource, namespace) in self._forbidden:
            raise Forbidden(
                status=403,
                reason="Forbidden",
                message=f'cannot {verb} resource "{kind.resource}" in API group "{kind.group}"',
                request=path,
            )

    def _begin(self, watch: _Watch) -> None:
        options = watch.options
        since = int(options.resource_version or 0)
        if options.send_initial_events:
            if since > self._state.version:
                raise _too_large(since, self._state.version)
            for _, tree in sorted(self._state.objects.get(watch.collection, {}).items()):
                if _matches(tree, watch.namespace, options):
                    self._send(watch, _line("ADDED", tree))
            if self.ends_streams:
                self._send(watch, self._bookmark(watch.kind, ends_initial=True))
            return
        if since < self._state.compacted:
            error = Expired(status=410, reason="Expired", message=f"too old resource version: {since}")
            if not self.expires_inside:
                raise error
            self._send(watch, _line("ERROR", _status(410, "Expired", error.message)))
            watch.ended = True
            return
        for event in self._state.history:
            if event.version > since:
                self._tell(watch, event)

    def _happened(self, kind: ResourceKind, old: Tree | None, new: Tree | None, stamped: Tree) -> None:
        event = _Event(self._state.version, _collection_of(kind), old, new, stamped)
        if self._losing:
            return
        self._state.history.append(event)
        for watch in self._watches:
            if not watch.ended:
                self._tell(watch, event)

    def _tell(self, watch: _Watch, event: _Event) -> None:
        if event.collection != watch.collection:
            return
        before = event.old is not None and _matches(event.old, watch.namespace, watch.options)
        after = event.new is not None and _matches(event.new, watch.namespace, watch.options)
        if before or after:
            kind = "MODIFIED" if before and after else "ADDED" if after else "DELETED"
            self._send(watch, _line(kind, event.stamped))

    def _send(self, watch: _Watch, line: bytes) -> None:
        for start in range(0, len(line), self.chunk_bytes or len(line)):
            watch.send(line[start : start + (self.chunk_bytes or len(line))])

    def _bookmark(self, kind: ResourceKind, *, ends_initial: bool = False) -> bytes:
        metadata: dict[str, object] = {"resourceVersion": str(self._state.version)}
        if ends_initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        return _line("BOOKMARK", {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata})

    def last_words(self, watch: _Watch) -> None:
        """The server's end of a watch whose time is up."""
        if watch.options.allow_bookmarks and self.sends_bookmarks and not watch.stalled:
            if int(watch.options.resource_version or 0) <= self._state.version:
                self._send(watch, self._bookmark(watch.kind))
        watch.ended = not watch.stalled

    def _collection(self, kind: ResourceKind) -> dict[ObjectKey, Tree]:
        return self._state.objects.setdefault(_collection_of(kind), {})


class _FakeStream:
    def __init__(self, watch: _Watch, server: FakeTransport) -> None:
        self._watch = watch
        self._server = server

    async def receive(self) -> bytes:
        watch = self._watch
        await anyio.lowlevel.checkpoint()
        while not watch.chunks:
            if watch.stalled:
                await anyio.sleep_forever()
            if watch.broken:
                raise TransportError("the connection was reset")
            if watch.ended:
                raise anyio.EndOfStream
            with anyio.CancelScope(deadline=watch.until) as scope:
                await watch.wake.wait()
            if scope.cancelled_caught:
                self._server.last_words(watch)
        return watch.chunks.popleft()


def _whole(seconds: float) -> float:
    return seconds if seconds == float("inf") else int(seconds)


def _collection_of(kind: ResourceKind) -> tuple[str, str]:
    return (kind.group, kind.resource)


def _meta(tree: Tree) -> Tree:
    return cast("Tree", tree["metadata"])


def _bare(tree: Tree) -> Tree:
    """Items of a list do not repeat what they are."""
    return {name: value for name, value in tree.items() if name not in ("kind", "apiVersion")}


def _dump(tree: object) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()


def _line(kind: str, tree: Tree) -> bytes:
    return _dump({"type": kind, "object": tree}) + b"\n"


def _status(code: int, reason: str, message: str) -> Tree:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }


def _too_large(wanted: int, version: int) -> ApiError:
    return ApiError(
        status=504,
        reason="Timeout",
        message=f"Too large resource version: {wanted}, current: {version}",
        retry_after=timedelta(seconds=1),
        causes=(StatusCause("", "ResourceVersionTooLarge", "Too large resource version"),),
    )


def _matches(tree: Tree, namespace: str, options: ListOptions) -> bool:
    metadata = _meta(tree)
    if namespace and metadata.get("namespace") != namespace:
        return False
    fields = {f"metadata.{name}": value for name, value in metadata.items()} | dict(tree)
    labels = cast("Tree", metadata.get("labels") or {})
    return _selected(options.field_selector, fields.get) and _selected(options.label_selector, labels.get)


def _selected(selector: str, value: Callable[[str], object]) -> bool:
    return all(
        (value(name) == wanted) is (operator != "!=") for name, operator, wanted in _requirements(selector)
    )


def _requirements(selector: str) -> Iterator[tuple[str, str, str]]:
    """Equality only; real servers know sets too."""
    for part in filter(None, selector.split(",")):
        match = re.fullmatch(r"\s*([^=!\s]+)\s*(==?|!=)\s*([^=!\s]*)\s*", part)
        if match is None:
            raise ApiError(status=400, reason="BadRequest", message=f"the selector {part!r} is not understood")
        yield match[1], match[2], match[3]
