"""YAML as manifests are written: read safely, bounded, and the way kubectl reads it.

PyYAML only splits the text into events here; values are built from the events by this file. Its own
constructors would turn dates into objects, ``12:30`` into the number 750, let the last of two equal
keys win, and expand aliases without a bound.

Building needs no recursion, so that a hostile text can exhaust neither the stack nor, by way of
the budget, the memory.
"""

from __future__ import annotations

import json
import re
from typing import Final, NoReturn, Protocol, cast

import yaml

from ingresskit._quoting import quoted

__all__ = ["YamlFault", "load_yaml"]

_MOST_LEVELS: Final = 100
_TOO_DEEP: Final = f"is nested more than {_MOST_LEVELS} levels deep"
# Every value costs this much and its length. A full file of ordinary manifests stays below the
# budget; a file of nothing but one-letter values or of aliases to aliases is refused within seconds.
_COST_OF_VALUE: Final = 32
_BUDGET: Final = 64 * 1024 * 1024

_LITERALS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_NUMBER_STARTS: Final = frozenset("+-.0123456789")
_INTEGER: Final = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[1-9][0-9_]*|0)")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LONGEST_NUMBER: Final = 64

_CORE_TAG: Final = "tag:yaml.org,2002:"
_TAGGED_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}


class YamlFault(ValueError):
    """Raised when a text is no YAML that a manifest may be. Its text is a clause.

    Attributes:
        line: The line at fault, counted from 0 at the start of the text; ``None`` when unknown.
    """

    def __init__(self, reason: str, line: int | None) -> None:
        super().__init__(reason)
        self.line = line


def load_yaml(text: bytes) -> list[object]:
    """The documents in a text, as JSON would give them: dicts with text keys, lists, text, numbers.

    Args:
        text: UTF-8.

    Returns:
        One value per document, ``None`` for an empty one. A value that an alias repeats is the same
        object in each place: treat all of it as read-only.

    Raises:
        YamlFault: It is not YAML; a map has a key twice or a key that is itself a list or map; a tag is
            not one of YAML's own plain types; it is nested more than 100 levels deep; an alias stands
            inside what it names; or it is too large once its aliases are written out.

    Source: YAML 1.1 with the scalars of kubectl's reader: ``yes`` and ``on`` are booleans, dates and
        ``12:30`` are text, ``0777`` and ``0o777`` are octal, keys that are not text become text.
    """
    builder = _Builder(text)
    try:
        return builder.build()
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        reason = " ".join(part for part in (exc.context, exc.problem) if part)
        # What is left open is found out at the end: the last line that says something is the nearest.
        line = min(mark.line, text.rstrip().count(b"\n")) if mark else None
        if "nesting" in reason:
            # libyaml reads ahead of its events, and from 0.2.6 on has a limit of its own.
            raise YamlFault(_TOO_DEEP, line) from None
        raise YamlFault(f"is not YAML: {reason}", line) from None
    except yaml.YAMLError as exc:
        # The reader of the library found a byte that no YAML text may hold.
        reason = getattr(exc, "reason", "it cannot be read")
        raise YamlFault(f"is not YAML: {reason}", _line_of(text, getattr(exc, "position", None))) from None
    finally:
        builder.close()


def _line_of(text: bytes, position: object) -> int | None:
    return text.count(b"\n", 0, position) if isinstance(position, int) else None


class _Events(Protocol):
    def get_event(self) -> yaml.Event: ...
    def dispose(self) -> None: ...


class _Frame:
    """A list or map that is being filled."""

    __slots__ = ("anchor", "key", "merged", "start", "value", "wants_key")

    def __init__(self, value: dict[str, object] | list[object], start: int, anchor: str | None) -> None:
        self.value = value
        self.start = start
        self.anchor = anchor
        self.wants_key = isinstance(value, dict)
        self.key: str | None = ""
        """The key whose value comes next; ``None`` for the merge key ``<<``."""
        self.merged: list[dict[str, object]] | None = None


class _Builder:
    """Builds values from events; holds what has been seen of the document so far."""

    def __init__(self, text: bytes) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._events = cast(_Events, loader(text))
        self._frames: list[_Frame] = []
        self._anchors: dict[str, tuple[object, int]] = {}
        self._open_anchors: set[str] = set()
        self._spent = 0
        self._line = 0

    def close(self) -> None:
        """Let go of the text."""
        self._events.dispose()

    def build(self) -> list[object]:
        documents: list[object] = []
        root: object = None
        while True:
            event = self._events.get_event()
            kind = type(event)
            if kind is yaml.ScalarEvent:
                scalar = cast(yaml.ScalarEvent, event)
                self._at(event)
                self._spend(_COST_OF_VALUE + len(scalar.value))
                value = self._scalar(scalar)
                if scalar.anchor:
                    self._anchors[scalar.anchor] = (value, _COST_OF_VALUE + len(scalar.value))
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._open(cast(yaml.CollectionStartEvent, event))
                continue
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._at(event)
                value = self._closed()
            elif kind is yaml.AliasEvent:
                self._at(event)
                value = self._alias(cast(yaml.AliasEvent, event).anchor or "")
            elif kind is yaml.DocumentStartEvent:
                self._anchors.clear()
                root = None
                continue
            elif kind is yaml.DocumentEndEvent:
                documents.append(root)
                continue
            elif kind is yaml.StreamEndEvent:
                return documents
            else:
                continue
            if self._frames:
                self._place(self._frames[-1], value)
            else:
                root = value

    def _at(self, event: yaml.Event) -> None:
        if event.start_mark is not None:
            self._line = event.start_mark.line

    def _fault(self, reason: str) -> NoReturn:
        raise YamlFault(reason, self._line)

    def _spend(self, cost: int) -> None:
        self._spent += cost
        if self._spent > _BUDGET:
            self._fault("is too large: it holds too many values, or its aliases repeat too much")

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        self._at(event)
        if len(self._frames) >= _MOST_LEVELS:
            self._fault(_TOO_DEEP)
        is_map = type(event) is yaml.MappingStartEvent
        if event.tag not in (None, "!", _CORE_TAG + ("map" if is_map else "seq")):
            self._fault(f"has the tag {quoted(event.tag, 60)}, which no manifest needs")
        anchor = event.anchor
        if anchor:
            self._open_anchors.add(anchor)
        value: dict[str, object] | list[object] = {} if is_map else []
        self._frames.append(_Frame(value, self._spent, anchor))
        self._spend(_COST_OF_VALUE)

    def _closed(self) -> dict[str, object] | list[object]:
        frame = self._frames.pop()
        value = frame.value
        if frame.merged and isinstance(value, dict):
            # What the map says itself wins, then the first of the maps merged in.
            for source in frame.merged:
                for key, item in source.items():
                    value.setdefault(key, item)
        if frame.anchor:
            self._open_anchors.discard(frame.anchor)
            self._anchors[frame.anchor] = (value, self._spent - frame.start)
        return value

    def _alias(self, anchor: str) -> object:
        if anchor in self._open_anchors:
            self._fault(f"has an alias *{quoted(anchor, 60)} inside what it names")
        if anchor not in self._anchors:
            self._fault(f"has an alias *{quoted(anchor, 60)} that names nothing")
        value, cost = self._anchors[anchor]
        self._spend(cost)
        return value

    def _place(self, frame: _Frame, value: object) -> None:
        held = frame.value
        if isinstance(held, list):
            held.append(value)
        elif frame.wants_key:
            frame.wants_key = False
            if value is _MERGE:
                frame.key = None
                return
            key = value if isinstance(value, str) else self._key(value)
            if key in held:
                self._fault(f"has the key {quoted(key, 60)} twice in one map")
            frame.key = key
        else:
            frame.wants_key = True
            if frame.key is None:
                self._merge(frame, value)
            else:
                held[frame.key] = value

    def _key(self, value: object) -> str:
        if isinstance(value, dict | list):
            self._fault("has a list or a map as the key of a map")
        return json.dumps(value)

    def _merge(self, frame: _Frame, value: object) -> None:
        if frame.merged is not None:
            self._fault("has the key '<<' twice in one map")
        sources = cast("list[object]", value) if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            self._fault("merges ('<<') what is neither a map nor a list of maps")
        frame.merged = cast("list[dict[str, object]]", sources)

    def _scalar(self, event: yaml.ScalarEvent) -> object:
        text, tag = event.value, event.tag
        if tag is None:
            if not event.implicit[0]:
                return text
            if text == "<<" and self._frames and self._frames[-1].wants_key:
                return _MERGE
            return self._plain(text)
        if tag in ("!", _CORE_TAG + "str"):
            return text
        wanted = _TAGGED_TYPES.get(tag.removeprefix(_CORE_TAG)) if tag.startswith(_CORE_TAG) else None
        if wanted is None:
            self._fault(f"has the tag {quoted(tag, 60)}, which no manifest needs")
        value = self._plain(text)
        if type(value) not in wanted:
            self._fault(f"has the tag {quoted(tag, 60)} on {quoted(text, 60)}")
        return value

    def _plain(self, text: str) -> object:
        """The value of a scalar without quotes and tag."""
        if text in _LITERALS:
            return _LITERALS[text]
        if text[0] not in _NUMBER_STARTS:
            return text
        if _INTEGER.fullmatch(text):
            return self._integer(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _SPECIAL_FLOAT.fullmatch(text):
            return float(text.replace(".", "").lower())
        return text

    def _integer(self, text: str) -> int:
        if len(text) > _LONGEST_NUMBER:
            self._fault(f"has a number of more than {_LONGEST_NUMBER} digits")
        digits = text.lower().replace("_", "")
        bare = digits.lstrip("+-")
        if bare.startswith("0") and bare.isdigit() and len(bare) > 1:
            return int(digits, 8)
        try:
            return int(digits, 0)
        except ValueError:
            self._fault(f"has {quoted(text, 60)} tagged as a number, which it is not")


_MERGE: Final = object()
