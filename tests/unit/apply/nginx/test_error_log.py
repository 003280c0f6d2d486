"""What of nginx's error log reaches the controller's log."""

from __future__ import annotations

import pytest

from ingresskit.apply.nginx.error_log import ErrorMessages

REFUSED = (
    "2026/11/30 09:47:24 [error] 31188#31188: *30 connect() failed (111: Connection refused) while connecting "
    'to upstream, client: 127.0.0.1, server: , request: "GET /secret HTTP/1.1", '
    'upstream: "http://127.0.0.1:37945/secret", host: "web.example"'
)
INVALID = (
    '2026/11/30 09:47:24 [error] 31188#31188: *31 upstream sent invalid header: "x \x1b secret: 1" while '
    'reading response header from upstream, client: 127.0.0.1, server: , request: "GET / HTTP/1.1", '
    'upstream: "http://[::1]:80/", host: "web.example"'
)
FORBIDDEN = (
    "2026/11/30 09:47:24 [error] 31188#31188: *32 client intended to send too large body: 9 bytes, "
    'client: 127.0.0.1, server: , request: "POST / HTTP/1.1", host: "web.example"'
)
LUA = (
    "2026/11/30 09:47:24 [error] 31188#31188: *13 failed to run balancer_by_lua*: "
    '/run/lua/ingresskit/balancer.lua:51: variable "odd" cannot be assigned a value'
)

OWN = (
    "2026/11/30 09:47:24 [error] 31188#31188: *14 [lua] handlers.lua:58: prepare(): a row names later, "
    'which is not known; its paths respond 503, client: 127.0.0.1, server: , request: "GET /secret HTTP/1.1"'
)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_message_about_an_endpoint_has_its_address_and_the_cause(caplog: pytest.LogCaptureFixture) -> None:
    ErrorMessages().take([REFUSED], 0.0)

    (message,) = logged(caplog)
    assert message.startswith("nginx reported an error endpoint=127.0.0.1:37945 ")
    assert message.endswith('reason="connect() failed (111: Connection refused) while connecting to upstream"')


def test_endpoint_is_unreachable_for_half_a_minute_after_its_last_failed_connection() -> None:
    messages = ErrorMessages()

    messages.take([REFUSED, INVALID, LUA], 0.0)
    first = messages.unreachable
    messages.take([REFUSED], 20.0)
    messages.take([], 49.0)
    later = messages.unreachable
    messages.take([], 50.0)

    assert first == later == ("127.0.0.1:37945",)
    assert messages.unreachable == ()


def test_text_of_clients_and_endpoints_stays_out(caplog: pytest.LogCaptureFixture) -> None:
    ErrorMessages().take([REFUSED, INVALID], 0.0)

    assert "upstream sent invalid header" in caplog.text
    assert "[::1]:80" in caplog.text
    assert "secret" not in caplog.text


def test_fault_of_the_program_is_logged_without_an_endpoint(caplog: pytest.LogCaptureFixture) -> None:
    ErrorMessages().take([LUA], 0.0)

    assert len(logged(caplog)) == 1
    assert "balancer.lua:51" in caplog.text


def test_message_of_the_program_is_logged_without_an_endpoint(caplog: pytest.LogCaptureFixture) -> None:
    ErrorMessages().take([OWN], 0.0)

    assert len(logged(caplog)) == 1
    assert "a row names later" in caplog.text
    assert "secret" not in caplog.text


def test_faults_of_clients_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    ErrorMessages().take([FORBIDDEN, REFUSED.replace("[error]", "[warn]"), "nonsense", ""], 0.0)

    assert logged(caplog) == []


def test_each_endpoint_and_cause_is_logged_once_a_minute_with_the_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    messages = ErrorMessages()
    messages.take([REFUSED] * 5, 0.0)
    messages.take([REFUSED], 59.0)
    first = len(logged(caplog))
    messages.take([REFUSED], 61.0)

    assert first == 1
    assert logged(caplog)[1:] == [f"{logged(caplog)[0]} repeated=5"]


def test_a_minute_has_so_many_messages_and_says_how_many_it_left_out(caplog: pytest.LogCaptureFixture) -> None:
    messages = ErrorMessages()
    messages.take([REFUSED.replace("37945", str(1000 + port)) for port in range(100)], 0.0)
    first = len(logged(caplog))
    messages.take([REFUSED], 61.0)

    assert first == 60
    assert logged(caplog)[60] == "messages of nginx left out count=40"
