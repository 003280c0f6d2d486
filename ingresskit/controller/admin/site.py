"""What stands behind each path of the admin server."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import anyio.to_thread

from ingresskit.controller.admin.messages import (
    JSON,
    AdminRequest,
    AdminResponse,
    BadQuery,
    Body,
    Stream,
    explained_request,
    problem,
)
from ingresskit.controller.admin.settings import AdminSettings
from ingresskit.controller.admin.shapes import (
    dump_config,
    dump_diagnostics,
    dump_event,
    dump_explanation,
    dump_health,
    dump_hosts,
    dump_status,
)
from ingresskit.controller.health import Health, HealthReport
from ingresskit.controller.metrics import CONTENT_TYPE, Metrics
from ingresskit.controller.statistics import ControllerView
from ingresskit.filters import explain
from ingresskit.graph import to_json
from ingresskit.render.files import RenderedFile
from ingresskit.sources import CacheStatistics

if TYPE_CHECKING:
    from collections.abc import Generator

    from ingresskit.controller.events import Event, Subscription

__all__ = ["Site"]

T = TypeVar("T")

_SCRIPT: Final = "text/javascript; charset=utf-8"
_PAGES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    **{f"/{name}": (name, _SCRIPT) for name in ("app.js", "data.js", "dom.js", "views.js")},
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_Send = Callable[[bytes], Awaitable[None]]


class Site:
    """Responds to requests. Work that takes more than a moment runs in a worker thread, two at a time."""

    def __init__(
        self,
        controller: ControllerView,
        health: Health,
        metrics: Metrics,
        settings: AdminSettings,
        *,
        caches: Callable[[], Mapping[str, CacheStatistics]] | None = None,
        leader: Callable[[], Mapping[str, object]] | None = None,
        as_files: Callable[[object], Iterable[RenderedFile]] | None = None,
    ) -> None:
        self._controller = controller
        self._as_files = as_files
        self._caches = caches
        self._leader = leader
        self._health = health
        self._metrics = metrics
        self._settings = settings
        self._streams = 0
        self._threads = anyio.CapacityLimiter(2)
        self._graph = _Memory(self._threads)
        self._hosts = _Memory(self._threads)
        self._diagnostics = _Memory(self._threads)
        self._config = _Memory(self._threads)
        self._pages: Mapping[str, tuple[Body, str]] = {}
        self._paths: Mapping[str, Callable[[AdminRequest], Awaitable[AdminResponse | Stream]]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics_text,
            "/api/status": self._status,
            "/api/graph": self._graph_json,
            "/api/hosts": self._hosts_json,
            "/api/diagnostics": self._diagnostics_json,
            "/api/explain": self._explain,
            "/api/config": self._config_json,
            "/api/events": self._events,
            **dict.fromkeys(_PAGES, self._page),
        }

    async def load(self) -> None:
        """Read the dashboard's files. Called once, before the first `answer`."""
        self._pages = await anyio.to_thread.run_sync(_load_pages)

    async def answer(self, request: AdminRequest) -> AdminResponse | Stream:
        """The response to *request*. Never raises for anything a client can do."""
        if request.method not in ("GET", "HEAD"):
            return problem(405, f"{request.method} is not possible here; read only", ("Allow", "GET, HEAD"))
        handler = self._paths.get(request.path)
        if handler is None:
            return problem(404, f"no resource at {request.path[:100]}")
        return await handler(request)

    async def _healthz(self, _: AdminRequest) -> AdminResponse:
        return _health_answer(self._health.liveness())

    async def _readyz(self, _: AdminRequest) -> AdminResponse:
        return _health_answer(self._health.readiness())

    async def _metrics_text(self, _: AdminRequest) -> AdminResponse:
        return AdminResponse(content_type=CONTENT_TYPE, body=self._metrics.text())

    async def _status(self, _: AdminRequest) -> AdminResponse:
        live, ready = self._health.liveness(), self._health.readiness()
        return AdminResponse.json(
            dump_status(
                self._controller,
                live,
                ready,
                datetime.now(UTC),
                caches=self._caches() if self._caches else {},
                leader=self._leader() if self._leader else None,
                unwell=self._metrics.unwell_endpoints(),
                unwritten=self._metrics.unwritten_state(),
            )
        )

    async def _graph_json(self, request: AdminRequest) -> AdminResponse:
        outcome = self._controller.outcome
        if outcome is None:
            return _nothing_live()
        body = await self._graph.body(outcome.graph, partial(to_json, outcome.graph))
        return AdminResponse.cached(request, body, JSON, "no-store")

    async def _hosts_json(self, request: AdminRequest) -> AdminResponse:
        outcome = self._controller.outcome
        if outcome is None:
            return _nothing_live()
        body = await self._hosts.body(outcome.claims, partial(_json_of, dump_hosts, outcome.claims))
        return AdminResponse.cached(request, body, JSON, "no-store")

    async def _diagnostics_json(self, request: AdminRequest) -> AdminResponse:
        held = self._controller.diagnostics
        body = await self._diagnostics.body(held, partial(_json_of, dump_diagnostics, held))
        return AdminResponse.cached(request, body, JSON, "no-store")

    async def _config_json(self, request: AdminRequest) -> AdminResponse:
        outcome = self._controller.outcome
        if outcome is None:
            return _nothing_live()
        dump = partial(dump_config, self._controller.renderer_name, as_files=self._as_files)
        body = await self._config.body(outcome, partial(_json_of, dump, outcome))
        return AdminResponse.cached(request, body, JSON, "no-store")

    async def _explain(self, request: AdminRequest) -> AdminResponse:
        try:
            explained = explained_request(request.query)
        except BadQuery as exc:
            return problem(400, str(exc))
        outcome = self._controller.outcome
        if outcome is None:
            return _nothing_live()
        explanation = await anyio.to_thread.run_sync(
            partial(explain, outcome.graph, explained, outcome.claims, effects=self._controller.effects),
            limiter=self._threads,
        )
        return AdminResponse.json(dump_explanation(explanation))

    async def _page(self, request: AdminRequest) -> AdminResponse:
        body, content_type = self._pages[request.path]
        # Held by the browser, but asked about each time: after an upgrade the old page must not stay.
        return AdminResponse.cached(request, body, content_type, "no-cache")

    async def _events(self, request: AdminRequest) -> AdminResponse | Stream:
        if self._streams >= self._settings.max_streams:
            text = f"there are {self._streams} event streams already"
            return problem(503, text, ("Retry-After", "10"))
        if request.method == "HEAD":
            return AdminResponse(content_type="text/event-stream")
        return Stream("text/event-stream; charset=utf-8", self._feed)

    async def _feed(self, send: _Send) -> None:
        heartbeat = self._settings.heartbeat.total_seconds()
        with self._counted(), self._controller.subscribe() as events:
            await send(b"retry: 2000\nevent: hello\ndata: {}\n\n")
            number = 0
            while True:
                event: Event | None = None
                with anyio.move_on_after(heartbeat):
                    try:
                        event = await anext(events)
                    except StopAsyncIteration:
                        return
                if event is None:
                    await send(b": nothing happened\n\n")
                    continue
                number += 1
                data = json.dumps(dump_event(event))
                await send(_dropped(events) + f"id: {number}\nevent: {event.kind}\ndata: {data}\n\n".encode())

    @contextmanager
    def _counted(self) -> Generator[None]:
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1


class _Memory:
    """The body last made of something, kept while that something is the same object."""

    def __init__(self, threads: anyio.CapacityLimiter) -> None:
        self._threads = threads
        self._lock = anyio.Lock()
        self._source: object = None
        self._body: Body | None = None

    async def body(self, source: object, make: Callable[[], bytes]) -> Body:
        async with self._lock:  # those who ask at once share one piece of work
            if self._body is None or self._source is not source:
                made = await anyio.to_thread.run_sync(lambda: Body.of(make()), limiter=self._threads)
                self._source, self._body = source, made
            return self._body


def _json_of(dump: Callable[[T], object], value: T) -> bytes:
    return json.dumps(dump(value), indent=2, ensure_ascii=False).encode() + b"\n"


def _dropped(events: Subscription) -> bytes:
    count = events.take_dropped()
    return f'event: dropped\ndata: {{"count": {count}}}\n\n'.encode() if count else b""


def _health_answer(report: HealthReport) -> AdminResponse:
    return AdminResponse.json(dump_health(report), status=200 if report.ok else 503)


def _nothing_live() -> AdminResponse:
    return problem(503, "nothing is live yet; see /readyz for what is missing", ("Retry-After", "1"))


def _load_pages() -> dict[str, tuple[Body, str]]:
    folder = files("ingresskit.controller.admin") / "dashboard"
    return {
        path: (Body.of((folder / name).read_bytes()), content_type)
        for path, (name, content_type) in _PAGES.items()
    }
