"""What a filter is: the effect of one policy on a request, as a frozen value without I/O.

A filter is compiled once per policy set, when a table is made, and then asked for each request. It holds
data only, so that it can be pushed to worker processes. What outlives a request (the counts of a rate
limit) belongs to the runtime and is reached through `Memory`. A filter that must ask somebody else returns
a `Subrequest`; the runtime sends it and gives the response to `Resuming.resume`. One that must compute for
long returns a `Verification`, and the result comes to `Verifying.verified`.

What a policy does to header fields and paths alone is no filter but an edit, merged with those of the other
policies when the table is made.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar, Final, Protocol, runtime_checkable

from ingresskit.filters.edits import UNCHANGED, HeaderEdit
from ingresskit.graph import Termination
from ingresskit.policies import Authorities, ClientCertificates, Stage

__all__ = [
    "Admitted",
    "ClientCertificate",
    "Filter",
    "Handshake",
    "Keepalive",
    "Memory",
    "Question",
    "Reply",
    "RequestView",
    "ResponseFilter",
    "ResponseView",
    "Resuming",
    "Subrequest",
    "SubrequestReply",
    "Verdict",
    "VerdictKey",
    "Verification",
    "Verifying",
]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_OF_THE_SYSTEM: Final = Authorities()
Fields = tuple[tuple[bytes, bytes], ...]
Bucket = tuple[tuple[object, ...], float, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """A certificate that a client showed and that was verified.

    Attributes:
        subject: Its distinguished name, RFC 2253, in printable ASCII.
        issuer: That of its issuer.
        common_name: The last one of the subject; empty without one.
        escaped: PEM, escaped as in URLs.
        depth: How many certificates stand between it and that of the CA.
    """

    subject: str
    issuer: str
    common_name: str
    escaped: str = field(repr=False)
    depth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """The TLS handshake of a connection, as far as it says who the client is.

    Attributes:
        rule_host: The rule host that its server name belonged to; ``None``: to none.
        asked: What that host asked of certificates.
        certificate: The one that the client showed; ``None``: none.
    """

    rule_host: str | None = None
    asked: ClientCertificates | None = None
    certificate: ClientCertificate | None = None


class RequestView(Protocol):
    """What filters may know of a request. Reading it changes nothing."""

    @property
    def method(self) -> bytes:
        """As sent."""
        ...

    @property
    def host(self) -> str:
        """In normal form, without the port."""
        ...

    @property
    def path(self) -> str:
        """In normal form, as it was matched."""
        ...

    @property
    def query(self) -> bytes:
        """As sent, with the question mark; empty without one."""
        ...

    @property
    def client(self) -> Address:
        """The client behind trusted proxies; an IPv4 address mapped into IPv6 is the IPv4 address."""
        ...

    @property
    def https(self) -> bool:
        """Whether the client used TLS, as far as trusted proxies say."""
        ...

    @property
    def handshake(self) -> Handshake | None:
        """The TLS handshake of the connection to this proxy; ``None`` without TLS on it."""
        ...

    @property
    def length(self) -> int | None:
        """Octets of the body; ``None`` when that is not known before it is read."""
        ...

    @property
    def secure_location(self) -> str | None:
        """The URL of the same request over TLS; ``None`` where TLS is not served."""
        ...

    def field(self, name: bytes) -> bytes | None:
        """The value of a header field; several are joined by commas; ``None`` without one.

        Args:
            name: In lower case.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A response of the proxy itself.

    Attributes:
        status: 300 to 599, or 200 and 204 for a preflight.
        location: Of a redirect; empty otherwise.
        fields: Further header fields, names and values as sent.
        termination: Why, for log and metrics; ``None`` for redirects and preflights.
        detail: What exactly, for the log: a clause in fixed words; may be empty.
    """

    status: int
    location: str = ""
    fields: Fields = ()
    termination: Termination | None = Termination.DENIED
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """Connections to a server that are kept for further subrequests.

    Attributes:
        connections: How many may be idle at a time; 0: none is kept.
        requests: How many one of them carries.
        timeout: How long one may be idle.
    """

    connections: int = 0
    requests: int = 1000
    timeout: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictKey:
    """Under what the reply to a subrequest is kept. It never leaves the route whose filter asked.

    Attributes:
        parts: What the reply depends on. No part is joined with another one.
        times: For how long, by the status of the reply; with no other status it is kept.
    """

    parts: tuple[str, ...] = field(repr=False)
    times: tuple[tuple[int, timedelta], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subrequest:
    """A request to another server whose response decides whether this one goes on.

    Attributes:
        url: Absolute.
        fields: All header fields but those of framing and ``Host``.
        host: What is sent as ``Host``; empty: the authority of *url*.
        passes: The header fields of the request that waits are sent too, less those of *drop*, and its
            ``X-Request-ID``, which the endpoint gets as well.
        drop: Names, in any spelling, as `HeaderEdit.drop` has them.
        keepalive: The connections that are kept.
        trusted: Who must have signed the certificate of an https server; without certificates: an authority
            of the system.
        kept: Under what the reply is kept; ``None``: it is not.
        timeout: For the whole of it.
        then: Who gets the response; ``None``: the filter that asked.
    """

    url: str
    method: bytes = b"GET"
    fields: Fields = ()
    host: str = ""
    passes: bool = False
    drop: frozenset[bytes] = frozenset()
    keepalive: Keepalive = Keepalive()
    trusted: Authorities = _OF_THE_SYSTEM
    kept: VerdictKey | None = None
    timeout: timedelta = timedelta(seconds=5)
    then: Resuming | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubrequestReply:
    """What came of a `Subrequest`.

    Attributes:
        status: 0 when there was no response: refused, too late, malformed.
        fields: Its header fields in order, names in lower case; several of one name are not joined.
    """

    status: int
    fields: Fields = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether a secret of the client is right, where finding out would hold up all other requests.

    The runtime calls *function* in a thread, bounds how many wait for one, and remembers under a keyed digest
    what was right. Where too many wait, the request gets 503.

    Attributes:
        function: Given *stored* and *given*; pure, safe in any thread, and defined at the top of a module.
        stored: What the route knows, such as the hash of a password.
        given: What the client sent.
        quick: It takes a millisecond rather than a second, so that many may wait.
        then: Who gets the result; ``None``: the filter that asked.
    """

    function: Callable[[str, bytes], bool]
    stored: str = field(repr=False)
    given: bytes = field(repr=False)
    quick: bool = False
    then: Verifying | None = field(default=None, repr=False, compare=False)


Question = Subrequest | Verification
"""What a filter waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The request goes on, with changes on both ways.

    Attributes:
        request: Of its header fields.
        response: Of those of the endpoint's response; ``None``: none.
    """

    request: HeaderEdit = UNCHANGED
    response: ResponseFilter | None = None


Verdict = HeaderEdit | Admitted | None
"""That a request goes on."""


class Memory(Protocol):
    """State that outlives a request. The runtime owns it, bounds it and gives it a clock."""

    @property
    def now(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    @property
    def unix_time(self) -> float:
        """Seconds since 1970, as the machine has them: for what others dated.

        Not a number where there is no clock, as in `decide`: compare so that a request goes on then.
        """
        ...

    def draw(self, bits: int) -> int:
        """A random number of so many bits, which nobody need be unable to guess."""
        ...

    def take(self, key: tuple[object, ...], rate: float, burst: int) -> bool:
        """Take one token of a bucket that refills with *rate* tokens a second and holds *burst* at most.

        Returns:
            Whether there was one.
        """
        ...

    def take_all(self, buckets: Sequence[Bucket]) -> bool:
        """Take one token of each bucket, or of none where one of them is empty.

        Args:
            buckets: The arguments of `take`, for each.

        Returns:
            Whether there was one in each.
        """
        ...

    def hold(self, key: tuple[object, ...], most: int) -> bool:
        """Hold one of *most* places until the request is over: its response, or its tunnel, has ended.

        Returns:
            Whether there was a place.
        """
        ...


class Filter(Protocol):
    """The effect of one policy on a request. A frozen value that can be pickled."""

    stage: ClassVar[Stage]

    def request(self, request: RequestView, memory: Memory) -> Reply | Question | Verdict:
        """What the proxy responds instead of going on; ``None`` lets the request go on.

        A `HeaderEdit` lets it go on with other header fields, `Admitted` changes the response too. A filter
        that raises is a fault of its own: the runtime responds 500.
        """
        ...


@runtime_checkable
class Resuming(Protocol):
    """A filter that returns `Subrequest`."""

    def resume(self, request: RequestView, reply: SubrequestReply) -> Reply | Question | Verdict:
        """As `Filter.request`, once the subrequest is over."""
        ...


@runtime_checkable
class Verifying(Protocol):
    """A filter that returns `Verification`."""

    def verified(self, request: RequestView, right: bool, /) -> Reply | Question | Verdict:
        """As `Filter.request`, once it is known whether the secret was *right*."""
        ...


class ResponseView(Protocol):
    """What filters may know of an endpoint's response."""

    @property
    def status(self) -> int:
        """200 to 599."""
        ...

    def field(self, name: bytes) -> bytes | None:
        """As `RequestView.field`."""
        ...

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """The value of each header field of that name, in order: of ``Set-Cookie``, which cannot be joined."""
        ...


class ResponseFilter(Protocol):
    """What a policy does to an endpoint's responses, where that depends on the request. Can be pickled."""

    def response(self, request: RequestView, response: ResponseView) -> HeaderEdit:
        """The changes of the header fields of *response*; `UNCHANGED` for none.

        Args:
            request: As the client sent it; its `RequestView.secure_location` is ``None``.
            response: As the endpoint sent it.
        """
        ...
