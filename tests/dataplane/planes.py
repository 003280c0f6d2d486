"""Every kind of proxy there is, each started with its real applier on free ports of this machine."""

from __future__ import annotations

from collections.abc import Mapping

from tests.dataplane.haproxy_plane import HAPROXY, open_haproxy
from tests.dataplane.inprocess_plane import INPROCESS, open_inprocess
from tests.dataplane.kind import Kind
from tests.dataplane.nginx_plane import NGINX_DYNAMIC, NGINX_STATIC, open_nginx_dynamic, open_nginx_static

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (INPROCESS, HAPROXY, NGINX_DYNAMIC, NGINX_STATIC)}
"""By name, those that are not installed here too."""

__all__ = [
    "HAPROXY",
    "INPROCESS",
    "KINDS",
    "NGINX_DYNAMIC",
    "NGINX_STATIC",
    "open_haproxy",
    "open_inprocess",
    "open_nginx_dynamic",
    "open_nginx_static",
]
