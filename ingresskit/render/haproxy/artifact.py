"""The artifact of the HAProxy renderer: everything the proxy serves, as data beside a fixed program.

The program, ``haproxy.cfg``, knows no tenant. What it does with a request it looks up in maps, and
which server takes it stands in a backend that was empty when the program was loaded. So the artifact
comes in planes, and each of them changes in a running HAProxy:

- **blocks**: map rows that come and go together. A block's id is a digest of its rows and begins every
  key in it, so a block never changes: another content is another block, and both may be there at once.
- **pointers**: the few rows that say which block counts: which table a host has, which layout a split.
  One such row is replaced in one step, which puts everything that stands behind it live at once.
- **backends** with their servers, each to be put into a slot (an empty backend of its class).
- **certificates**, by Secret, and which of them is for which server names.

Whoever puts an artifact live adds servers, certificates and blocks first, sets the pointers then, and
takes what nothing refers to any more away last: at every moment each request finds all it needs.

What HAProxy can only learn from its file is in `Needs`: a program that has all of it serves the
artifact, and one that lacks some has to be loaded anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from ingresskit.graph import DEFAULT_PATHS, BackendKey, PathOptions, Protocol
from ingresskit.models import ObjectKey
from ingresskit.policies import Algorithm, Order, Origin
from ingresskit.render.haproxy.quoting import map_line

__all__ = [
    "ALGORITHMS",
    "Asked",
    "Block",
    "Bundle",
    "HandshakeLine",
    "Handshakes",
    "HaproxyArtifact",
    "Identity",
    "MapName",
    "MapRow",
    "Needs",
    "Pointer",
    "Server",
    "ServerNames",
    "ServerTls",
    "SlotBackend",
    "SlotClass",
    "identity_path",
    "pattern_id",
]


class MapName(StrEnum):
    """The maps of the program. Each is the file ``maps/<value>.map``, and is known by that name at runtime.

    `HOSTS`, `STREAMS` and `SPLITS` hold pointers, `SLOTS` is the applier's own (backend id to the name of its
    slot), all others hold the rows of blocks.
    """

    HOSTS = "hosts"
    STREAMS = "streams"
    EXACT = "exact"
    PREFIXES = "prefixes"
    SETTINGS = "settings"
    SOURCES = "sources"
    SPLITS = "splits"
    SHARES = "shares"
    SLOTS = "slots"

    @property
    def path(self) -> str:
        """The file, relative to the configuration; also its name in the runtime API."""
        return f"maps/{self.value}.map"


class MapRow(NamedTuple):
    """A row of a map.

    The key has no white space, no control character and does not begin with ``#``; the value is not
    empty and has no white space at its ends: `map_line` refuses all others.
    """

    map: MapName
    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows that come and go together, and never change.

    Attributes:
        id: A letter and a digest of the rows; every key in them begins with it. The letter says what
            it is: ``t`` the paths of a host, ``p`` the settings of policies, ``r`` a redirect, ``l``
            the layout of a split.
        rows: Sorted; each key once in its map; may be empty.
        lines: By map, its rows as they stand in its file and in payloads of the runtime API, each with
            its line end; only maps that have any.

    Raises:
        RenderError: A row cannot be written; see `ingresskit.render.haproxy.quoting.map_line`.
    """

    id: str
    rows: tuple[MapRow, ...] = ()
    lines: Mapping[MapName, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        written: dict[MapName, list[str]] = {}
        for name, key, value in self.rows:
            written.setdefault(name, []).append(map_line(key, value) + "\n")
        object.__setattr__(self, "lines", {name: "".join(lines) for name, lines in written.items()})


class Pointer(NamedTuple):
    """The key of a row that is replaced in place, in `MapName.HOSTS`, `STREAMS` or `SPLITS`, and that map."""

    map: MapName
    key: str


class ServerTls(NamedTuple):
    """How a server that is not verified is spoken to in TLS.

    Attributes:
        identity: The digest of the certificate that it is shown, see `Identity`; empty: none.
        name: The server name that it is sent; empty: that of the request.
        sends_name: Whether it is sent any.
        ciphers: Those of TLS 1.2 in OpenSSL's names; empty: HAProxy's own.
        versions: The oldest and the newest version that is spoken, in HAProxy's words; empty: its own.
    """

    identity: str = ""
    name: str = ""
    sends_name: bool = True
    ciphers: tuple[str, ...] = ()
    versions: tuple[str, str] = ("TLSv1.2", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A certificate that HAProxy shows to servers: a chain and its key in one PEM file. It never changes.

    Attributes:
        digest: Of chain and key, lower-case hexadecimal.
        pem: Key and chain; not in the ``repr``.
    """

    digest: str
    pem: bytes = field(repr=False)

    @property
    def path(self) -> str:
        """The file, relative to the configuration; also its name in the runtime API."""
        return identity_path(self.digest)


def identity_path(digest: str) -> str:
    """The path of the `Identity` with that digest."""
    return f"certificates/i{digest[:24]}.pem"


class Server(NamedTuple):
    """A server of a backend. It sorts by address, as the graph sorts endpoints.

    Attributes:
        name: Unique in its backend, the same for the same address and port: ``10.0.0.1_8080``.
        address: An IP address, never a name; of the delegate the absolute path of its socket.
        tls: What a policy says of TLS with it; ``None``: nothing does.
    """

    name: str
    address: str
    port: int
    protocol: Protocol = Protocol.HTTP
    tls: ServerTls | None = None


ALGORITHMS: Final = (
    Algorithm.ROUND_ROBIN,
    Algorithm.LEAST_CONNECTIONS,
    Algorithm.RANDOM,
    Algorithm.CLIENT_HASH,
)
"""How a server can be chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotClass:
    """What HAProxy fixes for a backend when it reads its file: slots are interchangeable within a class.

    Attributes:
        algorithm: How a server is chosen; one of `ALGORITHMS`.
        retries: Tries after the first.
        connect: How long connecting may take; ``None`` is the program's own default.
        late: Whether a silent server causes another try too.
        passes: It takes connections that are passed on, and no requests.
        idle: How long such a connection may be silent; ``None`` is the program's own default.
    """

    algorithm: Algorithm = Algorithm.ROUND_ROBIN
    retries: int = 1
    connect: timedelta | None = None
    late: bool = False
    passes: bool = False
    idle: timedelta | None = None

    @property
    def id(self) -> str:
        """A readable name, unique among classes, of letters, digits and ``-``: ``round-robin-1``."""
        connect = "" if self.connect is None else f"-{self.connect // timedelta(milliseconds=1)}ms"
        if self.passes:
            idle = "" if self.idle is None else f"-idle-{self.idle // timedelta(milliseconds=1)}ms"
            return f"passes-{self.algorithm}-{self.retries}{connect}{idle}"
        return f"{self.algorithm}-{self.retries}{connect}{'-late' if self.late else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotBackend:
    """A backend of the graph as routes of one class use it.

    Attributes:
        id: ``b`` and a digest of key and class: the same for as long as both are. Route rows name it,
            and `MapName.SLOTS` leads from it to the slot it stands in.
        key: Whose endpoints these are, for people and counts.
        servers: In the order of the graph's endpoints; may be empty: requests then get 503.
    """

    id: str
    key: BackendKey
    slot_class: SlotClass
    servers: tuple[Server, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A certificate chain and its key in one PEM file. A renewed certificate is a new bundle of the same id.

    Attributes:
        id: ``c`` and a digest of the Secret's namespace and name: the same for as long as the Secret is.
        secret: Where it comes from.
        digest: Of chain and key: changes when either does.
        pem: Key and chain; not in the ``repr``.
    """

    id: str
    secret: ObjectKey
    digest: str
    pem: bytes = field(repr=False)

    @property
    def path(self) -> str:
        """The file, relative to the configuration; also its name in the runtime API."""
        return f"certificates/{self.id}.pem"


class ServerNames(NamedTuple):
    """A line of the list of certificates: a bundle and TLS server names it is for.

    Attributes:
        bundle: Its id; empty for the default certificate, which is the file ``certificates/default.pem``.
        names: Names and ``*.`` names, each also with a dot at its end, sorted, never empty. No name is in
            two lines.
    """

    bundle: str
    names: tuple[str, ...]


def pattern_id(text: str) -> str:
    """What stands in the rows of a route for the pattern *text* of a common name."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How some hosts speak to clients in TLS, and what certificates they ask for.

    Attributes:
        authorities: PEM of the CA that must have signed them; empty: they ask for none.
        revoked: Its revocation lists in PEM; may be empty.
        ciphers: Those of TLS 1.2; empty: HAProxy's own.
        id: ``h`` and a digest of the rest.
    """

    authorities: bytes = field(default=b"", repr=False)
    revoked: bytes = field(default=b"", repr=False)
    ciphers: tuple[str, ...] = ()
    id: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        total = hashlib.sha256()
        for part in (self.authorities, self.revoked, ":".join(self.ciphers).encode()):
            total.update(b"%d:" % len(part) + part)
        object.__setattr__(self, "id", f"h{total.hexdigest()[:24]}")


class HandshakeLine(NamedTuple):
    """A line of the list of certificates with what is asked of clients; else as `ServerNames`.

    Attributes:
        asked: The id of an `Asked`; empty: nothing.
    """

    bundle: str
    asked: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshakes:
    """What hosts ask clients of in the TLS handshake; HAProxy learns it from its files only. False: nothing.

    Attributes:
        lines: Sorted; no name is in two lines, nor in one of `ServerNames`.
        default: What the handshake asks for all other names: the id of an `Asked`; empty: nothing.
        asked: By id.
        names: Patterns of common names in the words of PCRE, by what stands for them in rows.
        origins: Who asks.
    """

    lines: tuple[HandshakeLine, ...] = ()
    default: str = ""
    asked: Mapping[str, Asked] = field(default_factory=dict[str, Asked])
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    origins: tuple[Origin, ...] = field(default=(), compare=False)

    @property
    def asks(self) -> bool:
        """Whether any host asks for certificates."""
        return any(item.authorities for item in self.asked.values())

    def __bool__(self) -> bool:
        return bool(self.lines or self.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a program must have been loaded with to serve an artifact. More than needed does no harm.

    Attributes:
        classes: The slot classes in use, and what asked for each.
        statuses: The statuses that routes respond with by themselves, and what asked for each.
        request_headers: The names of request header fields that policies set or remove, lower case, but
            for those that every program knows, and what asked for each.
        response_headers: The same for the response.
        features: The parts of the program that few routes need, as `Handler.feature` names them, and what
            asked for each.
        orders: The orders other than the native one in which policies of routes act, where that makes a
            difference, and what asked for each.
        handshakes: What clients are asked for; here a difference in either direction counts.
        host_fallthrough: As `RouteGraph.host_fallthrough`; here a difference in either direction counts.
        paths: As `RouteGraph.paths`; the same.
    """

    classes: Mapping[SlotClass, Origin] = field(default_factory=dict[SlotClass, Origin])
    statuses: Mapping[int, Origin] = field(default_factory=dict[int, Origin])
    request_headers: Mapping[str, Origin] = field(default_factory=dict[str, Origin])
    response_headers: Mapping[str, Origin] = field(default_factory=dict[str, Origin])
    features: Mapping[str, Origin] = field(default_factory=dict[str, Origin])
    orders: Mapping[Order, Origin] = field(default_factory=dict[Order, Origin])
    handshakes: Handshakes = Handshakes()
    host_fallthrough: bool = False
    paths: PathOptions = DEFAULT_PATHS


@dataclass(frozen=True, slots=True, kw_only=True)
class HaproxyArtifact:
    """What a HAProxy needs to serve a graph. Immutable.

    Successive artifacts share structure: a plane in which nothing changed is the same mapping object
    in both, and what is in a plane is the same object for as long as it does not change.

    Attributes:
        pointers: Sorted by host or split.
        blocks: By id; exactly those that a pointer, or a row of another block, leads to.
        backends: By id; exactly those that a row of a block leads to.
        certificates: By id; exactly those that *server_names* or *default_certificate* name.
        server_names: Sorted; which certificate for which name. Names without a line get the default.
        default_certificate: The id of the bundle for all other names; ``None`` leaves it to the applier
            to have one that it signed itself.
        identities: By digest; exactly those that servers of *backends* name.
    """

    needs: Needs = Needs()
    pointers: Mapping[Pointer, str] = field(default_factory=dict[Pointer, str])
    blocks: Mapping[str, Block] = field(default_factory=dict[str, Block])
    backends: Mapping[str, SlotBackend] = field(default_factory=dict[str, SlotBackend])
    certificates: Mapping[str, Bundle] = field(default_factory=dict[str, Bundle])
    server_names: tuple[ServerNames, ...] = ()
    default_certificate: str | None = None
    identities: Mapping[str, Identity] = field(default_factory=dict[str, Identity])
