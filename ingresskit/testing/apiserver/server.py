"""The embedded API server.

Three layers, each of which knows nothing of those above it: `Store` (objects and their history), `Api`
(a request in, a response or a watch out), and this one (connections, faults, time).
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypedDict, Unpack

import anyio
import anyio.abc
import anyio.from_thread

from ingresskit.testing.apiserver.api import Api
from ingresskit.testing.apiserver.auth import ALLOW_ALL, Rule, Users
from ingresskit.testing.apiserver.builtin import BUILTIN, LEGACY
from ingresskit.testing.apiserver.certificates import Authority, KeyPair
from ingresskit.testing.apiserver.exchange import Exchanges
from ingresskit.testing.apiserver.faults import Faults
from ingresskit.testing.apiserver.hub import Hub
from ingresskit.testing.apiserver.kubeconfig import write_kubeconfig
from ingresskit.testing.apiserver.listening import Listening, server_context
from ingresskit.testing.apiserver.log import RequestLog
from ingresskit.testing.apiserver.objects import ObjectAccess
from ingresskit.testing.apiserver.registry import Registry, Resource
from ingresskit.testing.apiserver.store import Store

__all__ = ["ApiServer", "ApiServerOptions"]

_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


class ApiServerOptions(TypedDict, total=False):
    """The arguments of `ApiServer`, for `ApiServer.in_thread`."""

    resources: Iterable[Resource]
    legacy: bool
    tls: bool
    finalize_namespaces: bool
    git_version: str
    watch_list: bool
    bookmark_seconds: float
    expired_watch: Literal["event", "status"]
    history_limit: int


class ApiServer(ObjectAccess):
    """A Kubernetes API server inside your process, for tests.

    It listens on loopback, on a port of its own, and speaks what clients speak: discovery, lists with
    ``limit`` and ``continue``, watches with bookmarks, resource versions with compaction, every kind of
    patch, server-side apply, subresources, tables for kubectl, tokens and rules. What it answers is held, in
    its own tests, to what a kube-apiserver of Kubernetes 1.36 answered; only its prose is its own.

        async with ApiServer() as server:                     # in the loop you are in
            ...
        with ApiServer.in_thread() as server:                 # in a thread, for code that blocks
            server.kubeconfig(path)

    Besides, a test may read and write objects directly (`create`, `put`, `delete`, …), let things go
    wrong (`faults`, `pause`, `refuse_connections`, `restore`, …) and look at what was asked
    (`requests`). All of that may be done from any thread. One that was stopped may be started again: it
    keeps its objects and its port.

    It is no cluster: nothing runs Pods, makes EndpointSlices of Services, or collects what lost its
    owner. Over HTTP it checks fields and their types as the real one does (of Pods and Nodes it does not).
    What the test itself writes is let through: unknown fields, wrong types and endpoints on loopback are
    what controllers are tested with. It answers in JSON; it reads YAML and protobuf too, as kubectl sends it.

    Args:
        resources: Further resources, kept as they are written.
        legacy: Whether Ingress is also served as ``networking.k8s.io/v1beta1`` and ``extensions/v1beta1``.
        tls: Whether to speak HTTPS, by a certificate of an authority of its own, see `ca`.
        finalize_namespaces: Whether a namespace that is deleted is emptied and goes, as in a cluster;
            without it, it stays Terminating, as on a lone API server.
        git_version: The version it says it has.
        watch_list: Whether ``sendInitialEvents`` is understood.
        bookmark_seconds: Between two bookmarks on a watch that takes them. Positive.
        expired_watch: How a watch from a version that is gone is refused: by an ERROR event, as the real
            server mostly does, or by the HTTP status 410.
        history_limit: How many changes of each resource are remembered.

    Attributes:
        requests: What was asked, see `RequestLog`.
        faults: What goes wrong, see `Faults`.
        users: Who may do what, see `Users`.
        token: A token with which everything is allowed.
    """

    def __init__(
        self,
        *,
        resources: Iterable[Resource] = (),
        legacy: bool = False,
        tls: bool = False,
        finalize_namespaces: bool = True,
        git_version: str = "v1.36.3",
        watch_list: bool = True,
        bookmark_seconds: float = 60.0,
        expired_watch: Literal["event", "status"] = "event",
        history_limit: int = 100_000,
    ) -> None:
        registry = Registry([*BUILTIN, *(LEGACY if legacy else ()), *resources])
        store = Store(history_limit=history_limit)
        self.users: Users = Users()
        api = Api(
            store,
            registry,
            self.users,
            finalize_namespaces=finalize_namespaces,
            git_version=git_version,
            watch_list=watch_list,
        )
        super().__init__(store, registry, api.writes, api.deletes)
        self.requests: RequestLog = RequestLog()
        self.faults: Faults = Faults(self._changed)
        self.token: str = self.users.token_for("test-admin", ALLOW_ALL)
        self._authority = Authority(f"ingresskit test authority {secrets.token_hex(4)}") if tls else None
        self._listening = Listening(server_context(self._authority) if self._authority else None)
        self._exchanges = Exchanges(
            api, self.users, self.faults, self.requests,
            bookmark_seconds=bookmark_seconds, expired_watch=expired_watch,
        )  # fmt: skip
        self._hub: Hub | None = None
        self._stack: contextlib.AsyncExitStack | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        for name in _NAMESPACES:
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    @classmethod
    @contextlib.contextmanager
    def in_thread(cls, **options: Unpack[ApiServerOptions]) -> Generator[Self]:
        """A server in a thread with an event loop of its own, running for as long as the ``with`` block.

        Args:
            options: The arguments of `ApiServer`.
        """
        server = cls(**options)
        with server.running_in_thread():
            yield server

    @contextlib.contextmanager
    def running_in_thread(self) -> Generator[None]:
        """Run this server in a thread for as long as the ``with`` block, to start it again, say."""
        with anyio.from_thread.start_blocking_portal() as portal, portal.wrap_async_context_manager(self):
            yield

    async def __aenter__(self) -> Self:
        """Start it; connections are accepted when this returns.

        Raises:
            OSError: It ran before, and its port was taken meanwhile.
            RuntimeError: It is running already.
        """
        if self._hub is not None:
            raise RuntimeError("this server is running already")
        async with contextlib.AsyncExitStack() as stack:
            portal = await stack.enter_async_context(anyio.from_thread.BlockingPortal())
            self._hub = Hub(portal)
            stack.callback(self._forget_hub)
            self._exchanges.hub = self._hub
            self._store.listen(self._changed)
            stack.callback(self._store.unlisten, self._changed)
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            await self._tasks.start(self._hub.run)
            await self._tasks.start(self._listening.run, self._exchanges.serve)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it: all connections are closed."""
        stack, self._stack = self._stack, None
        if self._tasks is not None and stack is not None:
            self._tasks.cancel_scope.cancel()
            await stack.__aexit__(kind, error, trace)

    def _forget_hub(self) -> None:
        self._hub = None

    def _changed(self) -> None:
        hub = self._hub
        if hub is not None:
            hub.notify()

    def _running(self) -> Hub:
        if self._hub is None:
            raise RuntimeError("this server is not running")
        return self._hub

    @property
    def url(self) -> str:
        """Where it listens, ``"http://127.0.0.1:40123"``. Only for a server that has been started."""
        return f"{'https' if self._authority else 'http'}://127.0.0.1:{self._listening.port}"

    @property
    def ca(self) -> bytes:
        """The PEM of its authority; empty without TLS."""
        return self._authority.pem if self._authority else b""

    def token_for(self, user: str, rules: Sequence[Rule]) -> str:
        """A new token of *user*, who may do exactly what *rules* say from now on."""
        return self.users.token_for(user, rules)

    def kubeconfig(self, path: Path, *, token: str | None = None) -> Path:
        """Write a kubeconfig to *path*, for *token* or the administrator, and return its path.

        For kubectl the server must speak TLS: clients in Go send no token over plain HTTP.
        """
        return write_kubeconfig(path, url=self.url, ca=self.ca, token=token or self.token)

    def client_certificate(self, user: str) -> KeyPair:
        """A certificate by which clients are *user*, whose rules are set by ``users.set_rules``.

        Raises:
            RuntimeError: The server speaks no TLS.
        """
        if self._authority is None:
            raise RuntimeError("client certificates need a server with tls=True")
        return self._authority.client(user)

    def rotate_authority(self) -> bytes:
        """Take a new authority and a new certificate for connections from now on; returns the new `ca`.

        Raises:
            RuntimeError: The server speaks no TLS.
        """
        if self._authority is None:
            raise RuntimeError("only a server with tls=True has an authority")
        self._authority = Authority(f"ingresskit test authority {secrets.token_hex(4)}")
        self._listening.context = server_context(self._authority)
        return self._authority.pem

    def compact(self, revision: int | None = None) -> int:
        """Forget the history up to *revision* (default: all), and return the oldest revision left.

        Lists at older versions, and continue tokens, get 410 from now on; so do watches that start
        before it. Open watches go on.
        """
        return self._store.compact(revision)

    def restore(self, revision: int) -> None:
        """Go back to the state at *revision*, as after restoring a backup of etcd. Nobody is told.

        Raises:
            Compacted: The history does not reach back to it.
            ValueError: It lies in the future.
        """
        self._store.restore(revision)

    def advance(self, count: int = 1) -> int:
        """Let *count* revisions pass, as when other resources change, and return the new one."""
        return self._store.advance(count)

    def set_watch_list(self, *, understood: bool) -> None:
        """Understand ``sendInitialEvents``, or refuse it with 422, as servers before 1.32 do."""
        self._exchanges.api.watch_list = understood

    def refuse_connections(self, *, drop: bool = True) -> None:
        """Refuse new connections from now on; with *drop* also close those there are.

        In the thread of the server it takes effect at the next ``await``.
        """
        self._listening.accept(False, self._running())
        if drop:
            self.drop_connections()

    def accept_connections(self) -> None:
        """Accept connections again, on the same port."""
        self._listening.accept(True, self._running())

    def drop_connections(self, *, reset: bool = False) -> None:
        """Close all connections at once, by TCP resets if *reset*."""
        self._running().call(lambda: self._exchanges.drop(reset=reset))

    def pause(self) -> None:
        """Stand still, as a stopped process does: connections stay open, and nothing is read or sent."""
        self._running().call(lambda: self._exchanges.pause(True))

    def resume(self) -> None:
        """Go on."""
        self._running().call(lambda: self._exchanges.pause(False))
