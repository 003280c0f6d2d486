"""Browsers that refuse ``SameSite=None``, or take it for ``Strict``.

Source: Chromium, "SameSite Updates: Incompatible Clients".
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["takes_none_for_strict"]

_IOS_12: Final = re.compile(r"\(iP.{1,200}; CPU .{0,50}OS 12[_\d]{0,20}.{0,50}\) AppleWebKit/")
_MAC_10_14: Final = re.compile(r"\(Macintosh;.{0,100}Mac OS X 10_14[_\d]{0,20}.{0,50}\) AppleWebKit/")
_SAFARI: Final = re.compile(r"Version/.{1,50} Safari/")
_EMBEDDED: Final = re.compile(
    r"Mozilla/[.\d]{1,10} \(Macintosh;.{0,100}Mac OS X [_\d]{1,20}\)"
    r" AppleWebKit/[.\d]{1,20} \(KHTML, like Gecko\)"
)
_CHROME: Final = re.compile(r"Chrom[^ /]{1,20}/(\d{1,5})")
_UC: Final = re.compile(r"UCBrowser/(\d{1,5})\.(\d{1,5})\.(\d{1,5})")
_LONGEST: Final = 512


def takes_none_for_strict(user_agent: str) -> bool:
    """Whether a browser with this ``User-Agent`` does not know ``SameSite=None``."""
    agent = user_agent[:_LONGEST]
    if _IOS_12.search(agent):
        return True
    if _MAC_10_14.search(agent) and (
        (_SAFARI.search(agent) and "Chrom" not in agent) or _EMBEDDED.fullmatch(agent)
    ):
        return True
    if (uc := _UC.search(agent)) is not None:
        return tuple(map(int, uc.groups())) < (12, 13, 2)
    chrome = _CHROME.search(agent)
    return chrome is not None and 51 <= int(chrome[1]) < 67
