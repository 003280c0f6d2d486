"""The delegate beside a program, as the flags ask for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

from ingresskit.app.flags import Address, ports_address
from ingresskit.app.planes import Setting
from ingresskit.apply.delegate import Delegate
from ingresskit.render.access import AccessRecord
from ingresskit.render.delegate import Delegated, DelegateSettings

__all__ = ["front_of", "make_delegate", "opened_beside"]


def make_delegate(
    setting: Setting, record: Callable[[AccessRecord], None] | None, https: Address | None
) -> Delegate:
    """The delegate; nothing of it runs before its context is open and a route needs it.

    Args:
        setting: What the plane is made of.
        record: Gets the records of its requests; ``None``: there is no access log.
        https: Where the program takes TLS.
    """
    flags = setting.flags
    return Delegate(
        DelegateSettings(
            https_port=https.port if https else None,
            public_http_port=flags.public_http_port,
            public_https_port=flags.public_https_port,
            destination_fault=setting.options.destinations.fault,
            ports_address=ports_address(flags),
            trusted_proxies=tuple(flags.trusted_proxy),
        ),
        state=setting.state / "delegate",
        access_log=record,
    )


@asynccontextmanager
async def opened_beside(
    delegate: Delegate | None, program: AbstractAsyncContextManager[object]
) -> AsyncGenerator[object]:
    """*program* with its delegate: there before it, and until after it."""
    if delegate is None:
        async with program:
            yield program
        return
    async with delegate, program:
        yield program


def front_of(artifact: object) -> object:
    """The program's part of an artifact."""
    return cast("Delegated[object]", artifact).front if isinstance(artifact, Delegated) else artifact
