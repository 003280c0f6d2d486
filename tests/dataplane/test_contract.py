"""Every proxy passes the contract that users inherit for theirs."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from typing_extensions import override

from ingresskit.testing.plane_contract import PlaneContract
from ingresskit.testing.planes import Plane, PlaneSettings
from tests.dataplane.planes import open_haproxy, open_inprocess


class TestInProcess(PlaneContract):
    @override
    def plane(self, settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
        return open_inprocess(settings)


class TestHaproxy(PlaneContract):
    @override
    def plane(self, settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
        return open_haproxy(settings)
