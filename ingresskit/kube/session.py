"""One pool of connections to one API server, made of the Kubernetes client's asynchronous parts.

Of that client only the pool is used: its generated classes and its deserialisers are never touched, for
they cost tens of megabytes and an eight-fold of time on each object. What it leaves open is closed here:
TCP keepalive, host and proxy rules, the five-minute limit it puts on everything.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

import anyio

from ingresskit.errors import CredentialsError
from ingresskit.kube.credentials import Access, TrustMaterial, authorities_text
from ingresskit.kube.proxies import Proxy, proxy_for
from ingresskit.kube.redaction import without_user

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Session"]

# A peer that has gone without a word is given up after 20 s and three probes, 10 s each, of silence.
_KEEPALIVE = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
# …and so is one that does not acknowledge what was sent to it.
_USER_TIMEOUT_MS = 30_000
# aiohttp's default is 8,190; proxies in between set large cookies and policies.
_MAX_HEADER_BYTES = 256 * 1024
# How long a server may take to agree to the end of a TLS connection before it is cut: asyncio waits 30 s.
_GOODBYE_SECONDS = 0.5


class Session:
    """A pool of connections; kept open until the last stream that uses it is done."""

    def __init__(self, access: Access) -> None:
        """Open no connection yet.

        Raises:
            CredentialsError: The certificates or keys cannot be read, or the proxy is of another kind.
        """
        self.trust: TrustMaterial = access.trust
        self.server: str = access.server
        self.proxy: Proxy | None = proxy_for(access)
        self._users = 0
        self._retired = False
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self.client: aiohttp.ClientSession = _open(access, self._connected)  # last: it has to be closed

    def take(self) -> None:
        """Count a user."""
        self._users += 1

    async def give_back(self) -> None:
        """A user is done; the last one of a retired pool closes it."""
        self._users -= 1
        if self._retired and not self._users:
            await self.close()

    async def retire(self) -> None:
        """Close the pool once it has no users."""
        self._retired = True
        if not self._users:
            await self.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called, by the last user of a retired pool or by the owner of all pools."""
        return self.client.closed

    async def close(self) -> None:
        """End every connection, and return when their sockets are closed.

        aiohttp returns earlier: it forgets a connection as soon as it has begun to close it, and the end of a
        TLS connection then still takes steps of the event loop, or as long as the server likes.
        """
        await self.client.close()
        with anyio.move_on_after(_GOODBYE_SECONDS):
            await self._wait_sockets_closed()
            return
        for connection in list(self._sockets):
            if connection.fileno() != -1:
                with suppress(OSError):  # the server was quicker
                    connection.shutdown(socket.SHUT_RDWR)
        with anyio.move_on_after(_GOODBYE_SECONDS):
            await self._wait_sockets_closed()

    async def _wait_sockets_closed(self) -> None:
        # Neither aiohttp nor asyncio tell when the transport of a connection that they gave up is closed.
        while any(connection.fileno() != -1 for connection in list(self._sockets)):  # noqa: ASYNC110
            await anyio.sleep(0.001)

    def _connected(self, address: tuple[Any, ...]) -> socket.socket:
        made = _socket(address)
        self._sockets.add(made)
        return made


def load_client() -> None:
    """Import what a session needs: half a second and 20 MB, so not on the event loop."""
    import_module("kubernetes.aio.client.configuration")
    import_module("kubernetes.aio.client.rest")


def _open(access: Access, connect: Callable[[tuple[Any, ...]], socket.socket]) -> aiohttp.ClientSession:
    import aiohttp
    from kubernetes.aio.client.configuration import Configuration
    from kubernetes.aio.client.rest import RESTClientObject

    trust = access.trust
    configuration = cast("Any", Configuration(host=access.server))
    configuration.verify_ssl = not trust.insecure
    # Python 3.13 refuses authorities that lack extensions which Go does not ask for, and which the
    # authorities of many clusters do not have.
    configuration.disable_strict_ssl_verification = True
    # The environment's proxies are applied by `_proxy`; `trust_env` would also read ~/.netrc, and send
    # what it finds there to the cluster.
    configuration.client_session_kwargs = {
        "trust_env": False,
        "auto_decompress": True,
        "timeout": aiohttp.ClientTimeout(total=None),
        "max_line_size": _MAX_HEADER_BYTES,
        "max_field_size": _MAX_HEADER_BYTES,
    }
    try:
        configuration.ca_cert_data = authorities_text(trust.authorities)
        with _key_pair(trust) as (configuration.cert_file, configuration.key_file):
            rest = cast("Any", RESTClientObject)(configuration)
    except (ValueError, OSError) as exc:  # ssl.SSLError is an OSError
        server = without_user(access.server)
        raise CredentialsError(f"the certificates for {server} cannot be used: {exc}") from exc

    def connector() -> aiohttp.TCPConnector:
        # No limit: every watch holds a connection, and one that waits for a free one is silent for ever.
        return aiohttp.TCPConnector(limit=0, ssl=rest.ssl_context, socket_factory=connect)

    rest._create_connector = connector  # noqa: SLF001 - the hook it offers for this
    return cast("aiohttp.ClientSession", rest._create_pool_manager())  # noqa: SLF001 - as above


def _check_key_pair(certificate: str, key: str) -> None:
    """Load the pair where a pass phrase can be refused: the client would let OpenSSL ask the terminal for it.

    Raises:
        ValueError: The key is encrypted.
        OSError: It cannot be read, or is not the certificate's.
    """
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=_refuse_password)


def _refuse_password() -> str:
    raise ValueError("the client key is encrypted, and only one that is not can be used")


def _socket(address: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (*_KEEPALIVE, ("TCP_USER_TIMEOUT", _USER_TIMEOUT_MS)):
        if hasattr(socket, name):  # not every system has all of them
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


@contextmanager
def _key_pair(trust: TrustMaterial) -> Generator[tuple[str | None, str | None], None, None]:
    """Paths from which the key pair can be read: `ssl` takes nothing else. Gone when the context ends."""
    if not trust.certificate:
        yield None, None
        return
    with tempfile.TemporaryDirectory(prefix="ingresskit-") as directory:  # only its owner can enter
        certificate, key = Path(directory, "tls.crt"), Path(directory, "tls.key")
        certificate.write_bytes(trust.certificate)
        key.write_bytes(trust.key)
        _check_key_pair(str(certificate), str(key))
        yield str(certificate), str(key)
