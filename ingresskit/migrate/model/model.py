"""What ingress-nginx does with a request: a model of it, for comparison with what is done here.

It is written from ingress-nginx's documentation and source and from what was observed of it, and shares no
code with the dialect: where both agree, two ways of reading led to the same. It decides what can be decided by
a request alone: the server, the location, redirects, clients, addresses, preflights, body limits, passwords,
canaries, the path and header fields that the endpoint gets, and those of the client. Weights are shares,
limits say how many requests pass, and a service that is asked is named: what it says is not known.

Source: ingress-nginx at dbb11b92d (2026-03-20), ``internal/ingress/controller`` and
``rootfs/etc/nginx/template/nginx.tmpl``; nginx, "location", "rewrite".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ingresskit.graph import Request
from ingresskit.migrate.flags import ControllerFlags
from ingresskit.migrate.model.effects import Effects
from ingresskit.migrate.model.prediction import Prediction
from ingresskit.migrate.model.servers import Servers, decoded
from ingresskit.models import ConfigMap, Ingress, ObjectKey, Secret

__all__ = ["IngressNginxModel"]


class IngressNginxModel:
    """ingress-nginx with these objects.

    Args:
        ingresses: Those of its class.
        settings: The data of its ConfigMap.
        flags: Those that it is run with.
        configs: ConfigMaps that annotations may name.
        secrets: Secrets that annotations may name. One that is not among them is taken to be there.
        certificates: The names that the certificates of Secrets are for.
    """

    def __init__(
        self,
        ingresses: Iterable[Ingress],
        settings: Mapping[str, str] | None = None,
        flags: ControllerFlags | None = None,
        *,
        configs: Mapping[ObjectKey, ConfigMap] | None = None,
        secrets: Mapping[ObjectKey, Secret] | None = None,
        certificates: Mapping[ObjectKey, Sequence[str]] | None = None,
    ) -> None:
        prefix = f"{(flags or ControllerFlags()).prefix}/"
        self._servers = Servers(ingresses, prefix, certificates)
        self._passes_on = (flags or ControllerFlags()).on("enable-ssl-passthrough")
        self._effects = Effects(settings or {}, configs or {}, secrets or {})

    def predict(self, request: Request) -> Prediction:
        """What becomes of *request*."""
        lowered = request.host.lower()
        name = lowered.rpartition(":")[0] if lowered.count(":") == 1 else lowered
        host, server = self._servers.find(name)
        if server is None:
            return Prediction(status=404)
        if request.scheme == "https" and self._passes_on:
            passing = server.passes_to
            if passing is not None:
                return Prediction(service=passing.service, ingress=passing.ingress, passed_on=True)
        path = decoded(request.path)
        if path is None:
            return Prediction(status=400)
        if self._effects.refuses_client(request):
            return Prediction(status=403)
        if host.startswith("www-twin:"):
            port = "" if ":" not in request.host else f":{request.host.rpartition(':')[2]}"
            other = f"{request.scheme}://{host.removeprefix('www-twin:')}{port}{request.path}{request.query}"
            return Prediction(status=self._effects.redirect_status, location=other)
        found = self._servers.locate(server, path)
        if found is None:
            return Prediction(status=404)
        location, groups = found
        if not server.regex and location.path == f"{path}/":
            target = f"{request.scheme}://{request.host}{location.path}{request.query}"
            return self._effects.slashed(request, location, target)
        return self._effects.predict(request, server, location, groups, path)
