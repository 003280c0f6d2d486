"""What hosts ask clients of in the TLS handshake, as lines of the list of certificates and files beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from ingresskit.graph import ANY_HOST, RouteGraph, VirtualHost, host_candidates
from ingresskit.policies import ClientCertificates, HostTls, Origin, PolicySet
from ingresskit.render.haproxy.artifact import Asked, HandshakeLine, Handshakes, pattern_id
from ingresskit.render.haproxy.certificates import bundle_id

__all__ = ["HandshakesKeeper"]

_NOTHING = Handshakes()


class HandshakesKeeper:
    """Follows the hosts of successive graphs that have something to say in a handshake: few, or none."""

    def __init__(self) -> None:
        self._hosts: dict[str, VirtualHost] = {}
        self.names: frozenset[str] = frozenset()
        """The server names that are in the lines, and so in no other line of the list."""

    def follow(self, graph: RouteGraph, changed: Collection[str] | None) -> Handshakes:
        """What the hosts of *graph* ask.

        Args:
            graph: It.
            changed: At least the hosts that are other objects than in the call before; ``None``: all may be.
        """
        if changed is None:
            self._hosts = {}
        for name in graph.by_host if changed is None else changed:
            host = graph.by_host.get(name)
            if host is not None and host.policies.of_handshake():
                self._hosts[name] = host
            else:
                self._hosts.pop(name, None)
        if not self._hosts:
            self.names = frozenset()
            return _NOTHING
        policies = {name: host.policies.of_handshake() for name, host in sorted(self._hosts.items())}
        asked = {item.id: item for item in map(_asked, policies.values())}
        lines: dict[tuple[str, str], set[str]] = {}
        names = frozenset(_names(graph, policies))
        for name in names:
            owner = next((item for item in _candidates(name) if item in graph.by_host), "")
            found = policies.get(owner)
            key = (_bundle(graph, name), "" if found is None else _asked(found).id)
            lines.setdefault(key, set()).update((name, f"{name}."))
            if name.startswith("*."):
                # To HAProxy ".shop.test" is a name below the wildcard too: it goes by the first dot.
                lines.setdefault(("", ""), set()).update((name[1:], f"{name[1:]}."))
        self.names = names
        default = policies.get(ANY_HOST)
        return Handshakes(
            lines=tuple(sorted(HandshakeLine(*key, tuple(sorted(found))) for key, found in lines.items())),
            default="" if default is None else _asked(default).id,
            asked=dict(sorted(asked.items())),
            names=dict(sorted(_patterns(policies.values()))),
            origins=tuple(sorted({origin for item in policies.values() for origin in _origins(item)})),
        )


def _asked(policies: PolicySet) -> Asked:
    clients, tls = policies.get(ClientCertificates), policies.get(HostTls)
    return Asked(
        authorities=b"" if clients is None else clients.authorities.certificates,
        revoked=b"" if clients is None else clients.authorities.revoked,
        ciphers=() if tls is None else tls.ciphers,
    )


def _names(graph: RouteGraph, policies: Mapping[str, PolicySet]) -> Iterator[str]:
    """Every server name whose handshake is not the one that its certificate has elsewhere."""
    known = [*graph.server_names, *(host for host in graph.by_host if host != ANY_HOST)]
    for host in policies:
        if host == ANY_HOST:
            yield from known
            continue
        yield host
        if host.startswith("*."):
            yield from (name for name in known if name.partition(".")[2] == host[2:] and name != host)


def _candidates(name: str) -> Iterator[str]:
    if name.startswith("*."):
        yield name
        yield ANY_HOST
    else:
        yield from host_candidates(name)


def _bundle(graph: RouteGraph, name: str) -> str:
    """The id of the bundle for a name; empty: the default one."""
    wildcard = f"*.{name.partition('.')[2]}"
    for candidate in (name, wildcard):
        if candidate in graph.server_names:
            secret = graph.server_names[candidate]
            return "" if secret is None else bundle_id(secret)
    return ""


def _patterns(policies: Collection[PolicySet]) -> Iterator[tuple[str, str]]:
    for item in policies:
        clients = item.get(ClientCertificates)
        if clients is not None and (pattern := clients.name_pattern) is not None:
            yield pattern_id(clients.common_name), pattern.pcre


def _origins(policies: PolicySet) -> Iterator[Origin]:
    for policy in policies:
        yield from policies.origins(type(policy)).values()
