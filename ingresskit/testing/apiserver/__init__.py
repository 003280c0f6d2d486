"""An embedded Kubernetes API server for tests, and the real one as its twin.

    with ApiServer.in_thread() as server:
        server.put({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", …})
        server.faults.add(Fault(action=Answer(status=429, retry_after=1), match=Match(verbs=["list"]), count=3))
        …                                           # run your controller against server.url
        assert server.requests.busiest(1.0, verb="list") <= 2

`ingresskit.testing.apiserver.plugin` offers it as a pytest fixture.
"""

from __future__ import annotations

from ingresskit.testing.apiserver.auth import ALLOW_ALL, Rule, Users
from ingresskit.testing.apiserver.contract import AnyApiServer
from ingresskit.testing.apiserver.faults import (
    Action,
    ActiveFault,
    Answer,
    CloseWatch,
    Cut,
    Delay,
    Disconnect,
    DropEvents,
    Fault,
    Faults,
    HalfOpen,
    Match,
    ReorderEvents,
    RepeatEvents,
    SendLines,
)
from ingresskit.testing.apiserver.log import RequestLog, RequestRecord
from ingresskit.testing.apiserver.manifests import Manifest
from ingresskit.testing.apiserver.real import RealApiServer, RealApiServerFailed, real_api_server
from ingresskit.testing.apiserver.registry import Resource, View
from ingresskit.testing.apiserver.server import ApiServer, ApiServerOptions
from ingresskit.testing.apiserver.statuses import StatusError, expired, too_large_version

__all__ = [
    "ALLOW_ALL",
    "Action",
    "ActiveFault",
    "Answer",
    "AnyApiServer",
    "ApiServer",
    "ApiServerOptions",
    "CloseWatch",
    "Cut",
    "Delay",
    "Disconnect",
    "DropEvents",
    "Fault",
    "Faults",
    "HalfOpen",
    "Manifest",
    "Match",
    "RealApiServer",
    "RealApiServerFailed",
    "ReorderEvents",
    "RepeatEvents",
    "RequestLog",
    "RequestRecord",
    "Resource",
    "Rule",
    "SendLines",
    "StatusError",
    "Users",
    "View",
    "expired",
    "real_api_server",
    "too_large_version",
]
