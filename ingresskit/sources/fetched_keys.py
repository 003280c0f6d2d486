"""A source that adds what it fetches: the keys of tokens that Ingresses name by URL.

What is fetched stands in the snapshot as ConfigMaps with names that no object of a cluster can have, so the
translator stays pure and the data plane fetches nothing. A URL that is not allowed is never asked; one that
fails keeps the keys that it gave last, and a problem of the snapshot says so.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPException
from typing import IO, Final

import anyio
import anyio.to_thread

from ingresskit._doubling import Doubling
from ingresskit.errors import DecodeError
from ingresskit.facts import fact_logger
from ingresskit.models import ConfigMap, Ingress, KubeObject, ObjectKey, ObjectMeta, Snapshot
from ingresskit.policies import NATIVE_PREFIX
from ingresskit.policies.jwks import load_public_keys
from ingresskit.policies.key_urls import fetched_name, parse_key_url
from ingresskit.sources.base import Source

__all__ = ["FetchedKeysSource", "fetch_keys"]

_logger = fact_logger(__name__)

_FILE: Final = "jwks.json"
_MOST_BYTES: Final = 256 * 1024
_MOST_URLS: Final = 100
_MOST_OF_NAMESPACE: Final = 10
_DEADLINE: Final = timedelta(seconds=10)
_TIMEOUT_SECONDS: Final = 5.0
_ANNOTATION: Final = f"{NATIVE_PREFIX}/jwt-keys-url"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Whom a server sends us to is not whom the operator allowed."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> None:
        return None


def fetch_keys(url: str) -> bytes:
    """What *url* responds with 200, 256 KiB at most. Blocks.

    The certificate is verified, and no redirect followed.

    Raises:
        OSError: There is no such response, or it is not trusted.
        ValueError: It is too large.
    """
    opener = urllib.request.build_opener(_NoRedirects)
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - https, see parse_key_url
    try:
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
            body: bytes = response.read(_MOST_BYTES + 1)
    except HTTPException as exc:
        raise OSError(f"malformed response: {type(exc).__name__}") from exc
    if len(body) > _MOST_BYTES:
        raise ValueError(f"must be {_MOST_BYTES} octets at most")
    return body


@dataclass(slots=True)
class _Fetched:
    """What is known of a URL."""

    due: float = 0.0
    failures: int = 0
    keys: str = ""
    fault: str = ""
    namespaces: frozenset[str] = field(default_factory=frozenset[str])


class FetchedKeysSource:
    """*inner*, and the keys of the URLs that its Ingresses name.

    Args:
        inner: Where the objects come from.
        allowed: Beginnings of URLs that may be asked, as `parse_key_prefix` has them.
        fetch: Gets the octets of a URL; called in a thread.
        refresh: How long keys are taken to be fresh.
        retry: The waits after failures.
    """

    def __init__(
        self,
        inner: Source,
        allowed: Sequence[str],
        *,
        fetch: Callable[[str], bytes] = fetch_keys,
        refresh: timedelta = timedelta(minutes=5),
        retry: Doubling = Doubling(timedelta(seconds=2), timedelta(minutes=5)),  # noqa: B008 - immutable
    ) -> None:
        self._inner = inner
        self._allowed = tuple(allowed)
        self._fetch = fetch
        self._refresh = refresh
        self._retry = retry
        self._known: dict[str, _Fetched] = {}
        self._seen: Snapshot | None = None
        self._published: Snapshot | None = None
        self._changed = anyio.Event()
        self._named = anyio.Event()

    def snapshot(self) -> Snapshot | None:
        """As `Source.snapshot`."""
        return self._published

    async def wait_changed(self, revision: int) -> None:
        """As `Source.wait_changed`."""
        while self._published is None or self._published.revision <= revision:
            await self._changed.wait()

    async def run(self) -> None:
        """As `Source.run`."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._inner.run)
            tasks.start_soon(self._keep_fresh)
            revision = 0
            while True:
                await self._inner.wait_changed(revision)
                found = self._inner.snapshot()
                if found is None:
                    continue
                revision = found.revision
                self._follow(found)
                # Routes need not wait for keys: without them they are closed.
                self._publish(found)
                self._named.set()

    async def _keep_fresh(self) -> None:
        while True:
            with anyio.move_on_after(self._wait()):
                await self._named.wait()
            self._named = anyio.Event()
            if await self._fetch_due() and self._seen is not None:
                self._publish(self._seen)

    def _wait(self) -> float | None:
        """Seconds until a URL is to be asked; ``None``: nobody names one."""
        if not self._known:
            return None
        return max(0.0, min(item.due for item in self._known.values()) - time.monotonic())

    def _follow(self, snapshot: Snapshot) -> None:
        """Find the URLs that Ingresses name now."""
        named: dict[str, set[str]] = {}
        counts: dict[str, set[str]] = {}
        for key, ingress in sorted(snapshot.by_key(Ingress).items()):
            text = ingress.metadata.annotations.get(_ANNOTATION)
            url = None if text is None else self._permitted(text)
            if url is None or len(counts.setdefault(key.namespace, set()) | {url}) > _MOST_OF_NAMESPACE:
                continue
            if url in named or len(named) < _MOST_URLS:
                counts[key.namespace].add(url)
                named.setdefault(url, set()).add(key.namespace)
        self._known = {url: self._known.get(url, _Fetched()) for url in named}
        for url, namespaces in named.items():
            self._known[url].namespaces = frozenset(namespaces)

    def _permitted(self, text: str) -> str | None:
        try:
            url = parse_key_url(text)
        except ValueError:
            return None  # which the dialect reports
        return url if url.startswith(self._allowed) else None

    async def _fetch_due(self) -> bool:
        """Ask the URLs that are to be asked; whether keys or faults are others now."""
        now = time.monotonic()
        due = [(url, item) for url, item in self._known.items() if item.due <= now]
        before = [(item.keys, item.fault) for _, item in due]
        async with anyio.create_task_group() as tasks:
            for url, item in due:
                tasks.start_soon(self._ask, url, item)
        return before != [(item.keys, item.fault) for _, item in due]

    async def _ask(self, url: str, item: _Fetched) -> None:
        try:
            with anyio.fail_after(_DEADLINE.total_seconds()):
                body = await anyio.to_thread.run_sync(self._fetch, url, abandon_on_cancel=True)
            text = body.decode()
            load_public_keys(_config_map("", url, text))
        except (OSError, ValueError) as exc:
            item.failures += 1
            item.due = time.monotonic() + self._retry.after(item.failures).total_seconds()
            why = str(exc) or type(exc).__name__
            item.fault = f"the keys of {url} cannot be fetched ({why[:200]!a})"
            _logger.warning("keys of tokens cannot be fetched", extra={"url": url, "reason": item.fault})
            return
        item.failures, item.fault, item.keys = 0, "", text
        item.due = time.monotonic() + self._refresh.total_seconds()

    def _publish(self, found: Snapshot) -> None:
        before, seen = self._published or Snapshot(), self._seen
        extra = {
            ObjectKey(namespace, fetched_name(url)): _config_map(namespace, url, item.keys)
            for url, item in self._known.items()
            if item.keys
            for namespace in item.namespaces
        }
        held = before.by_key(ConfigMap)
        objects: dict[type[KubeObject], Mapping[ObjectKey, KubeObject]] = dict(found.objects)
        if extra:
            kept = {key: held[key] if held.get(key) == item else item for key, item in extra.items()}
            objects[ConfigMap] = {**found.objects.get(ConfigMap, {}), **kept}
        changed = dict(found.since(seen or Snapshot()).keys)
        ours = {key for key in (*held, *extra) if held.get(key) != objects.get(ConfigMap, {}).get(key)}
        if ours:
            changed[ConfigMap] = changed.get(ConfigMap, frozenset()) | ours
        self._seen = found
        problems = (*found.problems, *self._problems())
        self._published = before.succeeded_by(objects, changed, problems=tuple(sorted(problems, key=str)))
        self._changed.set()
        self._changed = anyio.Event()

    def _problems(self) -> Iterator[DecodeError]:
        for url, item in sorted(self._known.items()):
            if not item.fault:
                continue
            kept = "those that it gave last hold" if item.keys else "routes that need them respond 503"
            for namespace in sorted(item.namespaces):
                yield DecodeError(
                    kind="ConfigMap",
                    namespace=namespace,
                    name=fetched_name(url)[:20],
                    field="",
                    reason=f"{item.fault}; {kept}",
                )


def _config_map(namespace: str, url: str, text: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(namespace=namespace, name=fetched_name(url)), data={_FILE: text})
