"""Copies of requests: gathered while a request passes, and sent beside it.

Nothing of the request waits for its copy. How many copies are under way is bounded, and so is the body of each;
a request beyond that has none, and the log has the reason once in a minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingresskit.graph import Protocol
from ingresskit.policies import MirrorUrl
from ingresskit.proxy.exchange.copies import Copy

if TYPE_CHECKING:
    from ingresskit.policies import Mirror
    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.message.request import ForwardedRequest
    from ingresskit.proxy.upstreams.balance import BackendState

__all__ = ["GatheredCopy"]

_LONGEST_BODY: Final = 65536
_LONGEST: Final = 60.0


class GatheredCopy:
    """The copy of one request, while that is received.

    Args:
        runtime: Whose copies.
        request: The request, as it is forwarded.
        policy: Where its copy goes.
        state: The backend that gets it, where that is a Service.

    Attributes:
        size: Octets of the body that are kept.
    """

    __slots__ = ("_over", "_pieces", "_policy", "_request", "_runtime", "_state", "size")

    def __init__(
        self, runtime: Runtime, request: ForwardedRequest, policy: Mirror, state: BackendState | None
    ) -> None:
        self._runtime = runtime
        self._request = request
        self._policy = policy
        self._state = state
        self._pieces: list[bytes] = []
        self.size: int = 0
        head = request.head
        self._over = bool(head.upgrade) or (policy.body and (head.length or 0) > _LONGEST_BODY)
        if self._over and not head.upgrade:
            self._missed("a body is too large")

    def take(self, payload: bytes, *, complete: bool) -> None:
        """More of the body; with the last of it, the copy is sent."""
        if self._over:
            return
        if payload and self._policy.body:
            self.size += len(payload)
            if self.size > _LONGEST_BODY:
                self._missed("a body is too large")
                self.drop()
                return
            self._pieces.append(payload)
        if complete:
            if (copy := self._made()) is not None:
                self._runtime.copies.start(copy, self._request.target.host)
            self.drop()

    def drop(self) -> None:
        """There is no copy (any more)."""
        self._over = True
        self._pieces.clear()
        self.size = 0

    def _missed(self, why: str) -> None:
        self._runtime.copies.missed(self._request.target.host, why)

    def _made(self) -> Copy | None:
        request, policy, target = self._request, self._policy, self._policy.target
        timeout = request.target.read_timeout or self._runtime.timeouts.read
        lines = b"".join(request.field_lines())
        body = b"".join(self._pieces)
        method = request.head.method
        if isinstance(target, MirrorUrl):
            name, _, port = (
                target.authority.rpartition(":")
                if ":" in _behind(target.authority)
                else (
                    target.authority,
                    "",
                    "443" if target.secure else "80",
                )
            )
            path = target.path if target.whole else f"{target.path.rstrip('/')}{request.path}"
            return Copy(
                address=name.strip("[]"),
                port=int(port),
                server_name=name.strip("[]") if target.secure else None,
                method=method,
                target=path.encode("ascii") + request.query,
                host=(policy.host or target.authority).encode("ascii"),
                lines=lines,
                body=body,
                timeout=min(timeout, _LONGEST),
            )
        client = str(request.forwarding.client)
        endpoint = (
            None if self._state is None else self._state.choose(client, (), self._runtime.deadlines.recent)
        )
        if endpoint is None:
            self._missed("no endpoint is available")
            return None
        if endpoint.protocol.is_http2:
            self._missed("the endpoint speaks HTTP/2, and copies are sent over HTTP/1.1")
            return None
        secure = endpoint.protocol is Protocol.HTTPS
        return Copy(
            address=endpoint.address,
            port=endpoint.port,
            server_name=request.server_name or endpoint.address if secure else None,
            verified=False,  # as of all endpoints by default
            judged=True,
            method=method,
            target=request.sent_path.encode("ascii") + request.sent_query,
            host=policy.host.encode("ascii") or request.wire_host,
            lines=lines,
            body=body,
            timeout=min(timeout, _LONGEST),
        )


def _behind(authority: str) -> str:
    """What stands behind the address of an authority, where a colon begins a port."""
    return authority.rpartition("]")[2]
