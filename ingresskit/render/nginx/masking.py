"""Files of hosts as they may be shown: without the values of header fields that policies set."""

from __future__ import annotations

import re
from typing import Final

from ingresskit.graph.dump import HIDDEN

__all__ = ["masked_fields"]

# The writer puts a directive on a line of its own and quotes every `Value`. A lone variable is ours: the
# dollar of a policy's value is written as a variable too, and says nothing alone.
_FIELD: Final = re.compile(
    rb"""^( *(?:proxy_set_header|add_header) (?:[^ "]+|"(?:[^"\\]|\\.)*") )"(?!\$\{\w+\}")(?:[^"\\]|\\.)*\"""",
    re.MULTILINE,
)


def masked_fields(text: bytes) -> bytes:
    """The text of a file of a host with `HIDDEN` for each value of a header field that a policy sets."""
    return _FIELD.sub(rb'\1"' + HIDDEN.encode() + b'"', text)
