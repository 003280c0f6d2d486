"""Lines of a section of the configuration, with the words that recur in them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from ingresskit.policies.values import Network
from ingresskit.render.haproxy.artifact import MapName
from ingresskit.render.haproxy.capabilities import Capabilities
from ingresskit.render.haproxy.quoting import quote
from ingresskit.render.haproxy.settings import Bind

__all__ = [
    "AWAITED",
    "BODIED",
    "SCHEME_SAID",
    "Lines",
    "bind_address",
    "flagged",
    "lookup",
    "milliseconds",
    "plain_text",
    "refused",
    "setting",
    "substituted",
]

# HAProxy takes 64 words a line.
_NETWORKS_A_LINE: Final = 40


AWAITED: Final = (
    "!{ internal.htx.has_eom } !{ req.hdr_val(content-length) gt 16384 } !{ req.fhdr(expect) -m found }"
)
"""The condition that a body is under way, and short."""

BODIED: Final = "{ var(txn.bodied) -m found }"
"""The condition that a request of a route that judges bodies has one; see `program.requests.add_bodied`."""

# Of a list, the first element is what the client itself used: each proxy appends what its peer used.
SCHEME_SAID: Final = "{ req.hdr(x-forwarded-proto,1) -m str -i http https }"
"""The condition that the request names the scheme that the client used."""


def lookup(key: str, name: MapName, default: str = "") -> str:
    """The expression that looks *key* (an expression) up in a map: the whole of it, or its longest prefix."""
    kind = "map_beg" if name in (MapName.PREFIXES, MapName.SOURCES, MapName.SHARES) else "map_str"
    return f"{key},{kind}({name.path}{',' + default if default else ''})"


def setting(name: str, default: str = "") -> str:
    """The expression for a setting of the policies of the route, text: *name* is the end of its key."""
    return lookup(f"var(txn.policy),concat(/{name})", MapName.SETTINGS, default)


def flagged(flag: str) -> str:
    """The condition that the route has a policy with that flag."""
    return f"{{ var(txn.flags) -m sub {flag} }}"


def substituted(pattern: str, replacement: str, flags: str = "") -> str:
    """The converter that replaces what a regular expression matches; to be quoted with all of its word.

    The arguments of a converter have quotes of their own, inside those of the word.
    """
    return f"regsub({_argument(pattern)},{_argument(replacement)}{',' + flags if flags else ''})"


def _argument(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def plain_text(sentence: str) -> str:
    """The words of a ``return`` rule for a body of one line of plain text; gRPC clients get no body.

    Such a text cannot end with a line end: HAProxy would write it as ``%0A``.
    """
    body = quote(f"%[var(txn.grpc,0),iif(,{_argument(sentence)})]")
    return f"content-type 'text/plain; charset=utf-8' lf-string {body}"


def refused(rule: str, condition: str, capabilities: Capabilities) -> tuple[str, ...]:
    """The ``http-request`` rules that refuse a request under a condition, so that its client learns why.

    Before 3.0, HAProxy resets what a client still uploads, and the response with it. So the body is waited
    for, for a second at most, when it may fit into the buffer. No client is asked for a body for that; what
    does not come within that second is a 408.
    """
    if capabilities.drains:
        return (f"{rule} if {condition}",)
    return f"wait-for-body time 1s if {condition} {AWAITED}", f"{rule} if {condition}"


def bind_address(bind: Bind) -> str:
    """The words of a ``bind`` line. Like the in-process proxy: the IPv6 wildcard does not take IPv4 along."""
    address, port = bind
    return f"ipv6@[{address}]:{port} v6only" if ":" in address else f"ipv4@{address}:{port}"


def milliseconds(duration: timedelta) -> str:
    """A time as HAProxy reads it."""
    return f"{duration // timedelta(milliseconds=1)}ms"


class Lines:
    """The lines of one section, indented; comments are ours and never hold anything else."""

    def __init__(self, header: str) -> None:
        self._lines = [header]

    def add(self, *lines: str) -> None:
        """Add directives as they are."""
        self._lines += (f"    {line}" for line in lines)

    def note(self, comment: str) -> None:
        """Add an empty line and a comment, which says what the lines below it do."""
        self._lines += ["", f"    # {comment}"]

    def request(self, *rules: str) -> None:
        """Add ``http-request`` rules."""
        self._lines += (f"    http-request {rule}" for rule in rules)

    def response(self, *rules: str) -> None:
        """Add ``http-response`` rules."""
        self._lines += (f"    http-response {rule}" for rule in rules)

    def networks(self, condition: str, networks: Iterable[Network]) -> None:
        """Add ``acl <condition> …`` over networks, in as many lines as they need; HAProxy joins them by or."""
        texts = [str(network) for network in networks]
        for start in range(0, len(texts), _NETWORKS_A_LINE):
            self.add(f"acl {condition} {' '.join(map(quote, texts[start : start + _NETWORKS_A_LINE]))}")

    def text(self) -> str:
        """All of it, with a line end."""
        return "\n".join(self._lines) + "\n"
