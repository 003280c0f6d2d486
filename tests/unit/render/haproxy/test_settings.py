"""Settings and capabilities refuse what cannot work; the program depends on nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from ingresskit.errors import ConfigurationError
from ingresskit.policies import Algorithm
from ingresskit.policies.values import parse_networks
from ingresskit.render.haproxy import Bind, Capabilities, HaproxySettings, Needs, SlotClass, program
from tests.unit.render.haproxy.grammar import read_program


@pytest.mark.parametrize(
    ("said", "version"),
    [
        pytest.param("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - x\nStatus: y", (2, 6), id="Debian"),
        pytest.param("HAProxy version 3.5-dev5 2026/08/21 - https://haproxy.org/", (3, 5), id="development"),
        pytest.param("3.2.4", (3, 2), id="the number alone"),
        pytest.param("3.0", (3, 0), id="two numbers"),
    ],
)
def test_a_version_is_read_as_haproxy_says_it(said: str, version: tuple[int, int]) -> None:
    assert Capabilities.of(said).version == version


@pytest.mark.parametrize("said", ["", "nginx version: nginx/1.22.1", "HA-Proxy version 1.8.3", "2.4", "x2.6"])
def test_another_program_or_an_old_one_is_refused(said: str) -> None:
    with pytest.raises(ConfigurationError):
        Capabilities.of(said)


_WRONG: Mapping[str, object] = {
    "connect_timeout": timedelta(0),
    "idle_timeout": timedelta(seconds=-1),
    "max_connections": 0,
    "max_headers": 40_000,
    "buffer_bytes": 16_384,
    "max_request_line_bytes": 65_536,
    "proxy_protocol": True,
}


@pytest.mark.parametrize("name", _WRONG)
def test_a_setting_that_cannot_work_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        HaproxySettings(**{name: _WRONG[name]})  # type: ignore[arg-type]


def test_the_order_of_pools_and_slots_changes_nothing() -> None:
    first, second = SlotClass(), SlotClass(algorithm=Algorithm.RANDOM, retries=0)
    names = ("round-robin-1.1", "random-0.1")
    texts = {
        program(
            HaproxySettings(http=(Bind("192.0.2.1", 80),)),
            Capabilities(),
            needs=Needs(),
            pools=dict(pools),
            slots=dict.fromkeys(order, ()),
        )
        for pools in (((first, 2), (second, 1)), ((second, 1), (first, 2)))
        for order in (names, names[::-1])
    }

    assert len(texts) == 1


def test_every_class_has_slots_of_its_own_rules() -> None:
    pools = {SlotClass(): 2, SlotClass(retries=0, connect=timedelta(milliseconds=250)): 1}

    sections = read_program(program(HaproxySettings(), Capabilities(), needs=Needs(), pools=pools))

    backends = [section.header for section in sections if section.header[0] == "backend"]
    assert backends == [
        ("backend", "local-replies", "from", "common"),
        ("backend", "round-robin-0-250ms.1", "from", "round-robin-0-250ms"),
        ("backend", "round-robin-1.1", "from", "round-robin-1"),
        ("backend", "round-robin-1.2", "from", "round-robin-1"),
    ]
    quick = next(section for section in sections if section.header[:2] == ("defaults", "round-robin-0-250ms"))
    assert ("timeout", "connect", "250ms") in quick.lines
    assert ("retries", "0") in quick.lines


def test_many_trusted_proxies_are_as_many_lines_as_they_need() -> None:
    networks = parse_networks(",".join(f"10.{number}.0.0/16" for number in range(100)))
    settings = HaproxySettings(http=(Bind("192.0.2.1", 80),), trusted_proxies=networks, proxy_protocol=True)

    sections = read_program(program(settings, Capabilities(), needs=Needs(), pools={}))

    (edge,) = (section for section in sections if section.header[1:2] == ("edge",))
    for condition in ("proxy-before-us", "trusted"):
        lines = [line for line in edge.lines if line[:2] == ("acl", condition)]
        assert len(lines) == 3
        assert sum(word.endswith("/16") for line in lines for word in line) == 100


def test_without_tls_nothing_is_redirected_there() -> None:
    http, https = (Bind("::", 80),), (Bind("::", 8443),)
    plain, secure = (
        program(settings, Capabilities(), needs=Needs(), pools={})
        for settings in (HaproxySettings(http=http), HaproxySettings(http=http, https=https))
    )

    assert "https://" not in plain.replace("^https?://", "")
    assert "Location https://%[var(txn.host)]:8443%[pathq]" in secure
    assert "bind ipv6@[::]:80 v6only" in plain
