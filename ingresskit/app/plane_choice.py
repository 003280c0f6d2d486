"""The plane for each proxy that ``--renderer`` names.

Its file is loaded when it is asked for: on an edge node every megabyte counts. To add a proxy, add a file
with its plane, and a line in `prepared`.
"""

from __future__ import annotations

from ingresskit.app.planes import Plane, Setting

__all__ = ["prepared"]


async def prepared(setting: Setting, *, previewing: bool = False) -> Plane:
    """The plane that the flags ask for.

    Raises:
        ApplyError: Its program is asked what it can do, and cannot be. For a preview the oldest that would do
            is meant then.
    """
    match setting.flags.renderer:
        case "haproxy":
            from ingresskit.app.haproxy import HaproxyPlane

            return HaproxyPlane(setting)
        case "nginx":
            from ingresskit.app.nginx import prepared_nginx

            return await prepared_nginx(setting, previewing=previewing)
        case _:
            if not previewing and setting.flags.workers != 1:
                from ingresskit.app.workers import WorkersPlane, worker_count

                if (count := worker_count(setting.flags.workers)) > 1:
                    return WorkersPlane(setting, count)
            from ingresskit.app.inprocess import InProcessPlane

            return InProcessPlane(setting)
