"""Label selectors, as the Kubernetes API and ``kubectl -l`` write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ingresskit.errors import ConfigurationError

__all__ = ["LabelSelector", "Operator", "Requirement"]

_KEY = r"(?:[a-z0-9.-]{1,253}/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?"
_EQUALITY = re.compile(rf"(?P<key>{_KEY})\s*(?P<op>==|=|!=)\s*(?P<value>{_VALUE})")
_SET = re.compile(rf"(?P<key>{_KEY})\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)")
_EXISTS = re.compile(rf"(?P<op>!?)\s*(?P<key>{_KEY})")
_COMMA_OUTSIDE_PARENTHESES = re.compile(r",(?![^(]*\))")


class Operator(StrEnum):
    """How a requirement compares. Names as in the API's ``matchExpressions``."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on labels. NotIn also holds for an object without the label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether *labels* satisfy it."""
        match self.operator:
            case Operator.IN:
                return labels.get(self.key) in self.values
            case Operator.NOT_IN:
                return labels.get(self.key) not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Conditions on labels, all of which must hold; ``str()`` gives its text."""

    requirements: tuple[Requirement, ...]
    text: str

    @classmethod
    def parse(cls, text: str) -> LabelSelector:
        """Read a selector as ``kubectl -l`` takes it: ``app=shop,tier in (web, api),!legacy``.

        Raises:
            ConfigurationError: It is empty, or a part is not a condition.

        Source: Kubernetes documentation, "Labels and Selectors".
        """
        parts = [part.strip() for part in _COMMA_OUTSIDE_PARENTHESES.split(text)]
        return cls(tuple(_requirement(part, text) for part in parts), text.strip())

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether *labels* satisfy all conditions."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return self.text


def _requirement(part: str, text: str) -> Requirement:
    if found := _EQUALITY.fullmatch(part):
        operator = Operator.NOT_IN if found["op"] == "!=" else Operator.IN
        return Requirement(found["key"], operator, frozenset({found["value"]}))
    if found := _SET.fullmatch(part):
        values = [value.strip() for value in found["values"].split(",")]
        if all(re.fullmatch(_VALUE, value) for value in values):
            operator = Operator.NOT_IN if found["op"] == "notin" else Operator.IN
            return Requirement(found["key"], operator, frozenset(values))
    elif found := _EXISTS.fullmatch(part):
        return Requirement(found["key"], Operator.DOES_NOT_EXIST if found["op"] else Operator.EXISTS)
    raise ConfigurationError(f"{part!r} in the label selector {text!r} is not a condition such as app=shop")
