"""Label and field selectors, as query parameters spell them.

Source: ``k8s.io/apimachinery/pkg/labels/selector.go`` (grammar) and ``pkg/fields/selector.go``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ingresskit.testing.apiserver.manifests import Manifest, look
from ingresskit.testing.apiserver.registry import Resource
from ingresskit.testing.apiserver.statuses import StatusError, bad_request

__all__ = ["Selection", "Term", "parse_fields", "parse_labels"]

_KEY = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_SET = re.compile(rf"\s*({_KEY})\s+(in|notin)\s*\(([^()]*)\)\s*")
_EQUAL = re.compile(rf"\s*({_KEY})\s*(==|=|!=)\s*({_VALUE})\s*")
_ORDER = re.compile(rf"\s*({_KEY})\s*([<>])\s*(-?[0-9]+)\s*")
_EXISTS = re.compile(rf"\s*(!?)\s*({_KEY})\s*")
_VALUE_ALONE = re.compile(_VALUE)


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on one label or field.

    Attributes:
        key: The label, or the path of the field.
        operator: ``"in"``, ``"notin"``, ``"exists"``, ``"absent"``, ``"<"`` or ``">"``.
        values: What it is compared with.
    """

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, value: str | None) -> bool:
        """Whether *value* meets the condition; ``None`` means that there is none."""
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "absent":
                return value is None
            case _:
                if value is None or not re.fullmatch("-?[0-9]+", value):
                    return False
                bound = int(self.values[0])
                return int(value) < bound if self.operator == "<" else int(value) > bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects of a resource a request is about."""

    resource: Resource
    namespace: str | None = None
    name: str | None = None
    labels: tuple[Term, ...] = ()
    fields: tuple[Term, ...] = ()

    @property
    def selects(self) -> bool:
        """Whether anything but the namespace limits it."""
        return bool(self.labels or self.fields or self.name is not None)

    def matches(self, manifest: Manifest) -> bool:
        """Whether an object, in the form of the resource, is one of them."""
        metadata = manifest["metadata"]
        if self.namespace is not None and metadata.get("namespace", "") != self.namespace:
            return False
        if self.name is not None and metadata.get("name") != self.name:
            return False
        found: Mapping[str, str] = metadata.get("labels") or {}
        return all(term.matches(found.get(term.key)) for term in self.labels) and all(
            term.matches(_field(self.resource, manifest, term.key)) for term in self.fields
        )


def _field(resource: Resource, manifest: Manifest, key: str) -> str:
    absent = next((default for path, default in resource.fields if ".".join(path) == key), "")
    value = look(manifest, *key.split("."))
    if value is None:
        return absent
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def parse_labels(text: str) -> tuple[Term, ...]:
    """The conditions of a label selector, all of which must hold; empty for empty text.

    Raises:
        StatusError: 400, it is no selector.
    """
    terms: list[Term] = []
    rest = text
    while rest.strip():
        if found := _SET.match(rest):
            values = tuple(value.strip() for value in found[3].split(","))
            if not all(_VALUE_ALONE.fullmatch(value) for value in values):
                raise _unparsable(text)
            terms.append(Term(found[1], found[2], values))
        elif found := _EQUAL.match(rest):
            terms.append(Term(found[1], "notin" if found[2] == "!=" else "in", (found[3],)))
        elif found := _ORDER.match(rest):
            terms.append(Term(found[1], found[2], (found[3],)))
        elif found := _EXISTS.match(rest):
            terms.append(Term(found[2], "absent" if found[1] else "exists"))
        else:
            raise _unparsable(text)
        rest = rest[found.end() :]
        if rest and (not rest.startswith(",") or not rest[1:].strip()):
            raise _unparsable(text)
        rest = rest[1:]
    return tuple(terms)


def parse_fields(text: str, resource: Resource) -> tuple[Term, ...]:
    r"""The conditions of a field selector; ``\,``, ``\=`` and ``\\`` stand for themselves in values.

    Raises:
        StatusError: 400, it is no selector, or names a field one cannot select by.
    """
    terms: list[Term] = []
    for part in re.findall(r"(?:\\.|[^,\\])+", text):
        found = re.fullmatch(r"([^=!\\]+)(==|=|!=)((?:\\[,=\\]|[^\\=])*)", part)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        key = found[1].strip()
        known = {"metadata.name", "metadata.namespace", *(".".join(path) for path, _ in resource.fields)}
        if key not in known:
            only = ", ".join(f'"{name}"' for name in sorted(known))
            raise bad_request(f'"{key}" is not a known field selector: only {only}')
        value = re.sub(r"\\(.)", r"\1", found[3])
        terms.append(Term(key, "notin" if found[2] == "!=" else "in", (value,)))
    return tuple(terms)


def _unparsable(text: str) -> StatusError:
    return bad_request(f'unable to parse requirement: "{text}" is no label selector')
