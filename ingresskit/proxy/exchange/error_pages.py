"""An exchange whose errors get the pages of another backend.

A response with one of the statuses of the route is let go of unread, and the backend that makes pages is
asked for one, in the same exchange: with a request of its own, its own tries, and the same time-outs. What it
sends goes to the client with the status of the error. So does, without a response, an error of the proxy
which means that no endpoint responded. Nothing of the client's request goes to that backend but what a page
depends on.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from ingresskit.graph import Forward, Termination
from ingresskit.proxy.deadlines import NEVER
from ingresskit.proxy.exchange.observed import ObservedExchange
from ingresskit.proxy.message.fields import join_fields
from ingresskit.proxy.message.head import RequestHead
from ingresskit.proxy.message.hosts import RequestedHost
from ingresskit.proxy.message.request import ForwardedRequest
from ingresskit.proxy.message.views import value_in
from ingresskit.proxy.ports.streams import NO_UPSTREAM, UPSTREAM_WRITE_PAUSED

if TYPE_CHECKING:
    from ingresskit.graph import BackendKey
    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.message.head import ResponseHead
    from ingresskit.proxy.ports.streams import Downstream, Upstream
    from ingresskit.proxy.upstreams.balance import BackendState

__all__ = ["PageExchange"]

# Errors of the proxy that speak of endpoints. All others, such as a refused body, have no page.
_OWN: Final = frozenset({502, 503, 504})
# What of the client's request a page may depend on: never cookies or credentials.
_PASSED: Final = (b"Accept", b"Accept-Language", b"User-Agent")


class PageExchange(ObservedExchange):
    """An exchange of a route with `Target.errors`."""

    __slots__ = ("_cause", "_challenge", "_only_page", "_page", "_page_status", "_pages")

    def __init__(
        self,
        runtime: Runtime,
        downstream: Downstream,
        request: ForwardedRequest,
        state: BackendState | None,
        began: float,
        pages: BackendState | None,
    ) -> None:
        first = state or pages
        assert first is not None  # noqa: S101 - one of them takes the request
        super().__init__(runtime, downstream, request, first, began)
        self._pages = pages
        self._only_page = state is None
        self._page: ForwardedRequest | None = None
        self._page_status = 0
        # Why the proxy itself failed, and how an endpoint wants to be authenticated to.
        self._cause: tuple[Termination | None, str] = None, ""
        self._challenge = b""

    @override
    def start(self, payload: bytes, *, complete: bool) -> None:
        if not self._only_page:
            super().start(payload, complete=complete)
            return
        self.request_complete: bool = complete
        self._fail(503, Termination.NO_ENDPOINT)

    @override
    def request_data(self, payload: bytes, *, complete: bool, trailers: bytes = b"") -> None:
        if self._page is None:
            super().request_data(payload, complete=complete, trailers=trailers)
        elif not self._finished:
            self.request_complete = complete

    @override
    def interim_response(self, head: ResponseHead) -> None:
        if self._page is None:
            super().interim_response(head)

    @override
    def switch_protocols(self, head: ResponseHead, data: bytes) -> None:
        if self._page is None:
            super().switch_protocols(head, data)
        else:
            self.response_broken("switch to a protocol that was not asked for")

    @override
    def response(self, head: ResponseHead, payload: bytes, *, complete: bool) -> None:
        if self._page is None:
            if self._gets_page(head.status) and not head.connection_auth:
                self._observe_once(head.status)
                self._challenge = _challenge(head) if head.status == 401 else b""
                self._let_go(reusable=complete and self.request_complete)
                self._ask_for_page(head.status)
                return
        elif head.status in _OWN and head.status != self._page_status:
            self.response_broken("no page, but an error of its own")
            return
        else:
            self._observe_once(head.status)
            head = head.copy()
            head.status, head.reason = self._page_status, _reason(self._page_status)
            head.fields += self._challenge
        super().response(head, payload, complete=complete)

    @override
    def _send(self, upstream: Upstream) -> None:
        if self._page is None:
            super()._send(upstream)
            return
        self._upstream = upstream
        timeout = self._read_timeout
        if self._downstream.write_paused:
            upstream.pause_reading()
            timeout = NEVER
        upstream.send_request(self, self._page, (), last=True, timeout=timeout)

    @override
    def _fail(self, status: int, termination: Termination, detail: str = "", *, sentence: str = "") -> None:
        if self._finished or self.response_started:
            super()._fail(status, termination, detail, sentence=sentence)
        elif self._page is not None:
            # The error itself, if the client is not to blame meanwhile.
            super()._fail(
                self._page_status if status in _OWN else status, termination, detail, sentence=sentence
            )
        elif status in _OWN and self._gets_page(status):
            self._cause = (termination, detail)
            self._drop_upstream()
            self._ask_for_page(status)
        else:
            super()._fail(status, termination, detail, sentence=sentence)

    @override
    def _end(self, status: int, termination: Termination | None = None, detail: str = "") -> None:
        if termination is None:
            termination, detail = self._cause
        super()._end(status, termination, detail)

    def _gets_page(self, status: int) -> bool:
        pages = self._pages
        return pages is not None and status in self._request.target.errors and bool(pages.endpoints)

    def _let_go(self, *, reusable: bool) -> None:
        """The rest of the endpoint's response is for nobody."""
        upstream, self._upstream = self._upstream, None
        if (endpoint := self._endpoint) is not None and endpoint.trouble is not None:
            self._attempt_succeeded(endpoint)
        if upstream is not None:
            upstream.release(reusable=reusable and not self._request.head.connection_auth)

    def _ask_for_page(self, status: int) -> None:
        pages, request = self._pages, self._request
        assert pages is not None  # noqa: S101 - see _gets_page
        # In the name of the backend that the route forwards to, or would.
        backend = self._state.backend.key
        if self._only_page and isinstance(action := request.target.route.action, Forward):
            backend = action.backends[0].key
        self._page = _page_request(request, status, backend)
        self._page_status = status
        self._discard_body()
        self._release_endpoint()
        self._state = pages
        if not self._only_page:
            pages.requests += 1
        pages.active += 1
        self._tried = ()
        self._retries_left = self._request.target.retries
        self._stale_retries = 1
        # A page is asked for by GET, and without a body.
        self._repeatable = True
        self._body_discarded = False
        self._downstream.resume_reading(NO_UPSTREAM | UPSTREAM_WRITE_PAUSED)
        self._try()


def _page_request(request: ForwardedRequest, status: int, backend: BackendKey) -> ForwardedRequest:
    subject = request.target.route.origin.subject.key
    asked = [(name, value) for name in _PASSED if (value := value_in(request.head.fields, name.lower()))]
    uri = (
        request.head.target
        if request.head.target.startswith(b"/")
        else request.path.encode("ascii") + request.query
    )
    asked += [
        (b"X-Code", b"%d" % status),
        (b"X-Format", value_in(request.head.fields, b"accept") or b""),
        (b"X-Original-URI", uri),
        (b"X-Namespace", subject.namespace.encode("ascii")),
        (b"X-Ingress-Name", subject.name.encode("ascii")),
        (b"X-Service-Name", backend.service.encode("ascii")),
        (b"X-Service-Port", b"%d" % backend.port),
    ]
    method = b"HEAD" if request.head.method == b"HEAD" else b"GET"
    head = RequestHead(method, b"/", False, join_fields(asked))
    head.request_id = request.request_id
    host = RequestedHost(request.head.host)
    page = ForwardedRequest(head, host, request.path, request.query, request.target, request.forwarding, None)
    # For ``/`` with the query of the client, in the name of the host that the client asked for.
    page.sent_path = "/"
    page.wire_host = host.wire
    return page


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


def _challenge(head: ResponseHead) -> bytes:
    """The field by which a client learns how to authenticate: no page replaces it."""
    value = value_in(head.fields, b"www-authenticate")
    return join_fields([(b"WWW-Authenticate", value)]) if value else b""
