"""What it takes to analyse and to prove a fleet: CPU time, and the most memory that was held.

    python benchmarks/migrate.py [--ingresses 2000] [--requests 50]

Every Ingress has a host, two paths and annotations as fleets have them, another set in turn: TLS, rewrites with
patterns, addresses, limits, CORS, passwords, canaries by weight, redirects.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Mapping

from ingresskit.migrate import Probes, analyse, prove
from ingresskit.models import KubeObject, ObjectMeta, Secret
from ingresskit.testing import ingress

_PREFIX = "nginx.ingress.kubernetes.io"
_USERS = Secret(
    metadata=ObjectMeta(namespace="default", name="users"),
    data={"auth": b"u:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=\n"},
)
SETS: tuple[Mapping[str, str], ...] = (
    {"proxy-body-size": "64m", "proxy-read-timeout": "3600"},
    {"use-regex": "true", "rewrite-target": "/$2"},
    {"whitelist-source-range": "10.0.0.0/8, 192.168.0.0/16", "ssl-redirect": "false"},
    {"limit-rps": "20", "limit-connections": "10"},
    {"enable-cors": "true", "cors-allow-origin": "https://app.test"},
    {"auth-type": "basic", "auth-secret": "default/users"},
    {"force-ssl-redirect": "true", "app-root": "/app"},
    {"affinity": "cookie", "session-cookie-name": "route"},
)


def fleet(ingresses: int) -> list[KubeObject]:
    """So many Ingresses, and a canary for every tenth."""
    made: list[KubeObject] = [_USERS]
    for number in range(ingresses):
        notes = SETS[number % len(SETS)]
        patterned = "use-regex" in notes
        paths = {"/v1(/|$)(.*)" if patterned else "/": "web", "/api": "api"}
        host = f"h{number}.test"
        canary = {"canary": "true", "canary-weight": "20"} if number % 10 == 9 else {}
        if canary:  # of the Ingress before it
            host, paths = f"h{number - 1}.test", {"/": "next"}
        named = {f"{_PREFIX}/{key}": value for key, value in {**notes, **canary}.items()}
        made.append(
            ingress(f"i{number}", {host: paths}, annotations=named, ingress_class="nginx", created=number)
        )
    return made


def timed(what: str, action: Callable[[], str]) -> None:
    """Print what *action* took, and what it says of its work."""
    begun = time.process_time()
    found = action()
    taken = time.process_time() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what}: {taken:.1f} s of CPU, {memory:.0f} MiB at most; {found}")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ingresses", type=int, default=2000)
    parser.add_argument("--requests", type=int, default=50)
    flags = parser.parse_args()
    objects = fleet(flags.ingresses)

    def analysed() -> str:
        return f"{len(analyse(objects).findings)} findings"

    def proved() -> str:
        found = prove(objects, probes=Probes(most_per_host=flags.requests))
        return f"{found.asked} requests, {found.same} alike, {len(found.unexplained)} unexplained differences"

    timed(f"analysed {flags.ingresses} Ingresses", analysed)
    timed(f"proved {flags.ingresses} Ingresses with {flags.requests} requests for each host", proved)


if __name__ == "__main__":
    main()
