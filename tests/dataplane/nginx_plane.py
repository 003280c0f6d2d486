"""nginx in its modes, as planes; ``$NGINX`` names another one than that on the path."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import anyio

from ingresskit.apply import ProcessSettings
from ingresskit.apply.delegate import Delegate, DelegateOptions, DelegatingApplier
from ingresskit.apply.nginx import Nginx, NginxApplier, NginxProcessSettings
from ingresskit.apply.nginx.probe import find_nginx
from ingresskit.filters import BUILTIN_EFFECTS, PolicyEffects
from ingresskit.render import Renderer
from ingresskit.render.delegate import Delegated, DelegateSettings, DelegatingRenderer
from ingresskit.render.nginx import Mode, NginxArtifact, NginxRenderer, NginxSettings
from ingresskit.testing.loopback import Address
from ingresskit.testing.planes import LivePlane, Plane, PlaneSettings
from tests.dataplane.kind import Kind, Promise, located

DELEGATE_OPTIONS = DelegateOptions(
    settle=timedelta(milliseconds=200), process=ProcessSettings(restart_first=timedelta(milliseconds=10))
)
PROGRAM, _MISSING = located(os.environ.get("NGINX", "nginx"))


AFFINITY_KEY = b"a key that all replicas have"


@asynccontextmanager
async def open_nginx(
    settings: PlaneSettings, mode: Mode, renderer: type[NginxRenderer] = NginxRenderer
) -> AsyncGenerator[LivePlane[NginxArtifact]]:
    nginx_settings = NginxSettings(
        affinity_key=AFFINITY_KEY,
        state=str(settings.state_dir),
        http=(_listen(settings.http),),
        https=(_listen(settings.https),),
        underscores_in_headers=settings.underscores_in_headers,
        public_http_port=settings.public_http_port,
        public_https_port=settings.public_https_port,
        trusted_proxies=settings.trusted_proxies,
        proxy_protocol=settings.proxy_protocol,
        workers=2,
        http2=True,
    )
    # Tests ask for one new thing after another, and need not wait as tenants must.
    process = NginxProcessSettings(
        program=settings.program or PROGRAM, reload_gap=timedelta(0), reload_timeout=timedelta(seconds=15)
    )
    async with Nginx(nginx_settings, process) as nginx:
        yield LivePlane[NginxArtifact](
            name=f"nginx-{mode}",
            renderer=renderer(nginx_settings, nginx.capabilities, mode=mode),
            applier=NginxApplier(nginx),
            http=settings.http,
            https=settings.https,
            counts=nginx.statistics,
            processes=lambda: nginx.workers().serving | ({nginx.pid} if nginx.pid else frozenset[int]()),
        )


def open_nginx_dynamic(settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
    """nginx in its dynamic mode, and its delegate."""
    return open_delegated_nginx(settings, Mode.DYNAMIC)


def open_nginx_static(settings: PlaneSettings) -> AbstractAsyncContextManager[Plane]:
    """nginx in its static mode, and its delegate."""
    return open_delegated_nginx(settings, Mode.STATIC)


@asynccontextmanager
async def open_delegated_nginx(
    settings: PlaneSettings,
    mode: Mode,
    *,
    effects: PolicyEffects = BUILTIN_EFFECTS,
    front: Callable[[Renderer[NginxArtifact]], Renderer[NginxArtifact]] = lambda made: made,
) -> AsyncGenerator[Plane]:
    """nginx and its delegate.

    Args:
        settings: As of every plane.
        mode: How changes reach nginx.
        effects: What policies do in the delegate.
        front: Makes another renderer of nginx's.
    """
    delegate = Delegate(
        DelegateSettings(
            ports_address="127.0.0.1",
            https_port=settings.https[1],
            public_http_port=settings.public_http_port,
            public_https_port=settings.public_https_port,
        ),
        state=settings.state_dir / "delegate",
        options=DELEGATE_OPTIONS,
    )
    async with delegate, open_nginx(settings, mode) as plane:
        yield LivePlane[Delegated[NginxArtifact]](
            name=plane.name,
            renderer=DelegatingRenderer(front(plane.renderer), str(delegate.socket), effects=effects),
            applier=DelegatingApplier(plane.applier, delegate),
            http=plane.http,
            https=plane.https,
            counts=plane.counts,
            processes=lambda: plane.pids() | ({delegate.pid} if delegate.pid else frozenset[int]()),
        )


def _listen(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def why_nothing_is_passed_on() -> str:
    """Why this nginx passes no connections on; empty when it does."""
    if _MISSING:
        return _MISSING
    return "" if anyio.run(find_nginx, PROGRAM).capabilities.stream else "nginx has no stream module here"


def _why_no_dynamic_mode() -> str:
    return _MISSING or anyio.run(find_nginx, PROGRAM).note


_NO_PASSING_BEHIND_PROXIES = {
    "test_request_over_the_tls_of_another_host_is_sent_away": (
        "nginx speaks no HTTP/2 here, whose clients alone share connections between hosts"
    ),
    "test_address_in_a_proxy_header_counts": "nginx passes no connections on where PROXY headers are read",
}
_NO_PATH = {
    f"test_options_of_a_url_without_a_path_is_answered_by_the_proxy[{target}]": (
        "nginx makes / of a URL without a path, and asks its rules"
    )
    for target in ("http://web.example", "HTTP://web.example")
}

NGINX_DYNAMIC = Kind(
    name="nginx-dynamic",
    open=open_nginx_dynamic,
    program=PROGRAM,
    missing=_why_no_dynamic_mode(),
    differences=_NO_PATH | _NO_PASSING_BEHIND_PROXIES,
)


def _spoil_file(whole: Delegated[NginxArtifact], host: str) -> Delegated[NginxArtifact]:
    """A line at the end of the host's server that nginx does not know, where the host asked for one."""
    artifact = whole.front
    file = artifact.hosts[host]
    content, brace, rest = file.content.rpartition(b"}")
    spoiled = replace(file, content=content + b"    spoiled on;\n" + brace + rest)
    return replace(whole, front=replace(artifact, hosts={**artifact.hosts, host: spoiled}))


NGINX_STATIC = Kind(
    name="nginx-static",
    open=open_nginx_static,
    # Before 1.27.4 nginx closes idle connections at a reload; a request may be on its way there.
    promise=Promise(reloads=None, may_fail=True),
    program=PROGRAM,
    missing=_MISSING,
    reloading=lambda number: {"body-limit": f"{1000 + number}k"},
    poison=_spoil_file,
    differences=_NO_PATH
    | _NO_PASSING_BEHIND_PROXIES
    | {
        "test_doubtful_answer_never_reaches_the_next_client[another protocol]": (
            "nginx takes what does not begin as HTTP for an answer of HTTP/0.9, and has no word against that"
        ),
        "test_doubtful_answer_never_reaches_the_next_client[switch nobody asked for]": (
            "nginx passes on a 101 that nobody asked for, and closes"
        ),
        "test_fields_named_by_connection_end_here_in_any_case": (
            "nginx cannot remove fields by names that it learns from the request"
        ),
        "test_every_name_that_a_field_may_have_arrives": (
            "nginx cannot drop the doubtful names among those with punctuation, so it drops them all"
        ),
        "test_names_with_underscores_pass_where_the_operator_lets_them": (
            "nginx alone cannot drop the doubtful names among those with punctuation, and refuses the setting"
        ),
        "test_paths_are_read_as_the_operator_decides": "its maps bring paths into the default normal form only",
        **dict.fromkeys(
            (
                "test_unknown_version_is_refused_before_an_endpoint_hears_of_it[HTTP/1.2]",
                "test_unknown_version_is_refused_before_an_endpoint_hears_of_it[HTTP/1.7]",
            ),
            "nginx takes any minor version for 1.1",
        ),
        "test_options_of_the_server_in_general_is_answered_by_the_proxy": (
            "nginx reads no such target, and keeps the status 400 of its own errors"
        ),
    },
)
