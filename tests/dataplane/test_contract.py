"""Every proxy passes the contract that users inherit for theirs."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest
from typing_extensions import override

from ingresskit.testing.plane_contract import PlaneContract
from ingresskit.testing.planes import Plane, PlaneSettings
from tests.dataplane.planes import (
    NGINX_DYNAMIC,
    open_haproxy,
    open_inprocess,
    open_nginx_dynamic,
)


class TestInProcess(PlaneContract):
    @override
    def plane(self, settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
        return open_inprocess(settings)


class TestHaproxy(PlaneContract):
    @override
    def plane(self, settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
        return open_haproxy(settings)


@pytest.mark.skipif(bool(NGINX_DYNAMIC.missing), reason=NGINX_DYNAMIC.missing)
class TestNginxDynamic(PlaneContract):
    @override
    def plane(self, settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
        return open_nginx_dynamic(settings)
