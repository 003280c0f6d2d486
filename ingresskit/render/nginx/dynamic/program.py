"""The Lua program of the dynamic mode and its settings: the same for every graph.

The program is fixed text that ships with the package (``lua/``). It serves rows, see
`ingresskit.render.nginx.dynamic.rows`; ``settings.json`` holds what the operator decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from ingresskit.render.files import RenderedFile
from ingresskit.render.nginx.addresses import address_ranges
from ingresskit.render.nginx.dynamic.rows import to_json
from ingresskit.render.nginx.settings import NginxSettings

__all__ = ["program_files", "program_settings"]


@cache
def program_files() -> tuple[RenderedFile, ...]:
    """The program: the files of ``lua/``, sorted by path."""
    return tuple(_walk(files("ingresskit.render.nginx") / "lua", "lua"))


def _walk(folder: Traversable, path: str) -> Iterator[RenderedFile]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from _walk(item, f"{path}/{item.name}")
        elif item.name.endswith(".lua"):
            yield RenderedFile.text(f"{path}/{item.name}", item.read_text(encoding="ascii"))


def program_settings(settings: NginxSettings) -> bytes:
    """``settings.json``: what the program is told by the operator."""
    return to_json(
        {
            "trusted": address_ranges(settings.trusted_proxies),
            "proxy_protocol": settings.proxy_protocol,
            "redirect_port": settings.tls_port or 0,
            "own_redirects": {str(port): secure for port, secure in settings.own_redirects},
            "public_http": settings.public_http_port,
            "public_https": settings.public_https_port or 443,
            "underscores": settings.underscores_in_headers,
            "log": bool(settings.access_log),
            "connect": settings.connect_timeout / timedelta(seconds=1),
            "read": settings.read_timeout / timedelta(seconds=1),
            "send": settings.send_timeout / timedelta(seconds=1),
            "max_header": settings.max_header_bytes,
            **({"affinity_key": settings.affinity_key.hex()} if settings.affinity_key else {}),
        }
    )
