"""What nginx is told on its command line, whenever it runs: as a server, and to check a configuration."""

from __future__ import annotations

import grp
import os
import pwd

__all__ = ["main_directives"]


def main_directives() -> str:
    """What must hold however nginx was configured: it stays in the foreground, and reads what we write.

    A master that is root would give its folders and workers to ``nobody``, who may read neither program nor
    certificates; without the capabilities for that (``CHOWN``, ``SETUID``, ``SETGID``) it would not start,
    nor its checker. The remedy is not to be root; that its workers are what it is, is the next best.
    """
    if os.geteuid() != 0:
        return "daemon off;"
    return f"daemon off; user {pwd.getpwuid(0).pw_name} {grp.getgrgid(os.getegid()).gr_name};"
