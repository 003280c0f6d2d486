"""What the locations of a server share, in the static mode."""

from __future__ import annotations

from ingresskit.graph import PathMatch, Respond, Route, VirtualHost
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import Hsts, Origin, PolicySet
from ingresskit.render.nginx import NginxSettings
from ingresskit.render.nginx.static.locations import Served
from ingresskit.render.nginx.static.server import Server

ROUTE = Route(
    match=PathMatch.prefix("/"),
    action=Respond(status=503),
    origin=Origin(ObjectRef("Ingress", ObjectKey("default", "web")), ""),
)


def test_a_route_of_another_host_has_the_policies_of_that_host() -> None:
    named = VirtualHost(host="a.test", routes=(ROUTE,), policies=PolicySet([Hsts(max_age=60)]))
    everything = VirtualHost(host="*", routes=(ROUTE,))
    settings = NginxSettings(state="/run/ik", http=("0.0.0.0:80",), https=("0.0.0.0:443",))

    for own, other in ((named, everything), (everything, named)):
        server = Server(own, settings, lambda _: None)
        assert [bool(server.draft(Served(host, ROUTE)).over_tls) for host in (own, other)] == [
            host is named for host in (own, other)
        ]
