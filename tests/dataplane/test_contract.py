"""Every proxy passes the contract that users inherit for theirs."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest
from typing_extensions import override

from ingresskit.testing.plane_contract import PlaneContract
from ingresskit.testing.planes import Plane, PlaneSettings
from tests.dataplane.nginx_planes import NGINX_DYNAMIC_MISSING, open_nginx_dynamic
from tests.dataplane.planes import open_haproxy, open_inprocess


class TestInProcess(PlaneContract):
    @override
    def plane(self, settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
        return open_inprocess(settings)


class TestHaproxy(PlaneContract):
    @override
    def plane(self, settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
        return open_haproxy(settings)


@pytest.mark.skipif(bool(NGINX_DYNAMIC_MISSING), reason=NGINX_DYNAMIC_MISSING)
class TestNginxDynamic(PlaneContract):
    @override
    def plane(self, settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
        return open_nginx_dynamic(settings)
