"""Why a request is answered as it is: the rule that takes it, and for every near miss the reason.

python examples/06_explain.py
"""

from ingresskit import Ingress, Request, Snapshot
from ingresskit.filters import explain
from ingresskit.models import decode
from ingresskit.translate import translate


def ingress(name: str, host: str, path: str, path_type: str) -> Ingress:
    """An Ingress with one rule. It redirects, so that this file needs no Service and no endpoints."""
    backend = {"service": {"name": name, "port": {"number": 80}}}
    paths = [{"path": path, "pathType": path_type, "backend": backend}]
    annotations = {
        "kubernetes.io/ingress.class": "ingresskit",
        "ingresskit.dev/redirect": f"https://{name}.example",
    }
    return decode(
        Ingress,
        {
            "metadata": {"name": name, "namespace": "web", "annotations": annotations},
            "spec": {"rules": [{"host": host, "http": {"paths": paths}}]},
        },
    )


def main() -> None:
    snapshot = Snapshot.of(
        [
            ingress("site", "shop.example", "/", "Prefix"),
            ingress("cart", "shop.example", "/cart", "Prefix"),
            ingress("ping", "shop.example", "/carts", "Exact"),
            ingress("any", "*.example", "/carts", "Prefix"),
        ]
    )
    explanation = explain(translate(snapshot).graph, Request.of("http://shop.example/carts/7"))
    print(explanation.verdict)
    for miss in explanation.near_misses:
        print(f"not {miss.path} of {miss.host}: {miss.reason}, {miss.message}")


if __name__ == "__main__":
    main()
