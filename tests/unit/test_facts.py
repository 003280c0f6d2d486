"""Log messages that stand alone."""

from __future__ import annotations

import ast
import io
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

import ingresskit
from ingresskit.facts import FactMessage, fact_logger, fact_text

PACKAGE = Path(ingresskit.__file__).parent


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        if name != "facts.py" and not name.startswith("testing/"):
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def test_a_program_with_basic_logging_reads_words_and_facts() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    logger = logging.getLogger("tests.facts")
    logger.addHandler(handler)

    fact_logger("tests.facts").warning("host lost", extra={"host": "shop.test", "holder": "b", "since": None})
    logger.removeHandler(handler)

    assert stream.getvalue() == "WARNING:tests.facts:host lost host=shop.test holder=b\n"


def test_facts_are_attributes_of_the_record_too(caplog: pytest.LogCaptureFixture) -> None:
    fact_logger("tests.facts").warning("host lost", extra={"host": "shop.test"})

    (record,) = caplog.records
    assert vars(record)["host"] == "shop.test"
    assert isinstance(record.msg, FactMessage)
    assert (record.msg.words, dict(record.msg.facts)) == ("host lost", {"host": "shop.test"})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", " a=plain"),
        ("", ' a=""'),
        ("two words", ' a="two words"'),
        ('say "x"', " a=\"say 'x'\""),
        ("line\nforged", ' a="line\\nforged"'),
        (7, " a=7"),
        (None, ""),
    ],
)
def test_a_fact_is_one_word_or_quoted_and_never_a_line_of_its_own(value: object, text: str) -> None:
    assert fact_text({"a": value}) == text


def test_a_message_passes_between_processes() -> None:
    message = FactMessage("host lost", {"host": "shop.test"})

    assert str(pickle.loads(pickle.dumps(message))) == str(message)  # noqa: S301 - our own


def test_no_room_has_a_logger_whose_facts_are_not_in_its_messages() -> None:
    plain = [
        name
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "getLogger"
    ]

    assert plain == []


# Each says all there is to say, of the one thing that it can be about.
COMPLETE = {
    "another process reloaded haproxy, loading it again",
    "a trusted proxy does not send X-Forwarded-Proto; redirects to HTTPS may loop",
    "the controller before this one has ended already",
    "another controller gave up taking over",
    "no EndpointSlices can be read, following Endpoints",
}


def test_what_went_wrong_is_said_with_what_it_is_about() -> None:
    """An exception states itself; everything else that somebody should act on names its facts."""
    bare = {
        node.args[0].value
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"warning", "error", "critical"}
        and ast.unparse(node.func.value).endswith("_logger")
        and isinstance(node.args[0], ast.Constant)
        and "extra" not in {keyword.arg for keyword in node.keywords}
    }

    assert bare == COMPLETE


def test_an_exception_is_in_the_line_and_not_only_in_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as exc:
        fact_logger("tests.facts").exception("a filter failed", extra={"host": "shop.test"})
        error = exc
    fact_logger("tests.facts").error("task died", exc_info=error)
    fact_logger("tests.facts").error("task died", extra={"reason": "mine"}, exc_info=error)

    assert [record.getMessage() for record in caplog.records] == [
        'a filter failed host=shop.test reason="ValueError: two lines"',
        'task died reason="ValueError: two lines"',
        "task died reason=mine",
    ]
    assert vars(caplog.records[0])["reason"] == "ValueError: two lines"


def test_messages_are_fixed_words_without_arguments() -> None:
    levels = {"debug", "info", "warning", "error", "exception", "critical"}
    calls = [
        (name, node)
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in levels
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "_logger"
    ]

    assert len(calls) > 50
    assert [name for name, call in calls if len(call.args) != 1] == []
