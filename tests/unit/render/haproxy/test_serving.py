"""The program and its maps, read by a real HAProxy: what every proxy promises."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from typing_extensions import override

from ingresskit.testing.plane_contract import PlaneContract
from ingresskit.testing.planes import Plane, PlaneSettings
from tests.unit.render.haproxy.serving import needs_haproxy, open_restarting


@needs_haproxy
class TestServing(PlaneContract):
    unsupported: ClassVar[frozenset[str]] = frozenset(
        {"BasicAuth", "DeniedAgents", "DigestAuth", "ExternalAuth", "JwtAuth", "RegexRewrite"}
    )
    """Left to a delegate, which does not stand beside this program."""

    @override
    def plane(self, settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
        return open_restarting(settings)

    # Each graph gets a process of its own here: what is lost between two is not the program's doing, and
    # the plane with the real applier answers the rest of the contract from the same program.
    test_changes_under_traffic_fail_no_request = None  # type: ignore[assignment]
    test_hostile_objects_change_no_answer_of_others = None  # type: ignore[assignment]
    test_odd_requests_are_answered_as_the_graph_resolves = None  # type: ignore[assignment]
