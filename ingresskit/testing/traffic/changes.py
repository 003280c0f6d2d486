"""Changes as a cluster makes them, one after the other, each with a request that shows that it is live."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from ingresskit.graph import RouteGraph
from ingresskit.models import KubeObject, ObjectKey, Snapshot
from ingresskit.testing.builders import endpoint_slice, ingress, ingress_class, service
from ingresskit.testing.certificates import make_certificate, tls_secret
from ingresskit.testing.loopback import Address
from ingresskit.testing.traffic.probe import look_at
from ingresskit.translate import DestinationPolicy, TranslateOptions, Translator

__all__ = ["Change", "TrafficScript"]

_STEADY = 4
_ENDPOINTS = 3
_CHURN = 40
_OPTIONS = TranslateOptions(destinations=DestinationPolicy(allow=(ipaddress.ip_network("127.0.0.0/8"),)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change.

    Attributes:
        what: In words: ``"the endpoints of steady-1 are replaced"``.
        graph: What shall be served from now on.
        host: The host that shows it.
        status: The status of its answer.
        ports: The endpoints that may answer; empty when none does.
        fingerprint: SHA-256 of the certificate it shows, where that is the change; else empty.
    """

    what: str
    graph: RouteGraph
    host: str
    status: int = 200
    ports: frozenset[int] = frozenset()
    fingerprint: str = ""

    async def faults(self, *, http: Address, https: Address | None = None) -> tuple[str, ...]:
        """Ask a proxy whether the change is live; what speaks against it, each as a sentence.

        Raises:
            TimeoutError: No answer within 10 seconds.
        """
        tls = bool(self.fingerprint) and https is not None
        look = await look_at(self.host, https if tls and https is not None else http, tls=tls)
        found: list[str] = []
        if look.status != self.status:
            found.append(f"{self.what}: the status is {look.status}, not {self.status}")
        elif self.ports and int(look.body) not in self.ports:
            found.append(f"{self.what}: {int(look.body)} answered, not one of {sorted(self.ports)}")
        if tls and look.fingerprint != self.fingerprint:
            found.append(f"{self.what}: another certificate is shown")
        return tuple(found)


class TrafficScript:
    """A cluster that keeps changing: every kind of change in turn, its details by *seed*.

    ``steady-0.test`` to ``steady-3.test`` are served from the first graph to the last, whatever becomes
    of their endpoints, certificates and policies; other hosts come and go.

    Args:
        ports: Endpoints on 127.0.0.1, four at least, that serve all the time.
        seed: The same seed makes the same changes.
    """

    def __init__(self, ports: Sequence[int], *, seed: int = 0) -> None:
        self._ports = tuple(ports)
        self._random = Random(seed)  # noqa: S311 - guards nothing
        self._translator = Translator(_OPTIONS)
        self._held: dict[tuple[str, ObjectKey], KubeObject] = {}
        self._churn: list[str] = []
        self._count = 0
        self._hold(ingress_class())
        for number in range(_STEADY):
            name = f"steady-{number}"
            self._hold(*self._steady(name), *self._serving(name), self._secret(name, ""))

    @property
    def hosts(self) -> tuple[str, ...]:
        """What is served all the time, with and without TLS."""
        return tuple(f"steady-{number}.test" for number in range(_STEADY))

    def first(self) -> RouteGraph:
        """What is served before the first change."""
        return self._graph()

    def take(self, count: int) -> Iterator[Change]:
        """The next *count* changes; each is made when it is asked for."""
        kinds: tuple[Callable[[], Change], ...] = (
            self._replace_endpoints,
            self._make_host,
            self._rotate_certificate,
            self._change_weights,
            self._make_host,
            self._change_timeouts,
            self._replace_endpoints_of_churn,
            self._delete_host,
            self._empty_and_fill,
            self._add_path,
        )
        for number in range(count):
            self._count += 1
            yield kinds[number % len(kinds)]()

    def _replace_endpoints(self) -> Change:
        name = f"steady-{self._random.randrange(_STEADY)}"
        return self._with_new_endpoints(name)

    def _replace_endpoints_of_churn(self) -> Change:
        return self._with_new_endpoints(self._random.choice(self._churn) if self._churn else "steady-0")

    def _empty_and_fill(self) -> Change:
        """A Service that loses all endpoints, of a host that nobody asks for constantly."""
        name = self._random.choice(self._churn) if self._churn else self._new_host()
        self._hold(*(endpoint_slice(name, name=f"{name}-{number}") for number in range(1, _ENDPOINTS + 1)))
        return Change(
            what=f"the endpoints of {name} are gone", graph=self._graph(), host=f"{name}.test", status=503
        )

    def _with_new_endpoints(self, name: str) -> Change:
        ports = self._pick()
        self._hold(*self._slices(name, ports))
        # A traffic split may lead elsewhere: then only the status can be told.
        known = frozenset(ports) if name != "steady-3" else frozenset[int]()
        return Change(
            what=f"the endpoints of {name} are replaced", graph=self._graph(), host=f"{name}.test", ports=known
        )

    def _make_host(self) -> Change:
        if len(self._churn) >= _CHURN:
            return self._delete_host()
        name = self._new_host()
        return Change(what=f"{name} is created", graph=self._graph(), host=f"{name}.test")

    def _new_host(self) -> str:
        name = f"churn-{self._count}"
        self._churn.append(name)
        self._hold(ingress(name, {f"{name}.test": {"/": name}}, created=self._count), *self._serving(name))
        return name

    def _delete_host(self) -> Change:
        if not self._churn:
            return self._make_host()
        name = self._churn.pop(self._random.randrange(len(self._churn)))
        for key in [key for key, item in self._held.items() if item.metadata.name.rpartition("-")[0] == name]:
            del self._held[key]
        for kind in ("Ingress", "Service"):
            self._held.pop((kind, ObjectKey("default", name)), None)
        return Change(what=f"{name} is deleted", graph=self._graph(), host=f"{name}.test", status=404)

    def _rotate_certificate(self) -> Change:
        name, salt = f"steady-{self._random.randrange(_STEADY)}", str(self._count)
        self._hold(self._secret(name, salt))
        return Change(
            what=f"the certificate of {name} is rotated",
            graph=self._graph(),
            host=f"{name}.test",
            fingerprint=make_certificate(f"{name}.test", salt=salt).fingerprint,
        )

    def _change_weights(self) -> Change:
        split = f"steady-3={self._random.randint(1, 9)}, steady-2={self._random.randint(1, 9)}"
        self._hold(*self._steady("steady-3", {"traffic-split": split}))
        return Change(what="the weights of steady-3 are changed", graph=self._graph(), host="steady-3.test")

    def _change_timeouts(self) -> Change:
        timeouts = {"read-timeout": f"{self._random.randint(30, 90)}s", "send-timeout": "30s"}
        self._hold(*self._steady("steady-1", timeouts))
        return Change(what="the time-outs of steady-1 are changed", graph=self._graph(), host="steady-1.test")

    def _add_path(self) -> Change:
        name = self._random.choice(self._churn) if self._churn else self._new_host()
        paths = {"/": name, f"/more-{self._count}": name, "=/exact": "steady-0"}
        self._hold(ingress(name, {f"{name}.test": paths}, created=self._count), *self._serving(name))
        return Change(what=f"{name} gets more paths", graph=self._graph(), host=f"{name}.test")

    def _graph(self) -> RouteGraph:
        return self._translator.translate(Snapshot.of(self._held.values())).graph

    def _hold(self, *objects: KubeObject) -> None:
        for item in objects:
            self._held[item.kind, item.key] = item

    def _steady(self, name: str, annotations: dict[str, str] | None = None) -> list[KubeObject]:
        host = f"{name}.test"
        written = {"tls-redirect": "false", **(annotations or {})}
        return [ingress(name, {host: {"/": name}}, tls={f"{name}-tls": [host]}, annotations=written)]

    def _secret(self, name: str, salt: str) -> KubeObject:
        return tls_secret(f"{name}.test", name=f"{name}-tls", salt=salt)

    def _serving(self, name: str) -> list[KubeObject]:
        return [service(name), *self._slices(name, self._pick())]

    def _slices(self, name: str, ports: Sequence[int]) -> list[KubeObject]:
        return [
            endpoint_slice(name, "127.0.0.1", ports=port, name=f"{name}-{number}")
            for number, port in enumerate(ports, 1)
        ]

    def _pick(self) -> list[int]:
        return sorted(self._random.sample(self._ports, _ENDPOINTS))
