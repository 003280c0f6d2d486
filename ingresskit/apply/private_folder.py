"""Folders that hold the state of a proxy program: keys, configurations, and the socket that changes them.

Who can write there decides what is served, so such a folder is used only when it is its owner's alone.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ingresskit.errors import ApplyError

__all__ = ["private_folder"]


def private_folder(path: Path) -> None:
    """Make sure that *path* is a folder that only this user can open. Blocks.

    The folder is made when it is not there, and its mode is set to 0700. Parents that are not there are
    made too; those that are there are not judged.

    Raises:
        ApplyError: *path* is a symbolic link, no folder, belongs to another user, or its mode cannot
            be set.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # By descriptor, and without following a link: nobody can swap the folder between check and use.
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        reason = "it is a symbolic link" if path.is_symlink() else exc.strerror or str(exc)
        raise ApplyError(f"the state folder {path} cannot be used: {reason}") from exc
    try:
        found = os.fstat(folder)
        if found.st_uid != os.geteuid():
            raise ApplyError(
                f"the state folder {path} cannot be used: it is owned by user {found.st_uid}, "
                f"not to {os.geteuid()}, who runs the controller"
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            os.fchmod(folder, 0o700)
            if stat.S_IMODE(os.fstat(folder).st_mode) != 0o700:
                raise ApplyError(f"the state folder {path} cannot be used: its mode cannot be set to 0700")
    except OSError as exc:
        raise ApplyError(f"the state folder {path} cannot be used: {exc.strerror or exc}") from exc
    finally:
        os.close(folder)
