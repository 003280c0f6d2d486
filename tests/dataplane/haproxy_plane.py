"""HAProxy as a plane; ``$HAPROXY`` names another one than that on the path."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from ingresskit.apply.haproxy import Haproxy, HaproxyApplier, HaproxyOptions
from ingresskit.render.haproxy import Bind, HaproxyArtifact, HaproxyRenderer, HaproxySettings
from ingresskit.testing.planes import LivePlane, Plane, PlaneSettings
from tests.dataplane.kind import Kind, located

PROGRAM, _MISSING = located(os.environ.get("HAPROXY", "haproxy"))
# Tests ask for one new thing after another, and need not wait as tenants must.
_IMPATIENT = HaproxyOptions(reload_gap=timedelta(milliseconds=1), reload_share=1.0)


@asynccontextmanager
async def open_haproxy(
    settings: PlaneSettings, renderer: HaproxyRenderer | None = None, options: HaproxyOptions = _IMPATIENT
) -> AsyncGenerator[Plane]:
    program = HaproxySettings(
        http=(Bind(*settings.http),),
        https=(Bind(*settings.https),),
        underscores_in_headers=settings.underscores_in_headers,
        public_http_port=settings.public_http_port,
        public_https_port=settings.public_https_port,
        trusted_proxies=settings.trusted_proxies,
        proxy_protocol=settings.proxy_protocol,
    )
    async with Haproxy(
        program, state=settings.state_dir, program=settings.program or PROGRAM, options=options
    ) as haproxy:
        yield LivePlane[HaproxyArtifact](
            renderer=renderer or HaproxyRenderer(),
            applier=HaproxyApplier(haproxy),
            http=settings.http,
            https=settings.https,
            processes=lambda: frozenset(() if haproxy.pid is None else (haproxy.pid,)),
        )


def _new_class(number: int) -> dict[str, str]:
    """A header name of its own: HAProxy learns the names of header fields when it reads its file."""
    return {"request-headers-set": f"X-New-{number}: x"}


def _spoil_certificate(artifact: HaproxyArtifact, host: str) -> HaproxyArtifact:
    spoiled = {line.bundle for line in artifact.server_names if host in line.names}
    certificates = {
        key: replace(item, pem=b"spoiled\n", digest="spoiled") if key in spoiled else item
        for key, item in artifact.certificates.items()
    }
    return replace(artifact, certificates=certificates)


HAPROXY = Kind(
    name="haproxy",
    open=open_haproxy,
    program=PROGRAM,
    missing=_MISSING,
    reloading=_new_class,
    poison=_spoil_certificate,
    differences={
        "test_first_message_in_many_records_is_read": (
            "HAProxy finds no server name in a first message of several TLS records: the host is closed to it"
        ),
        "test_safe_request_outlives_any_number_of_stale_connections": (
            "HAProxy takes each try's connection from the pool, and closes the client's when tries are used up"
        ),
    },
)
