"""What one nginx program can do, by its version and its modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["OLDEST_VERSION", "SAFE_VERSIONS", "Capabilities", "Version"]

Version = tuple[int, int, int]
"""``(1, 30, 4)``."""

OLDEST_VERSION: Final[Version] = (1, 22, 0)
"""What the configuration is written for at least."""

SAFE_VERSIONS: Final[tuple[Version, ...]] = ((1, 30, 4), (1, 31, 3))
"""The first version of each branch without a known fault that a request can reach.

Source: nginx.org/en/security_advisories.html as of July 2026: CVE-2026-42945 and CVE-2026-9256 (rewrite),
CVE-2026-42533 (map), CVE-2026-42926 and CVE-2026-1642 (proxying).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an nginx program can do. Probing one is `ingresskit.apply.nginx`'s part.

    Attributes:
        version: Of the program.
        realip: Built with the real-IP module, which trusted proxies and the PROXY protocol need.
        stub_status: Built with the status module.
        lua: The Lua module loads: the dynamic mode can be had.
        stream: Connections can be passed on by their server name.
        stream_modules: Absolute paths for ``load_module`` that this needs; empty where it is built in.
        load_modules: Absolute paths for ``load_module``, in the order to load them.
        patched: The distribution mends faults without a new version number, as Debian does.
    """

    version: Version = OLDEST_VERSION
    realip: bool = True
    stub_status: bool = True
    lua: bool = False
    stream: bool = False
    stream_modules: tuple[str, ...] = ()
    load_modules: tuple[str, ...] = ()
    patched: bool = False

    @property
    def long_locations(self) -> bool:
        """Whether a location may be longer than 255 octets: before, nginx took another one instead."""
        return self.version >= (1, 23, 4)

    @property
    def resolve(self) -> bool:
        """Whether a server of an upstream may be a name that is looked up again and again."""
        return self.version >= (1, 27, 3)

    @property
    def keepalive_min_timeout(self) -> bool:
        """Whether idle client connections outlive a reload for a moment, so that none is lost to it."""
        return self.version >= (1, 27, 4)

    @property
    def follows_names(self) -> bool:
        """Whether endpoints can change without a reload, and reloads for the rest lose no request."""
        return self.resolve and self.keepalive_min_timeout

    @property
    def certificate_cache(self) -> bool:
        """Whether certificates that are named by variables are kept between handshakes."""
        return self.version >= (1, 27, 4)

    @property
    def version_text(self) -> str:
        """``"1.30.4"``."""
        return ".".join(map(str, self.version))

    def warning(self) -> str:
        """Why this program should be replaced, one sentence for the log; empty when it need not be."""
        if any(self.version >= safe and self.version[:2] == safe[:2] for safe in SAFE_VERSIONS):
            return ""
        if self.version > max(SAFE_VERSIONS):
            return ""
        safe = " or ".join(".".join(map(str, version)) for version in SAFE_VERSIONS)
        text = f"nginx {self.version_text} is older than {safe}, which mend faults that requests can reach"
        if self.patched:
            return f"{text}; see that its distribution has mended them too"
        return text
