"""What Python does not say to the C library's allocator. Does nothing where that is not glibc's."""

from __future__ import annotations

import ctypes
import os
from typing import Final

__all__ = ["map_large_buffers", "return_free_memory"]

# Source: malloc.h of glibc; mallopt(3), malloc_trim(3).
_MMAP_THRESHOLD: Final = -3
_LARGE_BYTES: Final = 256 * 1024


def map_large_buffers() -> None:
    """Map each buffer of 256 KB or more by itself, now and later, and unmap it when it is freed.

    uvloop has such a buffer for each TLS connection, and touches a page or two of it. glibc maps these, too,
    until the first one is freed: then it takes them out of the heap, from pages that were used before.
    asyncio's own loop makes such a buffer for each read, and is slower with this.
    """
    if (library := _library()) is not None:
        library.mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)


def return_free_memory() -> None:
    """Give pages of the heap that hold nothing back to the operating system. Takes milliseconds."""
    if (library := _library()) is not None:
        library.malloc_trim(0)


def _library() -> ctypes.CDLL | None:
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return None
        return ctypes.CDLL(None)
    except (OSError, ValueError):
        return None
