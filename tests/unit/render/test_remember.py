"""Things are made again only for other objects."""

from __future__ import annotations

import pytest

from ingresskit.render import Remembered


class Maker:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, value: list[str]) -> str:
        self.seen += value
        if "bad" in value:
            raise ValueError(value)
        return value[0].upper()


def test_only_another_object_is_made_again() -> None:
    maker = Maker()
    made: Remembered[str, list[str], str] = Remembered(maker)
    one, two = ["one"], ["two"]

    first = made.follow({"a": one, "b": two})
    second = made.follow({"a": one, "b": ["two"]})

    assert first == second == {"a": "ONE", "b": "TWO"}
    assert maker.seen == ["one", "two", "two"]
    assert made.changed == ("b",)


def test_nothing_new_gives_the_same_mapping() -> None:
    made: Remembered[str, list[str], str] = Remembered(Maker())
    one, two = ["one"], ["two"]

    first = made.follow({"a": one, "b": two})

    assert made.follow({"a": one, "b": two}) is first
    assert (made.changed, made.gone) == ((), ())


def test_a_key_that_is_gone_is_forgotten() -> None:
    maker = Maker()
    made: Remembered[str, list[str], str] = Remembered(maker)
    one = ["one"]
    first = made.follow({"a": one, "b": ["two"]})

    second = made.follow({"a": one})
    assert (second, made.gone) == ({"a": "ONE"}, ("b",))
    made.follow({"a": one, "b": ["again"]})

    assert first == {"a": "ONE", "b": "TWO"}
    assert maker.seen == ["one", "two", "again"]


def test_another_order_is_followed_without_making_anything() -> None:
    maker = Maker()
    made: Remembered[str, list[str], str] = Remembered(maker)
    one, two = ["one"], ["two"]
    made.follow({"a": one, "b": two})

    assert list(made.follow({"b": two, "a": one})) == ["b", "a"]
    assert maker.seen == ["one", "two"]


def test_what_raises_leaves_what_was_remembered() -> None:
    maker = Maker()
    made: Remembered[str, list[str], str] = Remembered(maker)
    one = ["one"]
    first = made.follow({"a": one})

    with pytest.raises(ValueError, match="bad"):
        made.follow({"a": ["new"], "b": ["bad"]})

    assert made.follow({"a": one}) is first
