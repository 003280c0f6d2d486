"""Every proxy passes the contract that users inherit for theirs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

import pytest
from typing_extensions import override

from ingresskit.testing import Scenario, load_scenarios
from ingresskit.testing.plane_contract import PlaneContract
from ingresskit.testing.planes import Plane, PlaneSettings
from tests.dataplane.planes import (
    NGINX_DYNAMIC,
    NGINX_STATIC,
    open_haproxy,
    open_inprocess,
    open_nginx_dynamic,
    open_nginx_static,
)


class TestInProcess(PlaneContract):
    @override
    def plane(self, settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
        return open_inprocess(settings)


class TestHaproxy(PlaneContract):
    unsupported: ClassVar[frozenset[str]] = frozenset(
        {"BasicAuth", "DeniedAgents", "DigestAuth", "ExternalAuth", "JwtAuth", "RegexRewrite"}
    )
    """Left to a delegate, see `tests/dataplane/test_credentials.py` and `test_requests.py`."""

    @override
    def plane(self, settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
        return open_haproxy(settings)


@pytest.mark.skipif(bool(NGINX_DYNAMIC.missing), reason=NGINX_DYNAMIC.missing)
class TestNginxDynamic(PlaneContract):
    @override
    def plane(self, settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
        return open_nginx_dynamic(settings)


@pytest.mark.skipif(bool(NGINX_STATIC.missing), reason=NGINX_STATIC.missing)
class TestNginxStatic(PlaneContract):
    reloads: ClassVar[int | None] = None
    fails_at_reload: ClassVar[bool] = True
    changes: ClassVar[int] = 10

    @override
    def plane(self, settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
        return open_nginx_static(settings)

    @override
    def scenarios(self) -> Sequence[Scenario]:
        """Each is a reload here; `tests/features/test_nginx_static.py` asks all of them of this mode."""
        return load_scenarios()[::4]
